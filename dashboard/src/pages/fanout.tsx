import { getRouteApi, Link } from "@tanstack/react-router"
import { type ReactNode, useState } from "react"
import type { Asked } from "../../../src/protocol/client.ts"
import type { FailureGroup, FanoutSummary, RunState } from "../../../src/protocol/views.ts"
import { often, seldom, useAsk, useCells } from "../api/ask.ts"
import { get, Refused } from "../api/client.ts"
import { compact, count, percent, plural, span } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { retryFanout } from "../operations.ts"
import { Bar, endedOf, isOver } from "../parts/bar.tsx"
import { CellMap } from "../parts/cell-map.tsx"
import { Spark } from "../parts/chart.tsx"
import { Copy, Empty } from "../parts/copy.tsx"
import { Confirm } from "../parts/dialog.tsx"
import { FanoutActions } from "../parts/fanout-actions.tsx"
import { Cause } from "../parts/failure-rows.tsx"
import { RunLink, shortId } from "../parts/links.tsx"
import { Answered } from "../parts/problem.tsx"
import { Ago } from "../parts/time.tsx"
import { Act } from "../parts/act.tsx"

const route = getRouteApi("/fan-outs/$id")

/** One fan-out: how far it is, what failed and why, what holds the rest back; and its repair. */
export function FanoutPage(): ReactNode {
  const { id } = route.useParams()
  const fanout = useAsk("fanout", { params: { id } }, { every: often })
  const data = fanout.data
  return (
    <Page
      title={data?.name ?? shortId(id)}
      above={{ to: "/fan-outs", name: "Fan-outs" }}
      aside={<Copy text={id} label="Copy the fan-out's id" />}
      actions={
        data === undefined ? null : (
          <Act>
            <FanoutActions fanout={data} />
          </Act>
        )
      }
    >
      {data === undefined && fanout.error instanceof Refused && fanout.error.status === 404 ? (
        <Empty title="There is no such fan-out.">
          <p>
            The id may have been cut. <Link to="/fan-outs">Newest fan-outs</Link>
          </p>
        </Empty>
      ) : (
        <Answered answer={fanout}>{(found) => <Fanout fanout={found} />}</Answered>
      )}
    </Page>
  )
}

function Fanout({ fanout }: { readonly fanout: FanoutSummary }): ReactNode {
  return (
    <>
      <Progress fanout={fanout} />
      {fanout.reason === null ? null : (
        <div className="waits">
          <strong>{fanout.state === "paused" ? "Paused:" : "Its other runs wait:"}</strong> {fanout.reason}
        </div>
      )}
      <div className="columns">
        <Cells fanout={fanout} />
        <div className="stack">
          <Failures fanout={fanout} />
          <Holding fanout={fanout} />
          <Origin fanout={fanout} />
        </div>
      </div>
    </>
  )
}

function Progress({ fanout }: { readonly fanout: FanoutSummary }): ReactNode {
  const ended = endedOf(fanout)
  return (
    <section className="card" aria-label="Progress">
      <div className="card-head">
        <p className="progress-now">
          {percent(ended, fanout.total)} · {count(ended)} of {count(fanout.total)}
        </p>
        <p className="faint">{pace(fanout)}</p>
      </div>
      <Bar fanout={fanout} large />
      <Legend fanout={fanout} />
    </section>
  )
}

/** How fast it goes, and how long that will take. */
function pace(fanout: FanoutSummary): string {
  const { state, ratePerSecond: rate, etaMs, createdAt, lastEndAt, sealed } = fanout
  const parts = [
    rate > 0 ? `${rate < 10 ? rate.toFixed(1) : compact(rate)} /s` : "",
    state === "ended"
      ? `took ${span(Math.max(0, (lastEndAt ?? createdAt) - createdAt))}`
      : etaMs === null
        ? ""
        : `about ${span(etaMs)} left`,
    state === "paused" || state === "cancelling" ? state : "",
    sealed ? "sealed: no more runs will be added" : "still being sent",
  ]
  return parts.filter((part) => part !== "").join(" · ")
}

function Legend({ fanout }: { readonly fanout: FanoutSummary }): ReactNode {
  const { id, completed, failed, running, queued, cancelled } = fanout
  return (
    <ul className="legend">
      <li className="state-completed">
        <span aria-hidden="true">●</span> {count(completed)} completed
      </li>
      <li className={failed > 0 ? "state-failed" : "faint"}>
        <Link to="/runs" search={{ fanout: id, state: "failed" }}>
          <span aria-hidden="true">✕</span> {count(failed)} failed
        </Link>
      </li>
      <li className={running > 0 ? "state-running" : "faint"}>
        <Link to="/runs" search={{ fanout: id, state: "running" }}>
          <span aria-hidden="true">◐</span> {count(running)} running
        </Link>
      </li>
      <li className="faint">
        <span aria-hidden="true">○</span> {count(Math.max(0, queued))} queued
      </li>
      {cancelled > 0 ? (
        <li className="faint">
          <span aria-hidden="true">⊘</span> {count(cancelled)} cancelled
        </li>
      ) : null}
      <li>
        <Link to="/runs" search={{ fanout: id }} className="link">
          List of runs
        </Link>
      </li>
    </ul>
  )
}

const mostCells = 100_000

function Cells({ fanout }: { readonly fanout: FanoutSummary }): ReactNode {
  const cells = useCells(fanout.id, isOver(fanout) ? seldom : often)
  const navigate = route.useNavigate()
  const open = async (index: number): Promise<void> => {
    const { runId } = await get("fanoutCell", { params: { id: fanout.id, index: String(index) } })
    await navigate({ to: "/runs/$id", params: { id: runId } })
  }
  return (
    <section className="card" aria-label="Every run">
      <h2>{fanout.total > mostCells ? `The first ${count(mostCells)} runs` : "Every run"}, in the order in which they were sent</h2>
      <Answered answer={cells}>
        {(letters) =>
          letters === "" ? (
            <p className="faint">No function hears its events: it has no runs.</p>
          ) : (
            <CellMap cells={letters} open={(index) => void open(index)} />
          )
        }
      </Answered>
    </section>
  )
}

function Failures({ fanout }: { readonly fanout: FanoutSummary }): ReactNode {
  const failures = useAsk("fanoutFailures", { params: { id: fanout.id } }, { every: fanout.failed > 0 ? often : seldom })
  const times = useAsk("fanoutFailureTimes", { params: { id: fanout.id } }, { every: seldom, when: fanout.failed > 0 })
  const counts = new Map(times.data?.causes.map((cause) => [cause.fingerprint, cause.counts]))
  return (
    <section className="card" aria-label="Why runs failed">
      <h2>Why runs failed</h2>
      <Answered answer={failures}>
        {({ items }) =>
          items.length === 0 ? (
            <p className="faint">None has failed.</p>
          ) : (
            <ul className="groups">
              {items.map((group) => (
                <Group key={group.fingerprint} id={fanout.id} group={group} counts={counts.get(group.fingerprint)} />
              ))}
            </ul>
          )
        }
      </Answered>
    </section>
  )
}

interface GroupProps {
  readonly id: string
  readonly group: FailureGroup
  /** Over the time of the fan-out. */
  readonly counts: readonly number[] | undefined
}

function Group({ id, group, counts }: GroupProps): ReactNode {
  const [asked, setAsked] = useState(false)
  return (
    <li>
      <div className="cause">
        <Cause fingerprint={group.fingerprint} />
        {counts === undefined ? null : <Spark counts={counts} label="When they failed, from the first start to the last end" bad />}
        <span className="faint">
          for example <RunLink id={group.runId} short /> · first <Ago at={group.firstAt} />, last <Ago at={group.lastAt} />
        </span>
      </div>
      <strong>{count(group.count)}</strong>
      <Act>
        <button type="button" className="button" onClick={() => setAsked(true)}>
          Retry
        </button>
      </Act>
      {asked ? (
        <Confirm
          title={`Retry ${plural(group.count, "run")} of this cause?`}
          text="Only the runs that have failed like this by now run again; finished steps are kept."
          act={`Retry ${count(group.count)}`}
          perform={() => void retryFanout(id, { fingerprint: group.fingerprint })}
          close={() => setAsked(false)}
        />
      ) : null}
    </li>
  )
}

/** Why what is left does not run: the reasons of the newest runs that wait. */
function Holding({ fanout }: { readonly fanout: FanoutSummary }): ReactNode {
  const over = isOver(fanout)
  const every = { every: seldom, when: !over }
  const newest = (state: RunState): Asked<"runs"> => ({ query: { fanout: fanout.id, state, limit: 1 } })
  const waiting = useAsk("runs", newest("waiting"), every)
  const scheduled = useAsk("runs", newest("scheduled"), every)
  const ready = useAsk("runs", newest("ready"), every)
  const found = [waiting, scheduled, ready].flatMap(({ data }) => data?.items ?? [])
  const reasons = [...new Map(found.map((run) => [run.reason, run])).values()]
  if (over || (reasons.length === 0 && fanout.running === 0)) return null
  return (
    <section className="card" aria-label="What holds it back">
      <h2>What holds it back</h2>
      <ul className="plain">
        {fanout.running > 0 ? <li>{plural(fanout.running, "run is", "runs are")} running now.</li> : null}
        {reasons.map((run) => (
          <li key={run.id}>
            <RunLink id={run.id} short /> and others: {run.reason}
          </li>
        ))}
      </ul>
    </section>
  )
}

function Origin({ fanout }: { readonly fanout: FanoutSummary }): ReactNode {
  return (
    <section className="card" aria-label="Where it came from">
      <h2>Where it came from</h2>
      <ul className="plain">
        <li>
          {plural(fanout.events, "event")}, sent <Ago at={fanout.createdAt} />{" "}
          {fanout.runId === null ? (
            "from outside of any run"
          ) : (
            <>
              by <RunLink id={fanout.runId} short />
            </>
          )}
        </li>
        <li className="mono faint">{fanout.id}</li>
      </ul>
    </section>
  )
}

import { getRouteApi, Link } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { Status } from "../../../src/protocol/api.ts"
import type { Activity, FanoutSummary, ScheduleLoad } from "../../../src/protocol/views.ts"
import { often, seldom, useAsk } from "../api/ask.ts"
import { useNow } from "../clock.ts"
import { capped, compact, count, percent, shortTime, span } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { Bar, endedOf, isOver } from "../parts/bar.tsx"
import { ChartFrame, OutcomeChart } from "../parts/chart.tsx"
import { FanoutLink, ScheduleLink } from "../parts/links.tsx"
import { Answered } from "../parts/problem.tsx"
import { RangeChoice } from "../parts/range.tsx"
import { Ago, Coming } from "../parts/time.tsx"
import { FailureRows } from "../parts/failure-rows.tsx"
import { FirstSteps } from "../parts/first-steps.tsx"
import { type Column, Table } from "../parts/table.tsx"

const route = getRouteApi("/")

/** Is work flowing, what is failing, when does the next tick fire. */
export function OverviewPage(): ReactNode {
  const { range = "1h" } = route.useSearch()
  const navigate = route.useNavigate()
  const activity = useAsk("activity", { query: { range } }, { every: often })
  const status = useAsk("status", {}, { every: often })
  const runs = useAsk("runs", { query: { limit: 1 } }, { every: seldom })
  const fresh = runs.data?.items.length === 0
  return (
    <Page title="Overview" actions={<RangeChoice range={range} choose={(next) => void navigate({ search: { range: next } })} />}>
      {fresh ? <FirstSteps /> : null}
      <Answered answer={activity}>{(data) => <Activities activity={data} status={status.data} />}</Answered>
      <div className="columns">
        <Fanouts />
        <NextTicks />
      </div>
      <Failing />
    </Page>
  )
}

function Activities({ activity, status }: { readonly activity: Activity; readonly status: Status | undefined }): ReactNode {
  const now = useNow()
  return (
    <>
      <Tiles activity={activity} status={status} now={now} />
      <section className="card" aria-label="Runs by outcome">
        <div className="card-head">
          <h2>Runs by outcome, {stepName(activity.stepMs)}</h2>
          <span className="legend">
            <span className="state-completed">
              <span aria-hidden="true">●</span> completed
            </span>
            <span className="state-failed">
              <span aria-hidden="true">✕</span> failed
            </span>
          </span>
        </div>
        <ChartFrame activity={activity} now={now}>
          <OutcomeChart activity={activity} now={now} />
        </ChartFrame>
      </section>
    </>
  )
}

function stepName(ms: number): string {
  const minutes = ms / 60_000
  return minutes === 1 ? "per minute" : minutes < 60 ? `per ${minutes} minutes` : `per ${minutes / 60} hours`
}

function Tiles({
  activity,
  status,
  now,
}: {
  readonly activity: Activity
  readonly status: Status | undefined
  readonly now: number
}): ReactNode {
  const { completed, failed, retried, delay, buckets, stepMs } = activity
  const ended = buckets.map((bucket) => bucket.completed + bucket.failed)
  const peak = ended.indexOf(Math.max(...ended))
  const perMinute = (n: number): number => n / (stepMs / 60_000)
  // The step that is under way is not full yet; the one before is.
  const rate = Math.max(perMinute(ended.at(-1) ?? 0), perMinute(ended.at(-2) ?? 0))
  const peakAt = buckets[peak]?.at
  return (
    <div className="tiles">
      <Tile
        name="Runs per minute"
        value={compact(rate)}
        note={
          peakAt === undefined || ended[peak] === 0
            ? "nothing has ended yet"
            : `peak ${compact(perMinute(ended[peak] ?? 0))} at ${shortTime(peakAt, now)}`
        }
      />
      <Tile
        name="Succeeded"
        value={percent(completed, completed + failed)}
        note={`${count(failed)} of ${count(completed + failed)} failed, ${count(retried)} retried`}
        bad={failed > 0}
      />
      <Tile
        name="Start delay p95"
        value={delay.p95 === null ? "–" : span(delay.p95)}
        note={delay.p50 === null ? "from due to started" : `from due to started; p50 ${span(delay.p50)}`}
      />
      {status === undefined ? <Tile name="Backlog" value="–" note="" /> : <Backlog status={status} />}
    </div>
  )
}

function Backlog({ status }: { readonly status: Status }): ReactNode {
  const { ready, waiting, running, scheduled } = status
  return <Tile name="Backlog" value={capped(ready + waiting)} note={`${capped(running)} running, ${capped(scheduled)} due later`} />
}

function Tile({
  name,
  value,
  note,
  bad = false,
}: {
  readonly name: string
  readonly value: string
  readonly note: string
  readonly bad?: boolean
}): ReactNode {
  return (
    <section className="tile" aria-label={name}>
      <h2>{name}</h2>
      <strong className={bad ? "tile-bad" : ""}>{value}</strong>
      <p>{note}</p>
    </section>
  )
}

function Fanouts(): ReactNode {
  const fanouts = useAsk("fanouts", { query: { limit: 20 } }, { every: often })
  return (
    <section className="card" aria-label="Fan-outs">
      <div className="card-head">
        <h2>Fan-outs</h2>
        <Link to="/fan-outs" className="link">
          All
        </Link>
      </div>
      <Answered answer={fanouts}>{({ items }) => <FanoutRows items={underWayFirst(items)} />}</Answered>
    </section>
  )
}

function underWayFirst(items: readonly FanoutSummary[]): readonly FanoutSummary[] {
  return items.toSorted((a, b) => Number(isOver(a)) - Number(isOver(b))).slice(0, 5)
}

const columns: readonly Column[] = [["Events"], ["Started", "wide-only"], ["Progress", "grow"], ["Ended", "right"]]

function FanoutRows({ items }: { readonly items: readonly FanoutSummary[] }): ReactNode {
  if (items.length === 0) return <p className="faint">None yet. Every send of several events is one.</p>
  return (
    <Table columns={columns}>
      {items.map((fanout) => (
        <tr key={fanout.id}>
          <td className="clip">
            <FanoutLink id={fanout.id} name={fanout.name} />
          </td>
          <td className="wide-only nowrap faint">
            <Ago at={fanout.createdAt} />
          </td>
          <td className="grow">
            <Bar fanout={fanout} />
          </td>
          <td className="right nowrap">
            {count(endedOf(fanout))} / {count(fanout.total)}
          </td>
        </tr>
      ))}
    </Table>
  )
}

const ticksShown = 5

function NextTicks(): ReactNode {
  const load = useAsk("scheduleLoad", {}, { every: seldom })
  return (
    <section className="card" aria-label="Next ticks">
      <div className="card-head">
        <h2>Next ticks</h2>
        <Link to="/schedules" className="link">
          All
        </Link>
      </div>
      <Answered answer={load}>{({ next }) => <TickRows next={next.slice(0, ticksShown)} />}</Answered>
    </section>
  )
}

function TickRows({ next }: { readonly next: ScheduleLoad["next"] }): ReactNode {
  if (next.length === 0) {
    return (
      <p className="faint">
        No schedule fires within 24 hours. A cron trigger makes one: <code>{'triggers: [{ cron: "0 9 * * MON-FRI" }]'}</code>
      </p>
    )
  }
  return (
    <table>
      <tbody>
        {next.map(({ scheduleId, at, timezone }) => (
          <tr key={scheduleId}>
            <td className="clip">
              <ScheduleLink id={scheduleId} />
            </td>
            <td className="right nowrap">
              <Coming at={at} own={timezone ?? undefined} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

const causesShown = 3

function Failing(): ReactNode {
  const failures = useAsk("failures", {}, { every: seldom })
  if (failures.data === undefined || failures.data.items.length === 0) return null
  return (
    <section className="card" aria-label="Failures">
      <div className="card-head">
        <h2>Why runs failed</h2>
        <Link to="/failures" className="link">
          All
        </Link>
      </div>
      <FailureRows items={failures.data.items.slice(0, causesShown)} />
    </section>
  )
}

import { getRouteApi, Link } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { FunctionSummary, RunSummary } from "../../../src/protocol/views.ts"
import { often, seldom, useAsk } from "../api/ask.ts"
import { useNow } from "../clock.ts"
import { count, percent, span } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { ChartFrame, OutcomeChart } from "../parts/chart.tsx"
import { Copy, Empty } from "../parts/copy.tsx"
import { flowFacts } from "../parts/flow-facts.tsx"
import { FunctionActions } from "../parts/function-actions.tsx"
import { FunctionLimits } from "../parts/function-limits.tsx"
import { Answered } from "../parts/problem.tsx"
import { RangeChoice } from "../parts/range.tsx"
import { RunLink } from "../parts/links.tsx"
import { State } from "../parts/state.tsx"
import { Ago, Coming, Took } from "../parts/time.tsx"
import { Triggers } from "../parts/triggers.tsx"
import { Act } from "../parts/act.tsx"

const route = getRouteApi("/functions/$id")

/** One function: its rules, how it has done, its newest runs. */
export function FunctionPage(): ReactNode {
  const { id } = route.useParams()
  const { range = "1h" } = route.useSearch()
  const navigate = route.useNavigate()
  const functions = useAsk("functions", {}, { every: seldom })
  const each = functions.data?.items.find((one) => one.id === id)
  return (
    <Page
      title={id}
      above={{ to: "/functions", name: "Functions" }}
      aside={<Copy text={id} label="Copy the function's id" />}
      actions={
        <>
          {each === undefined ? null : (
            <Act>
              <FunctionActions each={each} />
            </Act>
          )}
          <RangeChoice range={range} choose={(next) => void navigate({ search: { range: next } })} />
        </>
      }
    >
      <Answered answer={functions}>
        {() =>
          each === undefined ? (
            <Empty title="There is no such function.">
              <p>
                <Link to="/functions">All functions</Link>
              </p>
            </Empty>
          ) : (
            <Found each={each} range={range} />
          )
        }
      </Answered>
    </Page>
  )
}

function Found({ each, range }: { readonly each: FunctionSummary; readonly range: string }): ReactNode {
  const activity = useAsk("activity", { query: { range, function: each.id } }, { every: often })
  const now = useNow()
  return (
    <>
      {each.paused === undefined ? null : (
        <div className="waits">
          <strong>Paused:</strong>{" "}
          {each.paused === "keep" ? "its runs wait until it is resumed" : "new runs are skipped until it is resumed"}.
        </div>
      )}
      <Rules each={each} />
      <FunctionLimits each={each} />
      <Answered answer={activity}>
        {(data) => (
          <section className="card" aria-label="Runs by outcome">
            <div className="card-head">
              <h2>Runs by outcome</h2>
              <span className="faint">
                {data.completed + data.failed === 0
                  ? ""
                  : `${count(data.completed + data.failed)} ended, ${percent(data.completed, data.completed + data.failed)} succeeded`}
                {data.duration.p95 === null ? "" : ` · p50 ${span(data.duration.p50 ?? 0)}, p95 ${span(data.duration.p95)}`}
              </span>
            </div>
            <ChartFrame activity={data} now={now}>
              <OutcomeChart activity={data} now={now} />
            </ChartFrame>
          </section>
        )}
      </Answered>
      <Newest id={each.id} />
    </>
  )
}

function Rules({ each }: { readonly each: FunctionSummary }): ReactNode {
  const next = each.schedules.flatMap(({ nextAt }) => (nextAt === null ? [] : [nextAt])).toSorted((a, b) => a - b)[0]
  return (
    <dl className="facts">
      <div>
        <dt>Triggers</dt>
        <dd>
          <Triggers each={each} />
        </dd>
      </div>
      {next === undefined ? null : (
        <div>
          <dt>Next tick</dt>
          <dd>
            <Coming at={next} />
          </dd>
        </div>
      )}
      {flowFacts(each).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
      <div>
        <dt>Retries</dt>
        <dd>{each.retries}</dd>
      </div>
      <div>
        <dt>An attempt may take</dt>
        <dd>{span(each.attemptTimeoutMs)}</dd>
      </div>
      {each.active ? null : (
        <div>
          <dt>Standing</dt>
          <dd>retired: its app does not offer it any more</dd>
        </div>
      )}
    </dl>
  )
}

const newestShown = 10

function whyOf({ error, reason }: RunSummary): string {
  return error === null ? (reason ?? "") : `${error.name}: ${error.message}`
}

function Newest({ id }: { readonly id: string }): ReactNode {
  const runs = useAsk("runs", { query: { function: id, limit: newestShown } }, { every: often })
  return (
    <section className="card" aria-label="Newest runs">
      <div className="card-head">
        <h2>Newest runs</h2>
        <Link to="/runs" search={{ function: id }} className="link">
          All
        </Link>
      </div>
      <Answered answer={runs}>
        {({ items }) =>
          items.length === 0 ? (
            <p className="faint">It has not run yet.</p>
          ) : (
            <table>
              <tbody>
                {items.map((run) => (
                  <NewestRow key={run.id} run={run} />
                ))}
              </tbody>
            </table>
          )
        }
      </Answered>
    </section>
  )
}

function NewestRow({ run }: { readonly run: RunSummary }): ReactNode {
  return (
    <tr>
      <td className="nowrap">
        <State state={run.state} attempt={run.attempt} />
      </td>
      <td>
        <RunLink id={run.id} short />
        <span className="narrow-only clip faint">{whyOf(run)}</span>
      </td>
      <td className="clip faint grow wide-only">{whyOf(run)}</td>
      <td className="right nowrap wide-only">{run.startedAt === null ? "–" : <Took from={run.startedAt} to={run.endedAt} />}</td>
      <td className="right nowrap">
        <Ago at={run.createdAt} />
      </td>
    </tr>
  )
}

import { getRouteApi, Link } from "@tanstack/react-router"
import { type ReactNode, useState } from "react"
import type { Failure, RunDetail } from "../../../src/protocol/views.ts"
import { often, seldom, useAsk } from "../api/ask.ts"
import { getExact, Refused } from "../api/client.ts"
import { useNow } from "../clock.ts"
import { span } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { Copy, Empty } from "../parts/copy.tsx"
import { JsonView } from "../parts/json-view.tsx"
import { EventLink, FanoutLink, FunctionLink, RunLink } from "../parts/links.tsx"
import { Logs } from "../parts/logs.tsx"
import { Answered } from "../parts/problem.tsx"
import { RunActions } from "../parts/run-actions.tsx"
import { Family, PartOf } from "../parts/run-family.tsx"
import { State } from "../parts/state.tsx"
import { Ago, Coming } from "../parts/time.tsx"
import { Waterfall } from "../parts/waterfall.tsx"
import { Act } from "../parts/act.tsx"

const route = getRouteApi("/runs/$id")
const previewChars = 65_536

/** Without the bound of a preview. */
function wholeRun(id: string): Promise<RunDetail> {
  return getExact("run", { params: { id } })
}

function isEnded(run: RunDetail | undefined): boolean {
  return run !== undefined && run.endedAt !== null
}

/** One run: what happened to it, why it waits, what it said and gave. */
export function RunPage(): ReactNode {
  const { id } = route.useParams()
  const run = useAsk("run", { params: { id }, query: { preview: previewChars } }, { every: often })
  const data = run.data
  return (
    <Page
      title={id}
      above={{ to: "/runs", name: "Runs" }}
      mono
      aside={
        <>
          <Copy text={id} label="Copy the run's id" />
          {data === undefined ? null : <State state={data.state} attempt={data.attempt} />}
        </>
      }
      actions={
        data === undefined ? null : (
          <Act>
            <RunActions run={data} />
          </Act>
        )
      }
    >
      {run.data === undefined && run.error instanceof Refused && run.error.status === 404 ? (
        <Empty title="There is no such run.">
          <p>
            It may be past its retention, or the id was cut. <Link to="/runs">Newest runs</Link>
          </p>
        </Empty>
      ) : (
        <Answered answer={run}>{(found) => <Run run={found} />}</Answered>
      )}
    </Page>
  )
}

function Run({ run }: { readonly run: RunDetail }): ReactNode {
  return (
    <>
      <Facts run={run} />
      {run.reason === null ? null : <Waits run={run} />}
      {run.failure === null ? null : <FailureCard failure={run.failure} title="Error" />}
      <Waterfall run={run} />
      <div className="columns">
        <Logs run={run} whole={async () => (await wholeRun(run.id)).logs} />
        <div className="stack">
          <section className="card" aria-label="Event data">
            <div className="card-head">
              <h2>
                Event data <EventLink id={run.eventId} name={run.eventName} />
              </h2>
            </div>
            <JsonView text={run.data} chars={run.dataChars} label="Event data" whole={async () => (await wholeRun(run.id)).data} />
          </section>
          {run.output === null ? null : (
            <section className="card" aria-label="Output">
              <h2>Output</h2>
              <JsonView
                text={run.output}
                chars={run.outputChars ?? 0}
                label="Output"
                whole={async () => (await wholeRun(run.id)).output ?? ""}
              />
            </section>
          )}
          <Family run={run} />
          <Steps run={run} />
          <Attempts run={run} />
        </div>
      </div>
    </>
  )
}

function Facts({ run }: { readonly run: RunDetail }): ReactNode {
  const sent = useAsk("runFanouts", { params: { id: run.id } }, { every: isEnded(run) ? undefined : seldom })
  const now = useNow(!isEnded(run))
  const children = sent.data?.items ?? []
  return (
    <dl className="facts">
      <Fact name="Function">
        <FunctionLink id={run.functionId} />
      </Fact>
      <Fact name="Cause">
        <EventLink id={run.eventId} name={run.eventName} />
        {run.parentId === null ? null : (
          <>
            {" "}
            sent by <RunLink id={run.parentId} short />
          </>
        )}
      </Fact>
      {run.fanoutId === null ? null : (
        <Fact name="Part of">
          <PartOf run={run} fanoutId={run.fanoutId} />
        </Fact>
      )}
      {children.length === 0 ? null : (
        <Fact name={children.length === 1 ? "Sent the fan-out" : "Sent the fan-outs"}>
          {children.map((id) => (
            <FanoutLink key={id} id={id} />
          ))}
        </Fact>
      )}
      <Fact name="Created">
        <Ago at={run.createdAt} />
      </Fact>
      <Fact name="In all">{span((run.endedAt ?? Math.max(now, run.createdAt)) - run.createdAt)}</Fact>
      <Fact name="Attempts">{run.attempt === 0 ? "none yet" : run.attempt}</Fact>
      {run.traceId === null ? null : (
        <Fact name="Trace">
          <code>{run.traceId.slice(0, 8)}…</code> <Copy text={run.traceId} label="Copy the trace's id" />
        </Fact>
      )}
    </dl>
  )
}

function Fact({ name, children }: { readonly name: string; readonly children: ReactNode }): ReactNode {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

function Waits({ run }: { readonly run: RunDetail }): ReactNode {
  return (
    <div className="waits">
      <strong>Why it waits:</strong> {run.reason}
      {run.dueAt === null ? null : (
        <>
          {" · due "}
          <Coming at={run.dueAt} />
        </>
      )}
    </div>
  )
}

function FailureCard({ failure, title }: { readonly failure: Failure; readonly title: string }): ReactNode {
  return (
    <section className="card failure" aria-label={title}>
      <div className="card-head">
        <h2 className="state-failed">
          {failure.name}: {failure.message}
        </h2>
        <Copy text={failure.stack ?? `${failure.name}: ${failure.message}`} label="Copy the error" />
      </div>
      <Stack failure={failure} />
      {failure.cause === undefined ? null : <FailureCard failure={failure.cause} title="Cause of the error" />}
    </section>
  )
}

function Stack({ failure: { stack } }: { readonly failure: Failure }): ReactNode {
  const frames = (stack ?? "").split("\n").filter((line) => /^\s*at /.test(line))
  if (frames.length === 0) return null
  const foreign = (line: string): boolean => line.includes("node_modules") || line.includes("node:")
  const own = frames.filter((line) => !foreign(line))
  return (
    <>
      <pre className="stack-trace">{(own.length === 0 ? frames.slice(0, 3) : own).join("\n")}</pre>
      {own.length < frames.length && own.length > 0 ? (
        <details>
          <summary>The whole stack</summary>
          <pre className="stack-trace">{frames.join("\n")}</pre>
        </details>
      ) : null}
    </>
  )
}

function Steps({ run }: { readonly run: RunDetail }): ReactNode {
  const kept = run.steps.filter(({ output, failure }) => output !== null || failure !== null)
  if (kept.length === 0) return null
  return (
    <section className="card" aria-label="Steps">
      <h2>Steps</h2>
      {kept.map((step) => (
        <Step key={step.key} runId={run.id} step={step} />
      ))}
    </section>
  )
}

/** What is in it is made when somebody opens it: a run may have a thousand steps. */
function Step({ runId, step }: { readonly runId: string; readonly step: RunDetail["steps"][number] }): ReactNode {
  const [open, setOpen] = useState(false)
  const { key, state, failure, output, outputChars } = step
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <span className="mono">{key}</span> <span className="faint">{state}</span>
      </summary>
      {!open || failure === null ? null : <pre className="stack-trace">{failure.stack ?? `${failure.name}: ${failure.message}`}</pre>}
      {!open || output === null ? null : (
        <JsonView
          text={output}
          chars={outputChars ?? 0}
          label={`Result of ${key}`}
          whole={async () => (await wholeRun(runId)).steps.find((each) => each.key === key)?.output ?? ""}
        />
      )}
    </details>
  )
}

function Attempts({ run }: { readonly run: RunDetail }): ReactNode {
  if (run.attempts.length === 0) return null
  return (
    <section className="card" aria-label="Attempts that failed">
      <h2>Attempts that failed</h2>
      {run.attempts.map((attempt) => (
        <details key={attempt.fence}>
          <summary>
            <span className="state-failed">✕</span> attempt {attempt.attempt}: {attempt.failure.name}{" "}
            <span className="faint">{span(attempt.endedAt - attempt.startedAt)}</span>
          </summary>
          <pre className="stack-trace">{attempt.failure.stack ?? `${attempt.failure.name}: ${attempt.failure.message}`}</pre>
        </details>
      ))}
    </section>
  )
}

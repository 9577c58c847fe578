import type { ReactNode } from "react"
import type { Operation } from "../../../src/protocol/views.ts"
import { often } from "../api/ask.ts"
import { post } from "../api/client.ts"
import { usePages } from "../api/pages.ts"
import { absolute, count, visible } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { perform } from "../operations.ts"
import { Copy, Empty } from "../parts/copy.tsx"
import { readFingerprint } from "../parts/failure-rows.tsx"
import { FanoutLink, FunctionLink, RunLink } from "../parts/links.tsx"
import { Paged } from "../parts/paged.tsx"
import { Ago } from "../parts/time.tsx"
import { Act } from "../parts/act.tsx"
import { type Column, Table } from "../parts/table.tsx"

const columns: readonly Column[] = [
  ["What"],
  ["To which runs", "grow"],
  ["Done to", "right"],
  ["Standing", "wide-only"],
  ["Begun", "right wide-only"],
  ["Stop", "right", "heard"],
]

/** What is or was done to many runs at once. */
export function OperationsPage(): ReactNode {
  const operations = usePages("operations", often)
  return (
    <Page title="Operations">
      <Paged
        pages={operations}
        empty={
          <Empty title="No operations yet.">
            <p>What is done to many runs at once is listed here: retries of what has failed, cancels, new runs for old events.</p>
          </Empty>
        }
      >
        {(items) => (
          <Table columns={columns}>
            {items.map((operation) => (
              <Row key={operation.id} operation={operation} />
            ))}
          </Table>
        )}
      </Paged>
    </Page>
  )
}

const words: Readonly<Record<Operation["kind"], string>> = { retry: "Retry", cancel: "Cancel", replay: "Run again", pause: "Pause" }
const standings: Readonly<Record<Operation["state"], readonly [shape: string, style: string, words: string]>> = {
  running: ["◐", "state-running", "under way"],
  done: ["●", "state-completed", "done"],
  stopped: ["⊘", "state-cancelled", "stopped by hand"],
}

function Row({ operation }: { readonly operation: Operation }): ReactNode {
  const { id, kind, state, affected, createdAt, fanoutId } = operation
  const [shape, style, standing] = standings[state]
  const stop = (): Promise<unknown> =>
    perform(
      () => post("operationStop", { id }, {}),
      (stopped) => `Stopped; it was done to ${count(stopped.affected)} before.`,
    )
  return (
    <tr>
      <td className="nowrap" title={id}>
        {words[kind]} <Copy text={id} label="Copy the operation's id" />
      </td>
      <td className="grow name">
        <Meant operation={operation} />
        <span className={`narrow-only ${style}`}>{standing}</span>
      </td>
      <td className="right">{count(affected)}</td>
      <td className="nowrap wide-only">
        <span className={style}>
          <span aria-hidden="true">{shape}</span> {standing}
        </span>
      </td>
      <td className="right nowrap wide-only">
        <Ago at={createdAt} />
      </td>
      <td className="right">
        {state === "running" && (fanoutId === "" || kind === "retry") ? (
          <Act>
            <button type="button" className="button" onClick={() => void stop()}>
              Stop
            </button>
          </Act>
        ) : null}
      </td>
    </tr>
  )
}

/** The filter of an operation, in words. */
function Meant({ operation: { fanoutId, filter, fingerprint, runId, kind } }: { readonly operation: Operation }): ReactNode {
  const cause = filter?.fingerprint ?? fingerprint
  const fanout = filter?.fanoutId ?? (fanoutId === "" ? undefined : fanoutId)
  const { name, message } = readFingerprint(visible(cause ?? ""))
  return (
    <>
      {filter?.state ?? (filter !== undefined ? "all" : kind === "retry" ? "failed" : "what has not begun")}
      {filter?.functionId === undefined ? null : (
        <>
          {" of "}
          <FunctionLink id={filter.functionId} />
        </>
      )}
      {fanout === undefined ? null : (
        <>
          {" of "}
          <FanoutLink id={fanout} />
        </>
      )}
      {runId === null ? null : (
        <>
          {", only "}
          <RunLink id={runId} short />
        </>
      )}
      {filter?.from === undefined ? "" : ` from ${absolute(filter.from)}`}
      {filter?.to === undefined ? "" : ` before ${absolute(filter.to)}`}
      {cause === undefined || cause === null ? null : (
        <span className="faint">
          , like <code>{`${name}: ${message}`.slice(0, 120)}</code>
        </span>
      )}
    </>
  )
}

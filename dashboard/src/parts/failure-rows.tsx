import type { ReactNode } from "react"
import type { FailureCause } from "../../../src/protocol/views.ts"
import { count, visible } from "../format.ts"
import { Spark } from "./chart.tsx"
import { FunctionLink, RunLink } from "./links.tsx"
import { Ago } from "./time.tsx"
import { type Column, Table } from "./table.tsx"

/** What a fingerprint is made of: the error's name, its message without what differs, and the place it came from. */
export function readFingerprint(fingerprint: string): { readonly name: string; readonly message: string; readonly place: string } {
  const at = fingerprint.lastIndexOf(" @ ")
  const [text, place] = at < 0 ? [fingerprint, ""] : [fingerprint.slice(0, at), fingerprint.slice(at + 3)]
  const colon = text.indexOf(": ")
  return colon < 0 ? { name: text || "Error", message: "", place } : { name: text.slice(0, colon), message: text.slice(colon + 2), place }
}

export function Cause({ fingerprint }: { readonly fingerprint: string }): ReactNode {
  const { name, message, place } = readFingerprint(visible(fingerprint))
  return (
    <>
      <span className="state-failed">
        <span aria-hidden="true">✕</span> <strong>{name}</strong>
      </span>
      <span className="mono cause-message" title={message}>
        {message}
      </span>
      {place === "" ? null : <span className="faint cause-place">at {place}</span>}
    </>
  )
}

const columns: readonly Column[] = [
  ["Error", "grow"],
  ["Function", "wide-only"],
  ["Runs", "right"],
  ["Last 24 h", "wide-only"],
  ["First", "roomy-only"],
  ["Last", "right wide-only"],
]

/** Failures of all functions by their cause. `action`: what can be done about one. */
export function FailureRows({
  items,
  action,
}: {
  readonly items: readonly FailureCause[]
  readonly action?: (cause: FailureCause) => ReactNode
}): ReactNode {
  return (
    <div className="scroll-x">
      <Table columns={action === undefined ? columns : [...columns, ["Actions", "right", "heard"]]}>
        {items.map((cause) => (
          <Row key={`${cause.functionId} ${cause.fingerprint}`} cause={cause} action={action} />
        ))}
      </Table>
    </div>
  )
}

interface RowProps {
  readonly cause: FailureCause
  readonly action: ((cause: FailureCause) => ReactNode) | undefined
}

function Row({ cause, action }: RowProps): ReactNode {
  return (
    <tr>
      <td className="grow cause">
        <Cause fingerprint={cause.fingerprint} />
        <span className="faint">
          for example <RunLink id={cause.runId} short />
        </span>
        <span className="narrow-only faint">
          <FunctionLink id={cause.functionId} /> · last <Ago at={cause.lastAt} />
        </span>
      </td>
      <td className="clip wide-only">
        <FunctionLink id={cause.functionId} />
      </td>
      <td className="right">{count(cause.count)}</td>
      <td className="wide-only">
        <Spark counts={cause.hours} label={`${count(cause.hours.reduce((a, b) => a + b, 0))} in the last 24 hours`} bad />
      </td>
      <td className="roomy-only nowrap faint">
        <Ago at={cause.firstAt} />
      </td>
      <td className="right nowrap faint wide-only">
        <Ago at={cause.lastAt} />
      </td>
      {action === undefined ? null : <td className="right">{action(cause)}</td>}
    </tr>
  )
}

import type { ReactNode } from "react"
import type { FanoutSummary } from "../../../src/protocol/views.ts"
import { count } from "../format.ts"

export function endedOf({ completed, failed, cancelled }: FanoutSummary): number {
  return completed + failed + cancelled
}

export function isOver({ state }: FanoutSummary): boolean {
  return state === "ended"
}

/** How far a fan-out is: what has completed, failed, was cancelled, runs, and is left. */
export function Bar({ fanout, large = false }: { readonly fanout: FanoutSummary; readonly large?: boolean }): ReactNode {
  const { completed, failed, cancelled, running, queued, total } = fanout
  const parts = [
    ["completed", completed],
    ["failed", failed],
    ["ended", cancelled],
    ["running", running],
    ["queued", queued],
  ] as const
  return (
    <div
      className={large ? "bar bar-large" : "bar"}
      role="img"
      aria-label={`${count(endedOf(fanout))} of ${count(total)} have ended: ${count(completed)} completed, ${count(failed)} failed`}
    >
      {parts.map(([name, n]) => (n <= 0 ? null : <span key={name} className={`ground-${name}`} style={{ flexGrow: n }} />))}
    </div>
  )
}

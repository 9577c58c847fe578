import type { ReactNode } from "react"
import type { RunState } from "../../../src/protocol/views.ts"

/** Every state has a shape and a word besides its colour. */
export const shapes: Readonly<Record<RunState, string>> = {
  completed: "●",
  failed: "✕",
  running: "◐",
  scheduled: "◷",
  waiting: "◌",
  ready: "○",
  cancelled: "⊘",
  skipped: "⊘",
}

export function State({ state, attempt = 0 }: { readonly state: RunState; readonly attempt?: number }): ReactNode {
  const retrying = state === "scheduled" && attempt > 0
  return (
    <span className={`state state-${state}`}>
      <span aria-hidden="true">{retrying ? "↻" : shapes[state]}</span> {retrying ? "retrying" : state}
    </span>
  )
}

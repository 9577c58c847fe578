import type { ActivityRange, RunState } from "../../src/protocol/views.ts"

/** What the address says a list is filtered by. */
export interface RunSearch {
  readonly state?: RunState
  readonly function?: string
  readonly fanout?: string
  readonly event?: string
}

export const runStates: readonly RunState[] = ["failed", "running", "scheduled", "waiting", "ready", "completed", "cancelled", "skipped"]

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined)
export const ranges: readonly ActivityRange[] = ["1h", "6h", "24h", "7d"]

/** The filters of a list of runs; what is not one is left out. */
export function runSearch(search: Record<string, unknown>): RunSearch {
  const state = runStates.find((each) => each === search["state"])
  const [functionId, fanout, event] = [text(search["function"]), text(search["fanout"]), text(search["event"])]
  return {
    ...(state === undefined ? {} : { state }),
    ...(functionId === undefined ? {} : { function: functionId }),
    ...(fanout === undefined ? {} : { fanout }),
    ...(event === undefined ? {} : { event }),
  }
}

export function rangeSearch(search: Record<string, unknown>): { readonly range?: ActivityRange } {
  const range = ranges.find((each) => each === search["range"])
  return range === undefined ? {} : { range }
}

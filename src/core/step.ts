import type { Failure } from "./failure.ts"

export type StepKind = "run" | "sleep" | "send" | "join"

/**
 * What is known of a step. `completed` and `failed` are final and never written again; `waiting` (a sleep, a join) and `retrying`
 * (a step that failed and will be tried again) carry the moment at which the run goes on.
 */
export interface StepRecord {
  /** Identity within the run: the id the user gave, with `:1`, `:2` … for its second, third … use. */
  readonly key: string
  readonly kind: StepKind
  readonly state: "completed" | "failed" | "waiting" | "retrying"
  /** Tries so far. */
  readonly attempts: number
  /** JSON text, when completed. */
  readonly output: string | null
  /** When failed or retrying. */
  readonly failure: Failure | null
  /** When waiting or retrying. */
  readonly dueAt: number | null
  readonly startedAt: number
  readonly endedAt: number
}

/** Hands out the keys of steps in the order in which a handler asks for them. */
export function createStepKeys(): (id: string) => string {
  const uses = new Map<string, number>()
  return (id) => {
    const use = uses.get(id) ?? 0
    uses.set(id, use + 1)
    return use === 0 ? id : `${id}:${use}`
  }
}

import type { Failure } from "./failure.ts"

export type StepKind = "run" | "sleep" | "send" | "join" | "event" | "signal" | "invoke"

/**
 * What is known of a step. `completed` and `failed` are final and never written again; `waiting` (a sleep, or any other wait) and `retrying`
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

/** What is other in this attempt than in those before; null when nothing is. */
export interface StepDifference {
  /** Steps that are finished and were not asked for. */
  readonly missing: readonly string[]
  /** Steps that are finished, in the order they had and in the one they were asked for now; only when that changed. */
  readonly before?: readonly string[]
  readonly now?: readonly string[]
  readonly hint: string
}

/** Sends without an id, parts of sends and sends inside steps are told apart by their order, which is checked elsewhere. */
const unnamed = /(^|\/)\$|\/\d+$/

/**
 * Compares the steps that earlier attempts finished with the keys that a whole attempt asked for. Steps that ran side by side have no order.
 */
export function compareSteps(kept: readonly StepRecord[], asked: readonly string[]): StepDifference | null {
  const finished = kept.filter(({ key, state }) => (state === "completed" || state === "failed") && !unnamed.test(key))
  if (finished.length === 0) return null
  const place = new Map(asked.map((key, i) => [key, i]))
  const missing = finished.filter(({ key }) => !place.has(key)).map(({ key }) => key)
  const ordered = finished.filter(({ key }) => place.has(key)).toSorted((a, b) => a.startedAt - b.startedAt)
  let latest: StepRecord | null = null
  let swapped = false
  for (const step of ordered) {
    if (latest !== null && latest.endedAt < step.startedAt && (place.get(latest.key) ?? 0) > (place.get(step.key) ?? 0)) swapped = true
    if (latest === null || (place.get(step.key) ?? 0) > (place.get(latest.key) ?? 0)) latest = step
  }
  if (missing.length === 0 && !swapped) return null
  const hint = "Ids decide which step is which, so nothing was done twice; give a step that means something else another id."
  if (!swapped) return { missing, hint }
  const now = ordered.map(({ key }) => key).toSorted((a, b) => (place.get(a) ?? 0) - (place.get(b) ?? 0))
  return { missing, before: ordered.map(({ key }) => key), now, hint }
}

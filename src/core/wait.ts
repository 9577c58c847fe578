import type { ErrorCode } from "./errors.ts"
import { FanfareError } from "./errors.ts"
import { checkEventName, systemEventPrefix } from "./event.ts"
import { compilePairCondition, type ExpressionEvent } from "./expression.ts"
import { limits } from "./limits.ts"

/**
 * What a run is parked on, besides a time. `cancel` and `deadline` are waits of the run as a whole: what comes ends it.
 */
export type WaitKind = "event" | "signal" | "run" | "fanout" | "cancel" | "deadline"

/** A wait, as stored. */
export interface Wait {
  /** The step that gets what comes; `$…` for a rule of the function. */
  readonly stepKey: string
  readonly kind: WaitKind
  /** What it waits for: `event:<name>`, `signal:<name>`, `run:<id>`; empty for a deadline. */
  readonly topic: string
  /** What the thing must have: `data.userId="42"`; empty for no such demand. */
  readonly key: string
  /** CEL over `event` and `async`, when the key does not say it all. */
  readonly condition: string | null
  /** When it is over in any case. */
  readonly dueAt: number | null
  /** Of the deadline of a start: the fence that the run has until it begins. */
  readonly fence?: number
  /** A signal whose place another run has: take it over. */
  readonly replace?: boolean
}

/** Something that waits may be for has come. */
export interface Offer {
  readonly topic: string
  readonly keys: readonly string[]
  /** For conditions: the event. */
  readonly event: ExpressionEvent | null
  /** What becomes of the steps that wait for it. */
  readonly outcome: WaitOutcome
  /** Only the waits of this run. */
  readonly runId: string | null
}

export type WaitOutcome = { readonly state: "completed"; readonly output: string } | { readonly state: "failed"; readonly failure: string }

/** A name of events that runs wait for, and the field that they look at; empty for none. */
export interface Watch {
  readonly name: string
  readonly path: string
}

export const eventTopic = (name: string): string => `event:${name}`
export const signalTopic = (signal: string): string => `signal:${signal}`
export const fanoutTopic = (fanoutId: string): string => `fanout:${fanoutId}`
export const runTopic = (runId: string): string => `run:${runId}`

export const cancelKey = "$cancel"
export const startKey = "$start"
export const finishKey = "$finish"

/** The demands of a wait for an event, as the user writes them. */
export interface EventDemand {
  readonly event: string
  /** A field that both events must have the same, such as `data.userId`. */
  readonly match: string | null
  /** CEL over `event` (the one that started the run) and `async` (the new one). */
  readonly if: string | null
}

/** @throws FanfareError with `code`, naming field and bound */
export function checkDemand(demand: { event: string; match?: string; if?: string }, at: string, code: ErrorCode): EventDemand {
  const invalid = (field: string, message: string, hint?: string): FanfareError =>
    new FanfareError(code, `${at}: ${message}`, { field: `${at}.${field}`, ...(hint === undefined ? {} : { hint }) })
  const { event } = demand
  checkEventName(event, `${at}.event`)
  if (event.includes("*")) throw invalid("event", `"${event}" has a "*": a wait is for one name`)
  if (event.startsWith(systemEventPrefix)) {
    throw invalid(
      "event",
      `"${event}" is one of Fanfare's own events`,
      "Use step.invoke to wait for a run, step.fanOut for a fan-out, or a trigger on this event.",
    )
  }
  if (demand.match !== undefined && demand.if !== undefined) throw invalid("match", "give match or if, not both")
  if (demand.match !== undefined && (typeof demand.match !== "string" || !/^[A-Za-z_$][\w$]*(\.[\w$-]+)*$/.test(demand.match))) {
    throw invalid("match", `${JSON.stringify(demand.match)} is not a field`, "Name a field that both events have, such as data.userId.")
  }
  if (demand.if !== undefined) compilePairCondition(demand.if, `${at}.if`, code)
  return { event, match: demand.match ?? null, if: demand.if ?? null }
}

/**
 * What to store of a demand, for a run that `event` started. `path`: the field by which it is found; empty when every event of the
 * name has to be looked at. A value that the run's own event lacks equals nothing: such a wait has a key that no event has.
 */
export function resolveDemand(demand: EventDemand, event: ExpressionEvent): Pick<Wait, "topic" | "key" | "condition"> & { path: string } {
  const topic = eventTopic(demand.event)
  if (demand.match !== null) {
    return { topic, path: demand.match, key: waitKey(demand.match, valueAt(event, demand.match)) ?? `${demand.match}=`, condition: null }
  }
  if (demand.if === null) return { topic, path: "", key: "", condition: null }
  const { equality } = compilePairCondition(demand.if, "if", "invalid_step")
  if (equality === null) return { topic, path: "", key: "", condition: demand.if }
  const { path, value, whole } = equality
  const key = waitKey(path, "literal" in value ? value.literal : valueAt(event, value.path))
  return { topic, path, key: key ?? `${path}=`, condition: whole ? null : demand.if }
}

/** @throws FanfareError `invalid_step` naming the bound */
export function checkSignal(signal: unknown): asserts signal is string {
  if (typeof signal === "string" && signal !== "" && signal.length <= limits.signalChars) return
  throw new FanfareError("invalid_step", `${JSON.stringify(signal) ?? String(signal)} is not the name of a signal`, {
    field: "signal",
    bound: limits.signalChars,
    hint: `Use 1 to ${limits.signalChars} characters that only one run waits for, such as "approve order-42".`,
  })
}

/** The path by which a demand will be looked for: known before there is a run. */
export function watchOf({ event, match, if: condition }: EventDemand): Watch {
  if (match !== null) return { name: event, path: match }
  const equality = condition === null ? null : compilePairCondition(condition, "if", "invalid_step").equality
  return { name: event, path: equality?.path ?? "" }
}

/** An event as an offer to those that wait for its name, by the fields that they look at. */
export function offerOf(event: ExpressionEvent, paths: readonly string[], runId: string | null = null): Offer {
  const { id, name, data, ts } = event
  return {
    topic: eventTopic(name),
    keys: paths.flatMap((path) => (path === "" ? [""] : (waitKey(path, valueAt(event, path)) ?? []))),
    event,
    outcome: { state: "completed", output: JSON.stringify({ id, name, data, ts }) },
    runId,
  }
}

function waitKey(path: string, value: unknown): string | null {
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") return null
  const text = JSON.stringify(value)
  return text.length > limits.waitKeyChars ? null : `${path}=${text}`
}

function valueAt(event: ExpressionEvent, path: string): unknown {
  let value: unknown = event
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

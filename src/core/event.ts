import { FanfareError } from "./errors.ts"
import { encodeJson } from "./json.ts"
import { limits } from "./limits.ts"

/** What a sender gives. */
export interface EventInput {
  readonly name: string
  /** An object that JSON can carry; default `{}`. */
  readonly data?: unknown
  /** Makes the send idempotent: the same id within 24 h starts nothing twice. */
  readonly id?: string
  /** Milliseconds since 1970; a moment in the future starts the runs then. Default: now. */
  readonly ts?: number
}

/** An event that passed the door: bounded, and its data as JSON text. */
export interface CheckedEvent {
  readonly name: string
  readonly data: string
  /** The sender's id. */
  readonly key: string | null
  readonly ts: number | null
}

/** Names that only Fanfare itself sends. */
export const systemEventPrefix = "fanfare/"
export const scheduledTimerEvent = "fanfare/scheduled.timer"
export const fanoutCompletedEvent = "fanfare/fanout.completed"
export const functionInvokedEvent = "fanfare/function.invoked"
export const functionCompletedEvent = "fanfare/function.completed"
export const functionFailedEvent = "fanfare/function.failed"
export const functionCancelledEvent = "fanfare/function.cancelled"

const fields = new Set(["name", "data", "id", "ts"])

/**
 * Checks one event at the door.
 * @param at the event's place in messages, such as `events[3]`
 * @throws FanfareError `invalid_event`, `not_json` or `too_large`, naming field and bound
 */
export function checkEvent(input: EventInput, at: string): CheckedEvent {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw invalid(at, `${at} must be an object such as { name: "app/user.created", data: {} }`)
  }
  for (const field of Object.keys(input)) {
    if (!fields.has(field)) throw invalid(`${at}.${field}`, `${at} has an unknown field "${field}"; known are ${[...fields].join(", ")}`)
  }
  checkEventName(input.name, `${at}.name`)
  if (input.name.startsWith(systemEventPrefix)) {
    throw invalid(`${at}.name`, `${at}.name starts with "${systemEventPrefix}", which is kept for Fanfare's own events`)
  }
  const data: unknown = input.data ?? {}
  if (typeof data !== "object" || Array.isArray(data)) {
    throw invalid(`${at}.data`, `${at}.data must be an object, not ${Array.isArray(data) ? "an array" : `a ${typeof data}`}`)
  }
  const text = encodeJson(data, { field: `${at}.data`, bytes: limits.eventBytes })
  // A Date, or whatever else says of itself that it is something else as JSON.
  if (!text.startsWith("{")) throw invalid(`${at}.data`, `${at}.data must be an object; as JSON it is ${text.slice(0, 40)}`)
  return {
    name: input.name,
    data: text,
    key: checkId(input.id, `${at}.id`),
    ts: checkTs(input.ts, `${at}.ts`),
  }
}

/** An item for a function, at the door: an event whose name is Fanfare's own. */
export function checkItem(input: EventInput, at: string): CheckedEvent {
  return { ...checkEvent({ ...input, name: "item" }, at), name: functionInvokedEvent }
}

/** @throws FanfareError `invalid_event` naming `field` */
export function checkEventName(name: unknown, field: string): asserts name is string {
  if (typeof name !== "string" || name.trim() === "") throw invalid(field, `${field} must be a name such as "app/user.created"`)
  if (name.length > limits.eventNameChars) {
    throw new FanfareError("invalid_event", `${field} has ${name.length} characters; the most is ${limits.eventNameChars}`, {
      field,
      bound: limits.eventNameChars,
    })
  }
  // oxlint-disable-next-line no-control-regex -- control characters are exactly what is refused
  if (/[\u0000-\u001f\u007f]/.test(name) || !name.isWellFormed()) throw invalid(field, `${field} has control characters or broken ones`)
}

function checkId(id: unknown, field: string): string | null {
  if (id === undefined || id === null) return null
  if (typeof id !== "string" || id === "") throw invalid(field, `${field} must be a string with at least one character`)
  if (id.length > limits.eventIdChars) {
    throw new FanfareError("invalid_event", `${field} has ${id.length} characters; the most is ${limits.eventIdChars}`, {
      field,
      bound: limits.eventIdChars,
    })
  }
  // Not every database can keep these in a text.
  if (id.includes("\u0000") || !id.isWellFormed()) throw invalid(field, `${field} has a NUL or a broken character`)
  return id
}

function checkTs(ts: unknown, field: string): number | null {
  if (ts === undefined || ts === null) return null
  if (typeof ts !== "number" || !Number.isFinite(ts) || ts < limits.eventTsMin || ts > limits.eventTsMax) {
    throw new FanfareError("invalid_event", `${field} must be milliseconds since 1970, between the years 1980 and 2100`, {
      field,
      bound: `${limits.eventTsMin} to ${limits.eventTsMax}`,
    })
  }
  return Math.floor(ts)
}

function invalid(field: string, message: string): FanfareError {
  return new FanfareError("invalid_event", message, { field })
}

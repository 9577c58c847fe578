import { functionCancelledEvent, functionCompletedEvent, functionFailedEvent } from "../core/event.ts"
import { eventNameFromWire, eventNameToWire } from "./names.ts"
import { isObject } from "./ops.ts"

/** Events of the end of a run have fields of other names on the wire. */
const ends = new Map([
  [functionCompletedEvent, "Completed"],
  [functionFailedEvent, "Failed"],
  [functionCancelledEvent, "Cancelled"],
])
const fields = [
  ["functionId", "function_id"],
  ["runId", "run_id"],
] as const

/** @param data JSON text, as is the result */
export function dataToWire(name: string, data: string): string {
  const status = ends.get(name)
  if (status === undefined) return data
  const read: unknown = JSON.parse(data)
  if (!isObject(read)) return data
  const { functionId, runId, ...rest } = read
  const event = isObject(rest["event"]) ? { ...rest["event"], name: eventNameToWire(String(rest["event"]["name"])) } : {}
  return JSON.stringify({ ...rest, function_id: functionId, run_id: runId, event, events: [event], _inngest: { status } })
}

/** @param name the event's name on the wire */
export function dataFromWire(name: string, data: unknown): unknown {
  if (!ends.has(eventNameFromWire(name)) || !isObject(data)) return data
  const { function_id: functionId, run_id: runId, events: _events, _inngest, ...rest } = data
  const event = isObject(rest["event"]) ? { ...rest["event"], name: eventNameFromWire(String(rest["event"]["name"])) } : {}
  return { ...rest, functionId, runId, event }
}

/** A condition over such an event, as apps write it. */
export function conditionFromWire(name: string, condition: string): string {
  if (!ends.has(eventNameFromWire(name))) return condition
  return fields.reduce(
    (text, [ours, theirs]) => text.replaceAll(new RegExp(`\\bevent\\.data\\.${theirs}\\b`, "g"), `event.data.${ours}`),
    condition,
  )
}

export function conditionToWire(name: string, condition: string): string {
  if (!ends.has(name)) return condition
  return fields.reduce(
    (text, [ours, theirs]) => text.replaceAll(new RegExp(`\\bevent\\.data\\.${ours}\\b`, "g"), `event.data.${theirs}`),
    condition,
  )
}

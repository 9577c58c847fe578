import type { StepReport } from "../core/attempt.ts"
import { durationMs } from "../core/duration.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import { checkDemand, checkSignal } from "../core/wait.ts"
import { eventNameFromWire } from "../protocol/names.ts"
import { isObject, type Op, ProtocolError } from "../protocol/ops.ts"

const waits = new Set(["WaitForEvent", "WaitForSignal", "InvokeFunction"])

export function isWait(kind: string): boolean {
  return waits.has(kind)
}

/**
 * What an app says that it waits for.
 * @throws FanfareError `invalid_step`, ProtocolError: it cannot be waited for
 */
export function waitReport({ kind, key, name, opts }: Op, now: number): Extract<StepReport, { kind: "event" | "signal" | "invoke" }> {
  if (kind === "WaitForEvent") {
    const event = eventNameFromWire(name !== "" && opts["event"] === undefined ? name : String(opts["event"] ?? name))
    const condition = opts["if"]
    const given = { event, ...(typeof condition === "string" && condition !== "" ? { if: condition } : {}) }
    const since = opts["since"]
    return {
      kind: "event",
      key,
      demand: checkDemand(given, "step.waitForEvent", "invalid_step"),
      timeoutAt: momentOf(opts["timeout"], now),
      since: typeof since === "number" ? since : null,
    }
  }
  if (kind === "WaitForSignal") {
    const { signal } = opts
    checkSignal(signal)
    return { kind: "signal", key, signal, timeoutAt: momentOf(opts["timeout"], now), replace: opts["conflict"] === "replace" }
  }
  const { function_id: functionId, payload, timeout } = opts
  if (typeof functionId !== "string") throw new ProtocolError(`the step "${key}" does not say what it invokes`)
  const data = isObject(payload) ? (payload["data"] ?? {}) : {}
  return {
    kind: "invoke",
    key,
    functionId,
    data: encodeJson(data, { field: "step.invoke data", bytes: limits.eventBytes }),
    timeoutAt: timeout === undefined || timeout === null || timeout === "" ? now + limits.sleepMaxMs : momentOf(timeout, now),
  }
}

/** When a sleep ends: a duration or a moment; an empty one is over at once. */
export function sleepEnd({ name, opts }: Op, now: number): number {
  return momentOf(name === "" ? opts["duration"] : name, now)
}

function momentOf(wish: unknown, now: number): number {
  if (wish === undefined || wish === null || wish === "") return now
  const text = typeof wish === "string" || typeof wish === "number" ? wish : ""
  let until: number
  try {
    until = now + durationMs(text, "timeout")
  } catch {
    until = Date.parse(String(text))
  }
  if (until - now <= limits.sleepMaxMs) return Math.max(until, now)
  throw new ProtocolError(`a wait until ${JSON.stringify(wish)} is longer than 366 days, or cannot be read`)
}

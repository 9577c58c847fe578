import type { StepRecord } from "../core/step.ts"
import { type Duration, durationMs } from "../core/duration.ts"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"

/** A handler may take its time to await what it waits for: a failure meanwhile must not end the process as one that nobody handles. */
export function quiet<T>(work: () => Promise<T>): Promise<T> {
  const result = work()
  result.catch(() => undefined)
  return result
}

export function waitMs(duration: Duration | undefined, call: string): number {
  if (duration === undefined) {
    throw new FanfareError("invalid_step", `${call} needs a timeout`, { field: "timeout", hint: 'For example timeout: "3d".' })
  }
  const ms = durationMs(duration, `${call} timeout`)
  if (ms <= limits.sleepMaxMs) return ms
  throw new FanfareError("invalid_step", `${call}: ${duration} is longer than 366 days`, { field: "timeout", bound: limits.sleepMaxMs })
}

export function timedOut(key: string, ms: number): Error {
  const error = new Error(`the step "${key}" took longer than ${ms} ms`)
  error.name = "StepTimeoutError"
  return error
}

export function tooMuchState(): FanfareError {
  return new FanfareError("too_large", `the results of the run's steps are over ${limits.stateBytes} bytes together`, {
    field: "step",
    bound: limits.stateBytes,
    hint: "Store large results elsewhere and keep a reference to them.",
  })
}

export function sleepMs(duration: number | string): number {
  const ms = durationMs(duration, "step.sleep duration")
  if (ms <= limits.sleepMaxMs) return ms
  throw new FanfareError("invalid_step", `step.sleep: ${duration} is longer than 366 days`, { field: "duration", bound: limits.sleepMaxMs })
}

export function sleepMoment(moment: Date | string | number, now: number): number {
  const at = typeof moment === "number" ? moment : new Date(moment).getTime()
  if (!Number.isFinite(at)) {
    throw new FanfareError("invalid_step", `step.sleepUntil: ${String(moment)} is not a moment`, {
      field: "moment",
      hint: "Use a Date, an ISO 8601 text or milliseconds since 1970.",
    })
  }
  if (at - now > limits.sleepMaxMs) {
    throw new FanfareError("invalid_step", "step.sleepUntil: the moment is more than 366 days ahead", {
      field: "moment",
      bound: limits.sleepMaxMs,
    })
  }
  return at
}

/** A step that does not go on in this call, or part of an attempt: far ahead, so that a sleep which is over at once waits for the next one too. */
export function notNow(key: string, now: number): StepRecord {
  return { key, kind: "run", state: "waiting", attempts: 1, output: null, failure: null, dueAt: now + 1e12, startedAt: now, endedAt: now }
}

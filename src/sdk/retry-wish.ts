import { FanfareError, NonRetriableError, RetryAfterError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { retryAfterMoment, type RetryWish } from "../core/retry.ts"

/** Reads the wish of an error: of ours by class, of another copy of this package by name. */
export function retryWish(thrown: unknown, now: number): RetryWish {
  if (!(thrown instanceof Error)) return "policy"
  if (thrown instanceof NonRetriableError || thrown.name === "NonRetriableError") return "never"
  if (thrown instanceof FanfareError) {
    if (unchanging.has(thrown.code)) return "never"
    return thrown.retryAfterMs === undefined ? "policy" : { at: now + Math.min(thrown.retryAfterMs, limits.retryAfterMaxMs) }
  }
  if (thrown instanceof RetryAfterError || thrown.name === "RetryAfterError") {
    const { retryAfter, limit } = thrown as RetryAfterError
    const at = retryAfterMoment(retryAfter, now)
    return at === null ? "policy" : { at, ...(typeof limit === "string" ? { limit } : {}) }
  }
  return "policy"
}

const unchanging = new Set<FanfareError["code"]>([
  "invalid_event",
  "invalid_step",
  "invalid_option",
  "not_json",
  "too_large",
  "too_many",
  "schema_mismatch",
  "event_conflict",
  "order_changed",
  "signal_taken",
])

import { durationMs } from "./duration.ts"
import type { RetryAfterError } from "./errors.ts"
import { limits } from "./limits.ts"

/** When to try again: by the table, never, or at a moment of the failing code's own choice; `limit`: whoever shares that limit too. */
export type RetryWish = "policy" | "never" | { readonly at: number; readonly limit?: string }

/**
 * Milliseconds before the next attempt after `failures` failed ones (1 or more): the function's own table or that of `core/limits.ts`, plus up to half
 * of it again by chance, so that runs that failed together do not return together.
 */
export function retryDelay(failures: number, random: number, own: readonly number[] | null): number {
  const table = own ?? limits.retryDelaysMs
  const base = table[Math.min(failures, table.length) - 1] ?? 0
  return Math.round(base * (1 + limits.retryJitter * random))
}

/** The answers of a service that is busy: what `Retry-After` says goes for them. */
export function isBusy(status: number): boolean {
  return status === 429 || status === 503
}

/** The moment that a header `Retry-After` asks for, in seconds or as a date, within the bounds of `retryAfterMoment`; null when there is none. */
export function retryAfterHeader(value: string | null | undefined, now: number): number | null {
  const text = value?.trim() ?? ""
  if (text === "") return null
  return retryAfterMoment(/^\d+$/.test(text) ? Number(text) * 1_000 : text, now)
}

/** The moment that a `RetryAfterError` asks for, not before `now` and at most 7 days after it; null when it cannot be read. */
export function retryAfterMoment(wish: RetryAfterError["retryAfter"], now: number): number | null {
  let at: number
  if (wish instanceof Date) at = wish.getTime()
  else {
    try {
      at = now + durationMs(wish, "retryAfter")
    } catch {
      at = typeof wish === "string" ? Date.parse(wish) : Number.NaN
    }
  }
  if (!Number.isFinite(at)) return null
  return Math.min(Math.max(at, now), now + limits.retryAfterMaxMs)
}

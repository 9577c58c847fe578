import { FanfareError } from "../core/errors.ts"
import { systemClock } from "../engine/system.ts"

/** As answers of the API of the official SDKs are. */
export function enveloped<T>(data: T): { data: T; metadata: { fetched_at: string } } {
  return { data, metadata: { fetched_at: momentOf(systemClock.now()) } }
}

/** A moment as this API writes it. */
export function momentOf(at: number): string {
  return new Date(at).toISOString()
}

/** A moment that was given, as text or in milliseconds; null when it was not. @throws FanfareError `invalid_option` */
export function momentIn(value: unknown, field: string): number | null {
  if (value === undefined || value === null || value === "") return null
  const at = typeof value === "number" || typeof value === "string" ? new Date(value).getTime() : Number.NaN
  if (Number.isFinite(at)) return at
  throw new FanfareError("invalid_option", `${field} must be a moment such as 2026-01-31T12:00:00Z`, { field })
}

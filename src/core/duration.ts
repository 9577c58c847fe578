import { FanfareError } from "./errors.ts"

/** Milliseconds, or a number with a unit: `"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`, `"1w"`; units may be chained: `"2h30m"`. */
export type Duration = number | string

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }
const shape = /^(\d+(\.\d+)?(ms|s|m|h|d|w))+$/
const part = /(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g

/**
 * Milliseconds of a duration, whole and not negative.
 * @throws FanfareError `invalid_option` naming `field` when it cannot be read
 */
export function durationMs(duration: Duration, field: string): number {
  if (typeof duration === "number" && Number.isFinite(duration) && duration >= 0) return Math.round(duration)
  const text = typeof duration === "string" ? duration.replaceAll(" ", "").toLowerCase() : ""
  if (!shape.test(text)) {
    throw new FanfareError("invalid_option", `${field}: ${JSON.stringify(duration)} is not a duration`, {
      field,
      hint: 'Use milliseconds or a number with a unit, such as "30s", "5m", "2h30m" or "7d".',
    })
  }
  let total = 0
  for (const [, amount, unit] of text.matchAll(part)) total += Number(amount) * (units[unit ?? ""] ?? 0)
  return Math.round(total)
}

import { Cron } from "croner"
import { FanfareError } from "./errors.ts"
import { limits } from "./limits.ts"

/** The moments of a cron line in a zone. */
export interface CronLine {
  /** The first moment after `after` (both milliseconds since 1970), or null when there is none within the years croner looks at. */
  next(after: number): number | null
}

/**
 * Reads a cron line of five or six fields, or a name such as `@daily`. Zone and daylight-saving rules are croner's: a moment
 * that a clock change skips does not fire, one that it repeats fires once.
 * @throws FanfareError `invalid_trigger` naming `field` when the line or the zone cannot be read, or the line never fires
 */
export function parseCron(line: string, timezone: string, field: string): CronLine {
  const known = parsed.get(`${timezone} ${line}`)
  if (known !== undefined) return known
  if (typeof line !== "string" || line.length > limits.cronChars) {
    throw new FanfareError("invalid_trigger", `${field}.cron must be a cron line of at most ${limits.cronChars} characters`, {
      field: `${field}.cron`,
      bound: limits.cronChars,
    })
  }
  checkZone(timezone, `${field}.timezone`)
  let cron: Cron
  try {
    if (line.trim().split(/\s+/).length === 7) throw new Error("a year is not supported: use five or six fields")
    cron = new Cron(line.trim(), { timezone, paused: true })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.replace(/^CronPattern: /, "") : String(cause)
    throw new FanfareError("invalid_trigger", `${field}.cron: "${line}" is not a cron line: ${why}`, {
      field: `${field}.cron`,
      hint: 'Five fields: minute, hour, day of month, month, day of week (MON-FRI or 1-5), as in "0 9,12 * * MON,FRI".',
      cause,
    })
  }
  const next = (after: number): number | null => cron.nextRun(new Date(after))?.getTime() ?? null
  if (next(anyTime) === null) {
    throw new FanfareError("invalid_trigger", `${field}.cron: "${line}" never fires`, {
      field: `${field}.cron`,
      hint: "No day fits all its fields, like the 30th of February.",
    })
  }
  if (parsed.size < parsedMax) parsed.set(`${timezone} ${line}`, { next })
  return { next }
}

/** Lines that were read before: reading one takes longer than asking it for a moment. */
const parsed = new Map<string, CronLine>()
const parsedMax = 10_000

/** Lines have no year, so one that fires at all fires after this too. */
const anyTime = Date.UTC(2024, 0, 1)

function checkZone(timezone: string, field: string): void {
  try {
    new Intl.DateTimeFormat("en", { timeZone: timezone })
  } catch (cause) {
    throw new FanfareError("invalid_trigger", `${field}: there is no time zone "${String(timezone)}"`, {
      field,
      hint: 'Use an IANA name such as "Europe/Paris" or "UTC".',
      cause,
    })
  }
}

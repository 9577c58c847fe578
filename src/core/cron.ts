import { Cron } from "croner"
import { FanfareError } from "./errors.ts"
import { limits } from "./limits.ts"
import { type Stretch, type Zone, zoneNamed } from "./zone.ts"

/** Moments in time, in order. */
export interface Moments {
  /** The first one after `after` (both milliseconds since 1970), or null when there is none. */
  next(after: number): number | null
}

/** What becomes of moments that a change of the clocks skips or repeats. */
export interface DstPolicy {
  /**
   * Local times that the clocks skip. `shift` (default): as late as if the clocks had not been changed, so 02:30 fires at 03:30; a moment
   * that is there anyway fires once. `skip`: not at all.
   */
  readonly gap: "shift" | "skip"
  /**
   * Local times that the clocks show twice: fire at the first one, the second one or both. Default: `first`, and `both` for lines whose
   * hour is `*`, which mean every hour that passes.
   */
  readonly repeat: "first" | "second" | "both"
}

/** A cron line as it is kept: without a zone in it. */
export interface CronRule {
  readonly cron: string
  readonly timezone: string
  readonly dst: DstPolicy
}

/** What users may write. */
export interface CronInput {
  readonly cron: string
  readonly timezone?: string
  readonly dst?: Partial<DstPolicy>
}

const prefix = /^(?:CRON_)?TZ=(\S+)\s+/

/**
 * Reads a cron line of five or six fields, or a name such as `@daily`, with an optional `TZ=Area/City` before it, and completes it with
 * the defaults.
 * @throws FanfareError `invalid_trigger` naming `field` when the line, the zone or a policy cannot be read, or the line never fires
 */
export function readCron({ cron, timezone, dst }: CronInput, field: string): CronRule {
  if (typeof cron !== "string" || cron.length > limits.cronChars) {
    throw new FanfareError("invalid_trigger", `${field}.cron must be a cron line of at most ${limits.cronChars} characters`, {
      field: `${field}.cron`,
      bound: limits.cronChars,
    })
  }
  const own = prefix.exec(cron.trim())?.[1]
  if (own !== undefined && timezone !== undefined && own !== timezone) {
    throw new FanfareError("invalid_trigger", `${field} has two zones: TZ=${own} in the line, and timezone "${timezone}"`, {
      field: `${field}.timezone`,
      hint: "Give one of the two.",
    })
  }
  const line = cron.trim().replace(prefix, "").trim()
  const rule = { cron: line, timezone: own ?? timezone ?? "UTC", dst: readDst(line, dst, field) }
  cronMoments(rule, field)
  return rule
}

function readDst(line: string, dst: unknown, field: string): DstPolicy {
  const given = dst ?? {}
  if (typeof given !== "object" || Array.isArray(given)) throw wrong(`${field}.dst`, `${field}.dst must be { gap, repeat }`)
  const unknown = Object.keys(given).find((key) => key !== "gap" && key !== "repeat")
  if (unknown !== undefined) throw wrong(`${field}.dst.${unknown}`, `${field}.dst has an unknown field "${unknown}"`)
  const { gap = "shift", repeat = isEveryHour(line) ? "both" : "first" } = given as Partial<DstPolicy>
  if (gap !== "shift" && gap !== "skip") throw wrong(`${field}.dst.gap`, `${field}.dst.gap must be "shift" or "skip"`)
  if (repeat !== "first" && repeat !== "second" && repeat !== "both") {
    throw wrong(`${field}.dst.repeat`, `${field}.dst.repeat must be "first", "second" or "both"`)
  }
  return { gap, repeat }
}

function isEveryHour(line: string): boolean {
  const parts = line.split(/\s+/)
  return line === "@hourly" || parts.at(-4) === "*"
}

function wrong(field: string, message: string): FanfareError {
  return new FanfareError("invalid_trigger", message, { field })
}

/** The moments of a cron rule. What `readCron` gave is fit; anything else throws as it does. */
export function cronMoments({ cron, timezone, dst }: CronRule, field: string): Moments {
  const key = `${timezone} ${dst.gap} ${dst.repeat} ${cron}`
  const known = parsed.get(key)
  if (known !== undefined) return known
  const zone = zoneNamed(timezone, `${field}.timezone`)
  const wall = parseLine(cron, field)
  const moments: Moments = { next: (after) => nextMoment(wall, zone, dst, after) }
  if (parsed.size < parsedMax) parsed.set(key, moments)
  return moments
}

/** Lines that were read before: reading one takes longer than asking it for a moment. */
const parsed = new Map<string, Moments>()
const parsedMax = 10_000

/** Lines have no year, so one that fires at all fires after this too. */
const anyTime = Date.UTC(2024, 0, 1)

/** The local times that fit a line, as if they were UTC: what the clocks of a zone make of them is ours to decide. */
function parseLine(line: string, field: string): Moments {
  let cron: Cron
  try {
    if (line.split(/\s+/).length === 7) throw new Error("a year is not supported: use five or six fields")
    if (line.includes("?")) throw new Error('"?" means nothing here: use "*"')
    cron = new Cron(line, { utcOffset: 0, paused: true, mode: "5-or-6-parts" })
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
  return { next }
}

/** Walks from stretch to stretch until one has a moment after `after`. */
function nextMoment(wall: Moments, zone: Zone, dst: DstPolicy, after: number): number | null {
  let from = after
  for (;;) {
    const stretch = zone.stretch(from + 1)
    const plain = plainMoment(wall, stretch, dst, from)
    if (plain === "none") return null
    const shifted = dst.gap === "shift" ? shiftedMoment(wall, stretch, from) : null
    const found = plain === null ? shifted : shifted === null ? plain : Math.min(plain, shifted)
    if (found !== null) return found
    from = stretch.to - 1
  }
}

/** The first moment of the stretch itself; null when there is none in it, "none" when there will never be one. */
function plainMoment(
  wall: Moments,
  { from, to, offset, before, after }: Stretch,
  { repeat }: DstPolicy,
  than: number,
): number | null | "none" {
  // What this stretch's clocks show is shown a second time by those of the next one, or was shown before by those of the last one.
  const secondUntil = repeat === "first" && before > offset ? from + before : Number.NEGATIVE_INFINITY
  const firstFrom = repeat === "second" && after < offset ? to + after : Number.POSITIVE_INFINITY
  const local = wall.next(Math.max(than + offset, secondUntil - 1))
  if (local === null) return "none"
  return local - offset < to && local < firstFrom ? local - offset : null
}

/** The first of the moments that the clocks skipped when this stretch began, read on the clocks before. */
function shiftedMoment(wall: Moments, { from, offset, before }: Stretch, than: number): number | null {
  if (offset <= before) return null
  const local = wall.next(Math.max(than, from - 1) + before)
  return local !== null && local < from + offset ? local - before : null
}

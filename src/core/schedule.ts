import { type CronInput, type CronRule, cronMoments, type DstPolicy, type Moments, readCron } from "./cron.ts"
import { type Duration, durationMs } from "./duration.ts"
import { FanfareError } from "./errors.ts"
import { limits } from "./limits.ts"

/** When a schedule has its moments. */
export type ScheduleRule =
  | ({ readonly kind: "cron" } & CronRule)
  /** Each `everyMs`, counted from `anchorAt`. */
  | { readonly kind: "every"; readonly everyMs: number; readonly anchorAt: number }
  | { readonly kind: "at"; readonly at: number }

/**
 * What happens when a moment comes while what the one before started has not ended: `allow` starts another beside it, `skip` lets the
 * moment pass, `queue` lets one moment wait (those after it pass), `cancel` cancels the one before.
 */
export type OverlapPolicy = "allow" | "skip" | "queue" | "cancel"

/** What is caught up of moments that nobody was there for: those that are more than 10 s late. */
export interface MissedPolicy {
  readonly take: "none" | "latest" | "all"
  /** Only those at most this many milliseconds ago; null for no bound. */
  readonly withinMs: number | null
  /** The newest ones, at most so many. */
  readonly cap: number
}

export interface SchedulePolicies {
  readonly overlap: OverlapPolicy
  readonly missed: MissedPolicy
  /** Each moment fires up to so many milliseconds later: the same moment always by the same. */
  readonly jitterMs: number
  /** No moment before `startAt` or after `endAt`. */
  readonly startAt: number | null
  readonly endAt: number | null
}

/** The policies as users write them. */
export interface PolicyInput {
  /** Default `"allow"`: a run that is still going on keeps no other from starting. */
  readonly overlap?: OverlapPolicy
  /**
   * Moments missed while no engine ran or the machine slept. Default `"latest"`: the newest one, however late. `"all"`: those of the last 24 h,
   * at most 100, unless `within` and `cap` (1 to 1,000) say otherwise. `"none"`: none.
   */
  readonly missed?: MissedPolicy["take"] | { readonly take: MissedPolicy["take"]; readonly within?: Duration; readonly cap?: number }
  /** Spreads the start: each moment fires up to this much later, the same moment always by the same. At most 1 h; default none. */
  readonly jitter?: Duration
  /** No moment before this one: a `Date`, ISO 8601 text or milliseconds since 1970. */
  readonly start?: TimeInput
  /** No moment after this one. */
  readonly end?: TimeInput
}

export type TimeInput = Date | string | number

/** A schedule as it is stored: from a cron trigger, or made at run time. */
export interface Schedule {
  /** `<app id>-<id>`; of a function's first cron trigger the function's own. */
  readonly id: string
  /** Whose code it is in; null for one made at run time. */
  readonly appId: string | null
  /** Starts a run of this function … */
  readonly functionId: string | null
  /** … or sends an event of this name. */
  readonly event: string | null
  readonly rule: ScheduleRule
  readonly policies: SchedulePolicies
  /** JSON text; null for none. */
  readonly data: string | null
  readonly tag: string | null
  readonly createdAt: number
  readonly updatedAt: number
  /** The newest decided moment. Only grows, and outlives the ticks themselves. */
  readonly lastTickAt: number | null
  /** The first moment that is not decided yet. */
  readonly nextTickAt: number | null
  /** When to look at it again: when that moment fires, jitter included, or sooner while one waits. */
  readonly nextAt: number | null
  /** A moment that waits for what the one before started (overlap `queue`). */
  readonly waitingAt: number | null
  /** The event of the last moment that started something. */
  readonly lastEventId: string | null
  readonly pausedAt: number | null
  readonly note: string | null
}

export type TickOutcome = "fired" | "skipped_overlap" | "skipped_late" | "caught_up" | "backfilled" | "paused"

/** One nominal moment of a schedule and what became of it. */
export interface Tick {
  readonly scheduleId: string
  readonly at: number
  readonly outcome: TickOutcome
  readonly reason: string | null
  readonly eventId: string | null
  /** The run that it started; the first one, when its event started several. */
  readonly runId: string | null
  readonly decidedAt: number
}

export const defaultPolicies: SchedulePolicies = {
  overlap: "allow",
  missed: { take: "latest", withinMs: null, cap: 1 },
  jitterMs: 0,
  startAt: null,
  endAt: null,
}

/** The moments of a rule, within `startAt` and `endAt`. */
export function momentsOf(rule: ScheduleRule, { startAt, endAt }: Pick<SchedulePolicies, "startAt" | "endAt">): Moments {
  const all = allMoments(rule)
  if (startAt === null && endAt === null) return all
  return {
    next(after) {
      const at = all.next(startAt === null ? after : Math.max(after, startAt - 1))
      return at === null || (endAt !== null && at > endAt) ? null : at
    },
  }
}

function allMoments(rule: ScheduleRule): Moments {
  switch (rule.kind) {
    case "cron":
      return cronMoments(rule, "schedule")
    case "every": {
      const { everyMs, anchorAt } = rule
      return { next: (after) => (after < anchorAt ? anchorAt : anchorAt + (Math.floor((after - anchorAt) / everyMs) + 1) * everyMs) }
    }
    case "at":
      return { next: (after) => (after < rule.at ? rule.at : null) }
    default:
      return rule satisfies never
  }
}

/**
 * The first moment of a schedule that is to be decided. A rule that is as it was goes on; a new or changed one begins now: the moments it would
 * have had before are not missed ones, and one that was decided is never decided again.
 */
export function planned(
  id: string,
  rule: ScheduleRule,
  policies: SchedulePolicies,
  old: Pick<Schedule, "rule" | "nextTickAt" | "lastTickAt" | "waitingAt"> | null,
  now: number,
): Pick<Schedule, "nextTickAt" | "nextAt"> {
  const moments = momentsOf(rule, policies)
  const decided = old?.lastTickAt ?? Number.NEGATIVE_INFINITY
  const goesOn = old !== null && old.nextTickAt !== null && isSame(old.rule, rule)
  // A single moment may lie a little in the past: on its way here.
  const from = goesOn ? (old.nextTickAt ?? now) - 1 : rule.kind === "at" ? rule.at - 1 : now
  const nextTickAt = moments.next(Math.max(from, decided))
  const waits = old !== null && old.waitingAt !== null
  return { nextTickAt, nextAt: waits ? now : nextTickAt === null ? null : fireAt(id, nextTickAt, policies.jitterMs) }
}

/** Whether two values of ours are the same as JSON. */
export function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** When a moment fires: the same on every node and however often it is asked. */
export function fireAt(scheduleId: string, at: number, jitterMs: number): number {
  return jitterMs === 0 ? at : at + (hash(`${scheduleId} ${at}`) % jitterMs)
}

/** FNV-1a. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}

const overlaps: readonly OverlapPolicy[] = ["allow", "skip", "queue", "cancel"]
export const policyFields = ["overlap", "missed", "jitter", "start", "end"] as const

/**
 * Checks the policies of a schedule and completes them with the defaults.
 * @throws FanfareError `invalid_trigger` or `invalid_option`, naming field and bound
 */
export function readPolicies(input: PolicyInput, field: string): SchedulePolicies {
  const { overlap = "allow", missed, jitter, start, end } = input
  if (!overlaps.includes(overlap)) throw invalid(`${field}.overlap`, `${field}.overlap must be one of ${overlaps.join(", ")}`)
  const jitterMs = jitter === undefined ? 0 : durationMs(jitter, `${field}.jitter`)
  if (jitterMs > limits.jitterMaxMs) {
    throw invalid(`${field}.jitter`, `${field}.jitter must be at most ${limits.jitterMaxMs} ms`, limits.jitterMaxMs)
  }
  const startAt = start === undefined ? null : readTime(start, `${field}.start`)
  const endAt = end === undefined ? null : readTime(end, `${field}.end`)
  if (startAt !== null && endAt !== null && startAt > endAt) throw invalid(`${field}.end`, `${field}.end lies before start`)
  return { overlap, missed: readMissed(missed, `${field}.missed`), jitterMs, startAt, endAt }
}

function readMissed(missed: PolicyInput["missed"], field: string): MissedPolicy {
  if (missed === undefined) return defaultPolicies.missed
  const given = typeof missed === "string" ? { take: missed } : missed
  const wrong = typeof given !== "object" || given === null || !["none", "latest", "all"].includes(given.take)
  if (wrong) throw invalid(field, `${field} must be "none", "latest", "all" or { take, within, cap }`)
  const unknown = Object.keys(given).find((key) => !["take", "within", "cap"].includes(key))
  if (unknown !== undefined) throw invalid(`${field}.${unknown}`, `${field} has an unknown field "${unknown}"`)
  const { take, within, cap = take === "all" ? limits.missedCap : 1 } = given
  if (!Number.isInteger(cap) || cap < 1 || cap > limits.missedCapMax) {
    throw invalid(`${field}.cap`, `${field}.cap must be a whole number from 1 to ${limits.missedCapMax}`, limits.missedCapMax)
  }
  const withinMs = within === undefined ? (take === "all" ? limits.missedWithinMs : null) : durationMs(within, `${field}.within`)
  return { take, withinMs, cap: take === "all" ? cap : 1 }
}

/** @throws FanfareError `invalid_option` naming `field`: not a moment between 1980 and 2100 */
export function readTime(time: TimeInput, field: string): number {
  const at = time instanceof Date ? time.getTime() : typeof time === "string" ? Date.parse(time) : time
  if (typeof at === "number" && at >= limits.eventTsMin && at <= limits.eventTsMax) return Math.floor(at)
  throw new FanfareError("invalid_option", `${field}: ${JSON.stringify(time) ?? String(time)} is not a moment between 1980 and 2100`, {
    field,
    bound: `${limits.eventTsMin} to ${limits.eventTsMax}`,
    hint: 'Use a Date, ISO 8601 text such as "2026-11-25T09:00:00Z", or milliseconds since 1970.',
  })
}

/** A rule as users write it: exactly one of the three. */
export type RuleInput =
  | ({ readonly every?: never; readonly at?: never; readonly dst?: Partial<DstPolicy> } & CronInput)
  /** Milliseconds or a duration such as `"15m"`: 1 s to 366 days, counted from `start`, or from when the schedule was made. */
  | { readonly every: Duration; readonly cron?: never; readonly at?: never; readonly timezone?: never; readonly dst?: never }
  /** Once, at this moment. */
  | { readonly at: TimeInput; readonly cron?: never; readonly every?: never; readonly timezone?: never; readonly dst?: never }

export const ruleFields = ["cron", "every", "at", "timezone", "dst"] as const

/**
 * Reads a rule.
 * @param now the anchor of an `every` without `startAt`
 * @throws FanfareError `invalid_trigger` or `invalid_option`, naming field and bound
 */
export function readRule(input: RuleInput, startAt: number | null, now: number, field: string): ScheduleRule {
  const kinds = (["cron", "every", "at"] as const).filter((kind) => input[kind] !== undefined)
  if (kinds.length !== 1) throw invalid(field, `${field} must have exactly one of cron, every and at`)
  if (input.cron !== undefined) return { kind: "cron", ...readCron(input, field) }
  const stray = (["timezone", "dst"] as const).find((key) => input[key] !== undefined)
  if (stray !== undefined) throw invalid(`${field}.${stray}`, `${field}.${stray} belongs to cron lines`)
  if (input.at !== undefined) return { kind: "at", at: readTime(input.at, `${field}.at`) }
  const everyMs = durationMs(input.every, `${field}.every`)
  if (everyMs < limits.everyMinMs || everyMs > limits.everyMaxMs) {
    throw invalid(
      `${field}.every`,
      `${field}.every must be from ${limits.everyMinMs} ms to ${limits.everyMaxMs} ms`,
      `${limits.everyMinMs} to ${limits.everyMaxMs}`,
    )
  }
  return { kind: "every", everyMs, anchorAt: startAt ?? now }
}

function invalid(field: string, message: string, bound?: string | number): FanfareError {
  return new FanfareError("invalid_trigger", message, { field, ...(bound === undefined ? {} : { bound }) })
}

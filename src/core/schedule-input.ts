import type { Moments } from "./cron.ts"
import { FanfareError } from "./errors.ts"
import { checkEvent } from "./event.ts"
import { encodeJson } from "./json.ts"
import { limits } from "./limits.ts"
import { fireAt, momentsOf, policyFields, readPolicies, readRule, ruleFields, type Schedule } from "./schedule.ts"
import type { BackfillOptions, CheckedSchedule, ScheduleInput, UpcomingMoment } from "./schedules.ts"
import { zoneNamed } from "./zone.ts"

const fields = new Set<string>(["id", "tag", "event", "function", "data", ...ruleFields, ...policyFields])
// oxlint-disable-next-line no-control-regex -- control characters are exactly what is refused
const idShape = /^[^\u0000-\u001f\u007f]+$/

/**
 * Checks a schedule made at run time, at the door.
 * @param functionNamed the full id of a function of this name, or null
 * @throws FanfareError naming field and bound: `invalid_option`, `invalid_trigger`, `invalid_event`, `not_found` for an unknown function
 */
export function checkSchedule(
  app: string,
  input: ScheduleInput,
  at: string,
  now: number,
  functionNamed: (name: string) => string | null,
): CheckedSchedule {
  if (typeof input !== "object" || input === null) throw invalid(at, `${at} must be an object such as { id, every: "15m", event }`)
  const unknown = Object.keys(input).find((field) => !fields.has(field))
  if (unknown !== undefined)
    throw invalid(`${at}.${unknown}`, `${at} has an unknown field "${unknown}"; known are ${[...fields].join(", ")}`)
  const id = text(input.id, `${at}.id`, limits.scheduleIdChars)
  const policies = readPolicies(input, at)
  const rule = readRule(input, policies.startAt, now, at)
  const { tag } = input
  return {
    id: `${app}-${id}`,
    rule,
    policies,
    ...checkTarget(input, at, functionNamed),
    tag: tag === undefined ? null : text(tag, `${at}.tag`, limits.tagChars),
  }
}

function checkTarget(
  input: ScheduleInput,
  at: string,
  functionNamed: (name: string) => string | null,
): Pick<CheckedSchedule, "functionId" | "event" | "data"> {
  const { event, function: name, data } = input
  if ((event === undefined) === (name === undefined)) throw invalid(at, `${at} must have either event or function`)
  if (event !== undefined) {
    const checked = checkEvent({ name: event, ...(data === undefined ? {} : { data }) }, at)
    return { functionId: null, event, data: data === undefined ? null : checked.data }
  }
  if (typeof name !== "string") throw invalid(`${at}.function`, `${at}.function must be the id of a function`)
  if (data !== undefined && (typeof data !== "object" || data === null || Array.isArray(data))) {
    throw invalid(`${at}.data`, `${at}.data must be an object`)
  }
  const functionId = functionNamed(name)
  if (functionId === null) {
    throw new FanfareError("not_found", `${at}.function: there is no function "${name}"`, {
      field: `${at}.function`,
      hint: "An engine must have registered it: `fanfare functions` shows those there are.",
    })
  }
  return { functionId, event: null, data: data === undefined ? null : encodeJson(data, { field: `${at}.data`, bytes: limits.eventBytes }) }
}

function text(value: unknown, field: string, most: number): string {
  if (typeof value === "string" && value.length <= most && idShape.test(value)) return value
  throw new FanfareError("invalid_option", `${field} must be text of 1 to ${most} characters without control characters`, {
    field,
    bound: most,
  })
}

/** A schedule as it was written, with changes: what `update` makes of it. */
export function inputOf(old: Schedule, changes: Partial<ScheduleInput>, apps: readonly string[]): { input: ScheduleInput; app: string } {
  if (changes.id !== undefined) throw invalid("id", "id cannot be changed: it names what is stored")
  // App ids may have dashes: the longest one that fits is meant.
  const app = apps.filter((each) => old.id.startsWith(`${each}-`)).toSorted((a, b) => b.length - a.length)[0] ?? old.id.split("-")[0] ?? ""
  const { rule, policies, event, functionId, data, tag } = old
  const retimed = ["cron", "every", "at"].some((field) => field in changes)
  const retargeted = "event" in changes || "function" in changes
  const { missed } = policies
  const before = {
    id: old.id.slice(app.length + 1),
    overlap: policies.overlap,
    missed: { take: missed.take, cap: missed.cap, ...(missed.withinMs === null ? {} : { within: missed.withinMs }) },
    jitter: policies.jitterMs,
    ...(policies.startAt === null ? {} : { start: policies.startAt }),
    ...(policies.endAt === null ? {} : { end: policies.endAt }),
    ...(retimed ? {} : ruleInput(rule)),
    ...(retargeted || event === null ? {} : { event }),
    ...(retargeted || functionId === null ? {} : { function: functionId }),
    ...(data === null ? {} : { data: JSON.parse(data) as unknown }),
    ...(tag === null ? {} : { tag }),
  }
  return { input: { ...before, ...changes } as ScheduleInput, app }
}

function ruleInput(rule: Schedule["rule"]): object {
  if (rule.kind === "cron") return { cron: rule.cron, timezone: rule.timezone, dst: rule.dst }
  return rule.kind === "every" ? { every: rule.everyMs } : { at: rule.at }
}

export interface BackfillRange extends Required<Omit<BackfillOptions, "dryRun">> {
  readonly from: number
  readonly to: number
}

/** @throws FanfareError `invalid_option` or `too_many`, naming field and bound: nothing was written */
export function readBackfill(
  schedule: Pick<Schedule, "id">,
  moments: Moments,
  from: number,
  to: number,
  { overlap = "allow" }: BackfillOptions,
  now: number,
): BackfillRange {
  for (const [field, at] of [
    ["from", from],
    ["to", to],
  ] as const) {
    if (!(at >= limits.eventTsMin && at <= limits.eventTsMax)) throw invalid(field, `${field} must be a moment between 1980 and 2100`)
  }
  if (from > to) throw invalid("from", "from lies after to")
  if (to > now) throw invalid("to", "to lies in the future: moments to come fire by themselves")
  if (overlap !== "allow" && overlap !== "queue") throw invalid("overlap", 'overlap of a backfill must be "allow" or "queue"')
  let n = 0
  for (let at = moments.next(from - 1); at !== null && at <= to; at = moments.next(at)) {
    if (++n <= limits.backfillTicks) continue
    throw new FanfareError(
      "too_many",
      `the schedule "${schedule.id}" has more than ${limits.backfillTicks} moments from ${iso(from)} to ${iso(to)}`,
      {
        field: "from",
        bound: limits.backfillTicks,
        hint: `The first ${limits.backfillTicks} end before ${iso(at)}: backfill in several calls.`,
      },
    )
  }
  return { from, to, overlap }
}

/** @throws FanfareError `invalid_option` naming the bound */
export function readPage(after: string | undefined, limit: number = limits.pageRows): { after: number | null; limit: number } {
  const at = after === undefined ? null : Number(after)
  if (at !== null && !Number.isFinite(at)) throw invalid("after", "after must be what the page before gave as next")
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.pageRowsMax) {
    throw invalid("limit", `limit must be a whole number from 1 to ${limits.pageRowsMax}`)
  }
  return { after: at, limit }
}

/**
 * The next moments of a schedule, with what changes of the clocks do to them.
 * @throws FanfareError `invalid_option` naming the bound
 */
export function upcoming(
  { id, rule, policies, nextTickAt }: Pick<Schedule, "id" | "rule" | "policies" | "nextTickAt">,
  now: number,
  n: number,
): UpcomingMoment[] {
  if (!Number.isInteger(n) || n < 1 || n > limits.previewMoments) {
    throw new FanfareError("invalid_option", `n must be a whole number from 1 to ${limits.previewMoments}`, {
      field: "n",
      bound: limits.previewMoments,
    })
  }
  const moments = momentsOf(rule, policies)
  const found: UpcomingMoment[] = []
  // A schedule that was dropped or has come to its end has no moments any more.
  let at = nextTickAt === null ? null : moments.next(Math.max(nextTickAt - 1, now))
  for (; at !== null && found.length < n; at = moments.next(at)) {
    found.push({ at, firesAt: fireAt(id, at, policies.jitterMs), ...onTheClock(rule, at) })
  }
  return found
}

function onTheClock(rule: Schedule["rule"], at: number): Pick<UpcomingMoment, "local" | "note"> {
  if (rule.kind !== "cron") return { local: new Date(at).toISOString(), note: null }
  const { from, to, offset, before, after } = zoneNamed(rule.timezone, "timezone").stretch(at)
  const local = `${new Date(at + offset).toISOString().slice(0, 19)}${offsetText(offset)}`
  // A moment that would not be there without the shift.
  const isShifted = (): boolean =>
    momentsOf({ ...rule, dst: { ...rule.dst, gap: "skip" } }, { startAt: null, endAt: null }).next(at - 1) !== at
  const skipped = offset > before && at < from + (offset - before) && isShifted()
  const second = before > offset && at + offset < from + before
  const first = after < offset && at + offset >= to + after
  const note = second
    ? `the clocks went back at ${iso(from)}: this local time is there a second time`
    : first
      ? `the clocks go back at ${iso(to)}: this local time comes once more`
      : skipped
        ? `the clocks go forward at ${iso(from)}: what they skip at ${new Date(at + before).toISOString().slice(11, 19)} fires now`
        : null
  return { local, note }
}

function offsetText(offset: number): string {
  const minutes = Math.abs(Math.round(offset / 60_000))
  const two = (n: number): string => String(n).padStart(2, "0")
  return `${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`
}

function iso(at: number): string {
  return new Date(at).toISOString()
}

function invalid(field: string, message: string): FanfareError {
  return new FanfareError("invalid_option", message, { field })
}

import { admit, startChanges } from "./admit.ts"
import type { Change, NewEvent } from "./change.ts"
import type { Moments } from "./cron.ts"
import type { FunctionDefinition } from "./definition.ts"
import { scheduledTimerEvent } from "./event.ts"
import { limits } from "./limits.ts"
import type { Matcher } from "./match.ts"
import { fireAt, type Schedule, type SchedulePolicies, type Tick, type TickOutcome } from "./schedule.ts"

/** What becomes of one moment. */
export interface DecidedTick {
  readonly at: number
  readonly outcome: TickOutcome
  readonly reason: string | null
}

export interface TickDecision {
  /** In the order in which they are to be written: those that start something are `fired` or `caught_up`. */
  readonly ticks: readonly DecidedTick[]
  /** What the moment before has started is cancelled. */
  readonly cancels: boolean
  readonly lastTickAt: number | null
  readonly nextTickAt: number | null
  readonly waitingAt: number | null
  /** When to look again. */
  readonly nextAt: number | null
}

/** What has to be known of a schedule to decide its moments. */
export type TickState = Pick<Schedule, "id" | "lastTickAt" | "nextTickAt" | "waitingAt"> & {
  readonly policies: SchedulePolicies
  /** Why all its moments pass now; null when they do not. */
  readonly paused: string | null
}

export function startsRuns(outcome: TickOutcome): boolean {
  return outcome === "fired" || outcome === "caught_up" || outcome === "backfilled"
}

/**
 * Decides the moments of a schedule that are due at `now`. On time are those that fire within `limits.tickLateMs`: each is started. Older
 * ones were missed: the policy says which of them are caught up; `latest` takes none when a newer one is on time. Past
 * `limits.ticksPerLook` moments only the newest are recorded: the reason of the oldest says so.
 * @param busy whether what the last moment started has not ended
 */
export function decideTicks(state: TickState, moments: Moments, busy: boolean, now: number): TickDecision {
  const { id, policies, nextTickAt: first } = state
  const fires = (at: number): number => fireAt(id, at, policies.jitterMs)
  const { due, unlisted, next } = first === null ? { due: [], unlisted: false, next: null } : dueMoments(moments, first, fires, now)
  const judged = state.paused === null ? judge(due, fires, state, busy, now) : pausedTicks(due, state.paused, state)
  const oldest = judged.ticks.find(({ at }) => at === due[0])
  const ticks = judged.ticks.map((tick) =>
    unlisted && tick === oldest ? { ...tick, reason: `${tick.reason ?? ""}; earlier missed moments are not listed` } : tick,
  )
  const nextFire = next === null ? null : fires(next)
  return {
    ticks,
    cancels: judged.cancels,
    lastTickAt: due.at(-1) ?? state.lastTickAt,
    nextTickAt: next,
    waitingAt: judged.waitingAt,
    nextAt: judged.waitingAt === null ? nextFire : Math.min(nextFire ?? Number.POSITIVE_INFINITY, now + waitLookMs(now - judged.waitingAt)),
  }
}

/** A moment that waits is looked at again after a fiftieth of the time it has waited. */
function waitLookMs(waitedMs: number): number {
  return Math.min(Math.max(limits.restMs, Math.round(waitedMs / 50)), limits.waitLookMostMs)
}

interface Due {
  readonly due: readonly number[]
  readonly unlisted: boolean
  readonly next: number | null
}

/** The newest moments from `first` on that have fired by `now`; none overtakes the one before it. */
function dueMoments(moments: Moments, first: number, fires: (at: number) => number, now: number): Due {
  const due: number[] = []
  let at: number | null = first
  for (; at !== null && fires(at) <= now; at = moments.next(at)) {
    due.push(at)
    if (due.length > limits.ticksPerLook) return newestDue(moments, first, fires, now)
  }
  return { due, unlisted: false, next: at }
}

/** A long absence: look back in growing stretches instead of walking through every moment of it. */
function newestDue(moments: Moments, first: number, fires: (at: number) => number, now: number): Due {
  for (let window = limits.ticksPerLook * 1_000; ; window *= 2) {
    const from = Math.max(first - 1, now - window)
    const due: number[] = []
    let at = moments.next(from)
    for (; at !== null && fires(at) <= now; at = moments.next(at)) due.push(at)
    if (due.length >= limits.ticksPerLook || from < first) return { due: due.slice(-limits.ticksPerLook), unlisted: true, next: at }
  }
}

type Judged = Pick<TickDecision, "ticks" | "cancels" | "waitingAt">

function pausedTicks(due: readonly number[], reason: string, { waitingAt }: TickState): Judged {
  const at = waitingAt === null ? due : [waitingAt, ...due]
  return {
    ticks: at.map((moment) => ({ at: moment, outcome: "paused", reason })),
    cancels: false,
    waitingAt: null,
  }
}

function judge(due: readonly number[], fires: (at: number) => number, state: TickState, busy: boolean, now: number): Judged {
  const { overlap, missed } = state.policies
  const ticks: DecidedTick[] = []
  let waitingAt = state.waitingAt
  let running = busy
  let cancels = false
  if (waitingAt !== null && !running) {
    ticks.push({ at: waitingAt, outcome: "fired", reason: `waited ${now - waitingAt} ms for the one before to end` })
    waitingAt = null
    running = true
  }
  const late = due.filter((at) => now - fires(at) > limits.tickLateMs)
  const caughtUp = new Set(toCatchUp(late, late.length < due.length, missed, now))
  const starting = due.filter((at) => caughtUp.has(at) || now - fires(at) <= limits.tickLateMs)
  for (const at of due) {
    const isLate = now - fires(at) > limits.tickLateMs
    if (isLate && !caughtUp.has(at)) ticks.push({ at, outcome: "skipped_late", reason: whyLate(missed, now - fires(at)) })
    else if (overlap === "cancel" && at !== starting.at(-1)) {
      ticks.push({ at, outcome: "skipped_overlap", reason: "the moment after it would have cancelled it at once" })
    } else if (running && overlap === "skip")
      ticks.push({ at, outcome: "skipped_overlap", reason: "what the one before started has not ended" })
    else if (running && overlap === "queue" && waitingAt === null) waitingAt = at
    else if (running && overlap === "queue") ticks.push({ at, outcome: "skipped_overlap", reason: "another moment waits already" })
    else {
      cancels ||= running && overlap === "cancel"
      const reason = isLate ? `missed; started ${now - fires(at)} ms late` : null
      ticks.push({ at, outcome: isLate ? "caught_up" : "fired", reason })
      running = true
    }
  }
  return { ticks, cancels, waitingAt }
}

/** The missed moments that are started after all. `covered`: a newer one is on time. */
function toCatchUp(
  late: readonly number[],
  covered: boolean,
  { take, withinMs, cap }: SchedulePolicies["missed"],
  now: number,
): readonly number[] {
  if (take === "none" || (take === "latest" && covered)) return []
  return late.filter((at) => withinMs === null || now - at <= withinMs).slice(-cap)
}

function whyLate({ take, withinMs, cap }: SchedulePolicies["missed"], lateMs: number): string {
  if (take === "none") return `missed by ${lateMs} ms; none are caught up`
  if (withinMs !== null && lateMs > withinMs) return `missed by ${lateMs} ms; only those of the last ${withinMs} ms are caught up`
  return take === "latest" ? "missed; only the latest is caught up" : `missed; at most ${cap} are caught up`
}

/** What is known where moments are turned into runs. */
export interface TickContext {
  readonly match: Matcher
  /** The fields by which runs look at events of a name. */
  readonly waitedFor: (name: string) => readonly string[]
  readonly functions: ReadonlyMap<string, FunctionDefinition>
  readonly newId: (kind: "evt" | "run") => string
  readonly now: number
}

/** What of a schedule its events are made of. */
export type TickSource = Pick<Schedule, "id" | "functionId" | "event" | "rule" | "data">

export interface TickWrite {
  readonly tick: Tick
  /** The event and the runs, when it starts something. */
  readonly changes: readonly Change[]
}

/** A decided moment as rows: the tick, and with it what it starts. Pure: ids come from `newId`. */
export function tickWrite(source: TickSource, { at, outcome, reason }: DecidedTick, context: TickContext): TickWrite {
  const { changes, nobody } = startsRuns(outcome) ? started(source, at, context) : { changes: [], nobody: null }
  const event = changes.find((change) => change.kind === "event.add")
  const run = changes.find((change) => change.kind === "run.add")
  const reasons = [reason, nobody].filter((each) => each !== null)
  const tick: Tick = {
    scheduleId: source.id,
    at,
    outcome,
    reason: reasons.length === 0 ? null : reasons.join("; "),
    eventId: event?.event.id ?? null,
    runId: run?.run.id ?? null,
    decidedAt: context.now,
  }
  return { tick, changes }
}

const skipsNew = "its function is paused, and new runs are skipped meanwhile"

/** Why all moments of a schedule pass now; null when they do not. */
export function pausedBy(source: TickSource & Pick<Schedule, "pausedAt">, { functions }: Pick<TickContext, "functions">): string | null {
  if (source.pausedAt !== null) return "the schedule is paused"
  return source.event === null && functions.get(source.functionId ?? "")?.paused === "skip" ? skipsNew : null
}

/** The event of a moment and the runs that it starts. An event that nobody hears is not written. */
export function started(source: TickSource, at: number, context: TickContext): { changes: Change[]; nobody: string | null } {
  const { functions, match, waitedFor, newId, now } = context
  if (source.event !== null) {
    const event = { name: source.event, data: source.data ?? "{}", key: null, ts: at }
    const { changes } = admit([event], match, { runId: null, fanoutId: null, pace: null }, now, newId, waitedFor)
    return changes.length === 1 ? { changes: [], nobody: `no function hears "${source.event}"` } : { changes, nobody: null }
  }
  const definition = functions.get(source.functionId ?? "")
  if (definition?.paused === "skip") return { changes: [], nobody: skipsNew }
  if (definition === undefined) return { changes: [], nobody: `no app offers the function ${source.functionId ?? ""} now` }
  const base = { key: null, fanoutId: null, sourceRunId: null, receivedAt: now }
  const event: NewEvent = { id: newId("evt"), name: scheduledTimerEvent, data: timerData(source, at), ts: at, ...base }
  return { changes: [{ kind: "event.add", event }, ...startChanges(definition, event, newId("run"), now)], nobody: null }
}

/** The data of the event that a schedule's moment brings to its function. */
export function timerData({ id, rule, data }: Pick<TickSource, "id" | "rule" | "data">, at: number): string {
  const when = rule.kind === "cron" ? { cron: rule.cron, timezone: rule.timezone } : rule.kind === "every" ? { everyMs: rule.everyMs } : {}
  const own: unknown = data === null ? undefined : JSON.parse(data)
  return JSON.stringify({ ...when, scheduledAt: new Date(at).toISOString(), scheduleId: id, ...(own === undefined ? {} : { data: own }) })
}

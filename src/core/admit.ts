import { admitterOf, fixedLimits } from "./admission.ts"
import type { Change, ChangeOf, NewEvent } from "./change.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { Entry } from "./entry.ts"
import type { CheckedEvent } from "./event.ts"
import type { ExpressionEvent } from "./expression.ts"
import { type Gaps, gateClaims, type GateRules } from "./gate.ts"
import type { Matcher } from "./match.ts"
import type { LimitClaim, NewRun } from "./run.ts"
import { cancelKey, offerOf, resolveDemand, startKey, type Wait } from "./wait.ts"

/** Where events come from: the run that sends them and the fan-out they belong to, if any. */
export interface Origin {
  readonly runId: string | null
  readonly fanoutId: string | null
  /** How the fan-out lets its runs loose; null: all at once. */
  readonly pace: RunPace | null
  /** Where the send stands in a trace. */
  readonly trace?: string | null
}

/** For the runs of a fan-out with rules. */
export interface RunPace extends Gaps {
  readonly gate: GateRules | null
  /** From when the gaps count. */
  readonly startedAt: number
  /** Runs and events of the fan-out before these. */
  readonly runsBefore: number
  readonly eventsBefore: number
}

export interface Admission {
  readonly changes: Change[]
  /** The ids under which the events are stored, in order. */
  readonly eventIds: string[]
  readonly runs: number
}

const nobody = (): readonly string[] => []

/**
 * Events that passed the door → the events, the runs they start, and what they offer to runs that wait, as changes. Pure: ids come from
 * `newId`. `waitedFor`: the fields by which runs look at events of a name.
 */
export function admit(
  events: readonly CheckedEvent[],
  match: Matcher,
  origin: Origin,
  now: number,
  newId: (kind: "evt" | "run") => string,
  waitedFor: (name: string) => readonly string[] = nobody,
): Admission {
  const changes: Change[] = []
  const eventIds: string[] = []
  let runs = 0
  for (const checked of events) {
    const event: NewEvent = {
      id: newId("evt"),
      key: checked.key,
      name: checked.name,
      data: checked.data,
      ts: checked.ts ?? now,
      receivedAt: now,
      fanoutId: origin.fanoutId,
      sourceRunId: origin.runId,
      trace: origin.trace ?? null,
    }
    eventIds.push(event.id)
    changes.push({ kind: "event.add", event })
    for (const definition of match(event.name, () => seen(event))) {
      const plain = startRun(definition, event, newId("run"), now)
      const start = origin.pace === null ? plain : paced(plain, origin.pace, runs, eventIds.length - 1)
      changes.push(start, ...ruleWaits(definition, event, start.run))
      runs++
    }
    const paths = waitedFor(event.name)
    if (paths.length > 0) changes.push({ kind: "wait.offer", eventId: event.id, offer: offerOf(seen(event), paths) })
  }
  return { changes, eventIds, runs }
}

/** An event as expressions see it. */
function seen({ id, key, name, data, ts }: Cause): ExpressionEvent {
  return { name, data: JSON.parse(data), id: key ?? id, ts }
}

/** A run, and the waits that its function's rules give it. */
export function startChanges(definition: FunctionDefinition, event: NewEvent, id: string, now: number, way: StartWay = "event"): Change[] {
  const start = startRun(definition, event, id, now, way)
  return [start, ...ruleWaits(definition, event, start.run)]
}

/** What rules look at of the event that started a run. */
type Cause = Pick<NewEvent, "id" | "key" | "name" | "data" | "ts">

const noWaits: readonly Change[] = []

/** The waits that its function's rules give a run. */
export function ruleWaits(
  definition: FunctionDefinition,
  event: Cause,
  { id: runId, dueAt, fence = 0 }: Pick<NewRun, "id" | "dueAt" | "fence">,
): readonly Change[] {
  const { cancelOn, startTimeoutMs } = definition
  if (cancelOn.length === 0 && startTimeoutMs === null) return noWaits
  const rules = cancelOn.map((rule, i): Wait => {
    const { topic, key, condition } = resolveDemand(rule, seen(event))
    return { stepKey: `${cancelKey}/${i}`, kind: "cancel", topic, key, condition, dueAt: dueAt + rule.timeoutMs }
  })
  const start: Wait[] =
    startTimeoutMs === null
      ? []
      : [{ stepKey: startKey, kind: "deadline", topic: "", key: "", condition: null, dueAt: dueAt + startTimeoutMs, fence }]
  return [...rules, ...start].map((wait) => ({ kind: "wait.add", runId, wait }))
}

/**
 * What starts a run: an event that its function hears; somebody who wants this very run (by hand, or a moment of a schedule), so that it joins
 * no batch; or another run that waits for its result, so that nothing may refuse it.
 */
export type StartWay = "event" | "asked" | "invoked"

/** The run that `definition` starts for `event`; due when the event says, if that is in the future. */
export function startRun(
  definition: FunctionDefinition,
  event: NewEvent,
  id: string,
  now: number,
  way: StartWay = "event",
): ChangeOf<"run.add"> {
  const dueAt = Math.max(event.ts, now)
  const run = {
    id,
    functionId: definition.id,
    eventId: event.id,
    fanoutId: event.fanoutId,
    parentId: event.sourceRunId,
    createdAt: now,
    dueAt,
  }
  const skip = definition.paused === "skip" && way !== "invoked" ? pausedEntry : null
  const admit = admitterOf(definition)
  if (admit === null && skip === null) return { kind: "run.add", run: { ...run, limits: fixedLimits(definition) ?? [] } }
  const admitted =
    skip === null && admit !== null ? admit(seen(event), event.data.length) : { limits: [], entries: [skip ?? pausedEntry], ahead: 0 }
  const entries = admitted.entries.filter((entry) => allows(way, entry))
  return {
    kind: "run.add",
    run: {
      ...run,
      limits: admitted.limits.filter(
        ({ hold }) => way === "event" || hold === undefined || hold === "run" || (way === "asked" && hold !== "batch"),
      ),
      ...(entries.length === 0 ? {} : { entries }),
      ...(admitted.ahead === 0 ? {} : { rank: dueAt - admitted.ahead }),
    },
  }
}

const pausedEntry: Entry = { kind: "refuse", state: "skipped", reason: "its function is paused, and new runs are skipped meanwhile" }

/** The rules that decide about a run that was started in this way. */
function allows(way: StartWay, { kind }: Entry): boolean {
  if (way === "event" || kind === "refuse") return true
  return way === "asked" && kind !== "batch"
}

/** The limits of a run that begins with this event although others of its key may have begun: nothing of its function's rules refuses it. @param several whether it has several events */
export function limitsOf(definition: FunctionDefinition, event: ExpressionEvent, several = false): readonly LimitClaim[] {
  const all = fixedLimits(definition) ?? admitterOf(definition)?.(event, 0).limits ?? []
  return all.flatMap((claim): LimitClaim[] => {
    if (claim.hold === "batch" && several) return [{ ...claim, hold: "events" }]
    return claim.hold === undefined || claim.hold === "run" ? [claim] : []
  })
}

/** A run in its place: the first ones are free, the others count against the gate; each starts when its turn has come. */
function paced({ run }: ChangeOf<"run.add">, pace: RunPace, runs: number, events: number): ChangeOf<"run.add"> {
  const place = pace.runsBefore + runs
  const turn = pace.startedAt + place * pace.runGapMs + (pace.eventsBefore + events) * pace.eventGapMs
  const dueAt = Math.max(run.dueAt, Math.floor(turn))
  const rank = run.rank === undefined ? {} : { rank: run.rank + dueAt - run.dueAt }
  return { kind: "run.add", run: gated({ ...run, dueAt, ...rank }, pace.gate, place) }
}

/** @param place how many runs of its fan-out come before it */
export function gated(run: NewRun, gate: GateRules | null, place: number): NewRun {
  if (gate === null || run.fanoutId === null) return run
  const [claim] = gateClaims(run.fanoutId)
  const own = run.limits.filter(({ key }) => key !== claim.key)
  return { ...run, limits: place < gate.canary ? own : [claim, ...own] }
}

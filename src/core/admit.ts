import type { Change, ChangeOf, NewEvent } from "./change.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { CheckedEvent } from "./event.ts"
import { type Gaps, gateClaims, type GateRules } from "./gate.ts"
import type { Matcher } from "./match.ts"
import type { LimitClaim, NewRun } from "./run.ts"
import type { ExpressionEvent } from "./expression.ts"
import { cancelKey, offerOf, resolveDemand, startKey, type Wait } from "./wait.ts"

/** Where events come from: the run that sends them and the fan-out they belong to, if any. */
export interface Origin {
  readonly runId: string | null
  readonly fanoutId: string | null
  /** How the fan-out lets its runs loose; null: all at once. */
  readonly pace: RunPace | null
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
export function startChanges(definition: FunctionDefinition, event: NewEvent, id: string, now: number): Change[] {
  const start = startRun(definition, event, id, now)
  return [start, ...ruleWaits(definition, event, start.run)]
}

/** What rules look at of the event that started a run. */
type Cause = Pick<NewEvent, "id" | "key" | "name" | "data" | "ts">

const noWaits: readonly Change[] = []

/** The waits that its function's rules give a run. */
export function ruleWaits(
  definition: FunctionDefinition,
  event: Cause,
  { id: runId, dueAt }: Pick<NewRun, "id" | "dueAt">,
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
      : [{ stepKey: startKey, kind: "deadline", topic: "", key: "", condition: null, dueAt: dueAt + startTimeoutMs }]
  return [...rules, ...start].map((wait) => ({ kind: "wait.add", runId, wait }))
}

/** The run that `definition` starts for `event`; due when the event says, if that is in the future. */
export function startRun(definition: FunctionDefinition, event: NewEvent, id: string, now: number): ChangeOf<"run.add"> {
  return {
    kind: "run.add",
    run: {
      id,
      functionId: definition.id,
      eventId: event.id,
      fanoutId: event.fanoutId,
      parentId: event.sourceRunId,
      createdAt: now,
      dueAt: Math.max(event.ts, now),
      limits: limitsOf(definition),
    },
  }
}

/** A run in its place: the first ones are free, the others count against the gate; each starts when its turn has come. */
function paced({ run }: ChangeOf<"run.add">, pace: RunPace, runs: number, events: number): ChangeOf<"run.add"> {
  const place = pace.runsBefore + runs
  const turn = pace.startedAt + place * pace.runGapMs + (pace.eventsBefore + events) * pace.eventGapMs
  return { kind: "run.add", run: gated({ ...run, dueAt: Math.max(run.dueAt, Math.floor(turn)) }, pace.gate, place) }
}

/** @param place how many runs of its fan-out come before it */
export function gated(run: NewRun, gate: GateRules | null, place: number): NewRun {
  if (gate === null || run.fanoutId === null) return run
  const [claim] = gateClaims(run.fanoutId)
  const own = run.limits.filter(({ key }) => key !== claim.key)
  return { ...run, limits: place < gate.canary ? own : [claim, ...own] }
}

const noLimits: readonly LimitClaim[] = []

/** The limits that a run of this function counts against. */
export function limitsOf(definition: FunctionDefinition): readonly LimitClaim[] {
  return definition.concurrency === null ? noLimits : [{ key: `fn:${definition.id}`, max: definition.concurrency }]
}

import type { Change, ChangeOf, NewEvent } from "./change.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { CheckedEvent } from "./event.ts"
import { type Gaps, gateClaims, type GateRules } from "./gate.ts"
import type { Matcher } from "./match.ts"
import type { LimitClaim, NewRun } from "./run.ts"

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

/** Events that passed the door → the events and the runs they start, as changes. Pure: ids come from `newId`. */
export function admit(
  events: readonly CheckedEvent[],
  match: Matcher,
  origin: Origin,
  now: number,
  newId: (kind: "evt" | "run") => string,
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
    const functions = match(event.name, () => ({ name: event.name, data: JSON.parse(event.data), id: event.key ?? event.id, ts: event.ts }))
    for (const definition of functions) {
      const start = startRun(definition, event, newId("run"), now)
      changes.push(origin.pace === null ? start : paced(start, origin.pace, runs, eventIds.length - 1))
      runs++
    }
  }
  return { changes, eventIds, runs }
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

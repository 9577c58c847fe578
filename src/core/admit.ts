import type { Change, NewEvent } from "./change.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { CheckedEvent } from "./event.ts"
import type { Matcher } from "./match.ts"
import type { LimitClaim } from "./run.ts"

/** Where events come from: the run that sends them and the fan-out they belong to, if any. */
export interface Origin {
  readonly runId: string | null
  readonly fanoutId: string | null
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
      changes.push(startRun(definition, event, newId("run"), now))
      runs++
    }
  }
  return { changes, eventIds, runs }
}

/** The run that `definition` starts for `event`; due when the event says, if that is in the future. */
export function startRun(definition: FunctionDefinition, event: NewEvent, id: string, now: number): Change {
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

const noLimits: readonly LimitClaim[] = []

/** The limits that a run of this function counts against. */
export function limitsOf(definition: FunctionDefinition): readonly LimitClaim[] {
  return definition.concurrency === null ? noLimits : [{ key: `fn:${definition.id}`, max: definition.concurrency }]
}

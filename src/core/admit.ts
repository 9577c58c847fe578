import { admitterOf, fixedLimits } from "./admission.ts"
import type { Change, NewEvent } from "./change.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { CheckedEvent } from "./event.ts"
import type { Gate } from "./gate.ts"
import type { Matcher } from "./match.ts"

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

/**
 * The run that `definition` starts for `event`; due when the event says, if that is in the future.
 * @param alone in no batch: whoever started it by hand, or a moment of a schedule, has this run and no other
 */
export function startRun(definition: FunctionDefinition, event: NewEvent, id: string, now: number, alone = false): Change {
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
  const skip = definition.paused === "skip" ? pausedGate : null
  const admit = admitterOf(definition)
  if (admit === null && skip === null) return { kind: "run.add", run: { ...run, limits: fixedLimits(definition) ?? [] } }
  const value = { name: event.name, data: JSON.parse(event.data) as unknown, id: event.key ?? event.id, ts: event.ts }
  const admitted = skip === null && admit !== null ? admit(value, event.data.length) : { limits: [], gates: [skip ?? pausedGate], ahead: 0 }
  const gates = alone ? admitted.gates.filter(({ kind }) => kind !== "batch") : admitted.gates
  return {
    kind: "run.add",
    run: {
      ...run,
      limits: alone ? admitted.limits.filter(({ hold }) => hold !== "batch") : admitted.limits,
      ...(gates.length === 0 ? {} : { gates }),
      ...(admitted.ahead === 0 ? {} : { rank: dueAt - admitted.ahead }),
    },
  }
}

const pausedGate: Gate = { kind: "refuse", state: "skipped", reason: "its function is paused, and new runs are skipped meanwhile" }

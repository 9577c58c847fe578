import { startChanges } from "./admit.ts"
import type { Change, NewEvent } from "./change.ts"
import { functionCancelledEvent, functionCompletedEvent, functionFailedEvent, functionInvokedEvent, systemEventPrefix } from "./event.ts"
import type { Failure } from "./failure.ts"
import { encodeJson } from "./json.ts"
import { limits } from "./limits.ts"
import type { Matcher } from "./match.ts"
import type { ClaimedRun } from "./run.ts"
import { runTopic } from "./wait.ts"

/** How a run ended. `output` is JSON text. */
export type End =
  | { readonly state: "completed"; readonly output: string }
  | { readonly state: "failed"; readonly failure: Failure }
  | { readonly state: "cancelled"; readonly reason: string }

const names = { completed: functionCompletedEvent, failed: functionFailedEvent, cancelled: functionCancelledEvent } as const

/** What follows from the end of a run: whoever invoked it goes on, and functions that hear of it start. Pure; nothing when nobody asks. */
export function endChanges(
  run: Pick<ClaimedRun, "id" | "functionId" | "event" | "trace">,
  end: End,
  match: Matcher,
  newId: (kind: "evt" | "run") => string,
  now: number,
): Change[] {
  const changes: Change[] = []
  if (run.event.name === functionInvokedEvent) changes.push(giveResult(run.id, end))
  // The end of a run that was about another one's end is not told: it would go on for ever.
  if (run.event.name.startsWith(systemEventPrefix) && run.event.name !== functionInvokedEvent && isEnd(run.event.name)) return changes
  const name = names[end.state]
  const body = (): Record<string, unknown> => describe(run, end)
  const functions = match(name, () => ({ name, data: body(), id: run.id, ts: now }))
  if (functions.length === 0) return changes
  const event: NewEvent = {
    id: newId("evt"),
    key: null,
    name,
    data: fit(body()),
    ts: now,
    receivedAt: now,
    fanoutId: null,
    sourceRunId: run.id,
    trace: run.trace ?? null,
  }
  changes.push({ kind: "event.add", event })
  for (const definition of functions) {
    const id = newId("run")
    const start = startChanges(definition, event, id, now)
    if (definition.compensates === undefined) changes.push(...start)
    // It begins with all that the cancelled run has done.
    else changes.push(...start.map(withSteps), { kind: "step.copy", runId: id, from: run.id, before: null })
  }
  return changes
}

function withSteps(change: Change): Change {
  return change.kind === "run.add" ? { ...change, run: { ...change.run, fence: 1 } } : change
}

function isEnd(name: string): boolean {
  return name === functionCompletedEvent || name === functionFailedEvent || name === functionCancelledEvent
}

/** The error that a run's cancellation is to those who wait for it. */
export function cancelledFailure(reason: string): Failure {
  return { name: "RunCancelled", message: `the run was cancelled: ${reason}` }
}

function giveResult(runId: string, end: End): Change {
  const failure = end.state === "cancelled" ? cancelledFailure(end.reason) : end.state === "failed" ? end.failure : null
  return {
    kind: "wait.offer",
    eventId: null,
    offer: {
      topic: runTopic(runId),
      keys: [""],
      event: null,
      runId: null,
      outcome:
        end.state === "completed" ? { state: "completed", output: end.output } : { state: "failed", failure: JSON.stringify(failure) },
    },
  }
}

function describe(run: Pick<ClaimedRun, "id" | "functionId" | "event">, end: End): Record<string, unknown> {
  const { id, name, ts, data } = run.event
  const about = { functionId: run.functionId, runId: run.id, event: { id, name, ts, data: JSON.parse(data) as unknown } }
  switch (end.state) {
    case "completed":
      return { ...about, result: JSON.parse(end.output) as unknown }
    case "failed":
      return { ...about, error: end.failure }
    case "cancelled":
      return { ...about, error: cancelledFailure(end.reason), reason: end.reason }
    default:
      return end satisfies never
  }
}

/** What is too large as a whole goes without its largest part. */
function fit(data: Record<string, unknown>): string {
  try {
    return encodeJson(data, { field: "data", bytes: limits.endEventBytes })
  } catch {
    return JSON.stringify({ functionId: data["functionId"], runId: data["runId"], error: data["error"] ?? null, tooLarge: true })
  }
}

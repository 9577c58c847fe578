import type { UnitResult } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"

/** What to tell whoever sent what the store refused. */
export function refusal(result: Exclude<UnitResult, { kind: "applied" }>): FanfareError {
  if (result.kind === "closed") {
    return new FanfareError("fanout_closed", "the fan-out was cancelled while it was being sent", {
      hint: "What was sent before is cancelled with it; the rest was not sent.",
    })
  }
  if (result.kind !== "conflict") return new FanfareError("internal", `the store refused the events: ${result.kind}`)
  return new FanfareError(
    "event_conflict",
    `an event with the id "${result.eventKey}" was sent within the last 24 h with another name or data`,
    {
      field: "id",
      hint: "Ids make a send idempotent: the same id must stand for the same event. Nothing of this send was written.",
    },
  )
}

export function closedFor(key: string): FanfareError {
  return new FanfareError("fanout_closed", `another process sends the fan-out "${key}" at the same time`, {
    field: "id",
    hint: "Let one go on; the same id goes on where it stopped.",
  })
}

/** A signal is for one run. */
export function signalTaken(signal: string, runId: string): FanfareError {
  return new FanfareError("signal_taken", `the run ${runId} waits for the signal "${signal}" already`, {
    field: "signal",
    hint: 'A signal is for one run: use another name, or onConflict: "replace" to take its place.',
  })
}

/** Sends without a name are told apart by their order. */
export function orderChanged(before: string, now: string): FanfareError {
  return new FanfareError("order_changed", `an earlier attempt of this run ${before}; this one ${now}`, {
    field: "send",
    hint: "Sends of a run are told apart by their order. Where order or number may change, name them: step.sendEvent(id, events).",
  })
}

import type { HostedFunction, ReceivedEvent } from "../core/app.ts"
import type { Attempt } from "../core/attempt.ts"
import { StepError } from "../core/errors.ts"
import { toFailure } from "../core/failure.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import type { RunEvent } from "../core/run.ts"
import { withScope } from "./context.ts"
import type { Logger } from "./function.ts"
import { Replay } from "./replay.ts"
import { retryWish } from "./retry-wish.ts"

/** Runs a handler once, with what earlier attempts finished, until it ends or cannot go on now. Never rejects. */
export async function runAttempt(hosted: HostedFunction, attempt: Attempt): Promise<Outcome> {
  const { run, recorder } = attempt
  let event: ReceivedEvent
  let events: ReceivedEvent[]
  try {
    const received = receive(hosted, run.event)
    event = received instanceof Promise ? await received : received
    events = [event]
    for (const each of run.events?.slice(1) ?? []) events.push(await receive(hosted, each))
  } catch (thrown) {
    return { kind: "failed", failure: toFailure(thrown), retry: "never" }
  }
  const replay = new Replay(attempt)
  const context = {
    event,
    events,
    step: replay.step,
    logger: createLogger(attempt),
    attempt: run.attempt - 1,
    runId: run.id,
    signal: attempt.signal,
    ...(run.fanoutId === null ? {} : { fanout: { id: run.fanoutId } }),
  }
  const ended = call(hosted, context, replay.scope).then(
    (value) => completed(value),
    (thrown: unknown): Outcome => failedBy(thrown, recorder.now()),
  )
  const outcome = await Promise.race([ended, replay.parked])
  replay.end()
  return outcome
}

function receive(hosted: HostedFunction, { id, name, ts, data }: RunEvent): Promise<ReceivedEvent> | ReceivedEvent {
  return hosted.receive({ id, name, ts, data: JSON.parse(data) })
}

async function call(hosted: HostedFunction, context: object, scope: Parameters<typeof withScope>[0]): Promise<unknown> {
  return withScope(scope, () => hosted.handler(context as never))
}

function completed(value: unknown): Outcome {
  try {
    return { kind: "completed", output: encodeJson(value, { field: "the handler's result", bytes: limits.outputBytes }) }
  } catch (thrown) {
    return { kind: "failed", failure: toFailure(thrown), retry: "never" }
  }
}

/** What a thrown value means for its run. A step that failed for good, and Fanfare's own refusals, fail again in the same way. */
function failedBy(thrown: unknown, now: number): Outcome {
  return { kind: "failed", failure: toFailure(thrown), retry: thrown instanceof StepError ? "never" : retryWish(thrown, now) }
}

function createLogger({ recorder }: Attempt): Logger {
  return {
    debug: (message, fields) => recorder.log("debug", message, fields),
    info: (message, fields) => recorder.log("info", message, fields),
    warn: (message, fields) => recorder.log("warn", message, fields),
    error: (message, fields) => recorder.log("error", message, fields),
  }
}

import type { HostedFunction, ReceivedEvent } from "../core/app.ts"
import type { Attempt } from "../core/attempt.ts"
import { FanfareError, StepError } from "../core/errors.ts"
import { toFailure } from "../core/failure.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Chain, Logger } from "../core/middleware.ts"
import type { Outcome } from "../core/outcome.ts"
import type { RunEvent } from "../core/run.ts"
import { withScope } from "./context.ts"
import { Replay } from "./replay.ts"
import { retryWish } from "./retry-wish.ts"

/** Runs a handler once, with what earlier attempts finished, until it ends or cannot go on now. Never rejects. */
export async function runAttempt(hosted: HostedFunction, attempt: Attempt): Promise<Outcome> {
  const { run, recorder } = attempt
  const chain = hosted.chain ?? null
  const logger = createLogger(attempt)
  const { appId } = hosted.definition
  const info = chain === null ? null : { appId, functionId: run.functionId, runId: run.id, attempt: run.attempt - 1, logger }
  let event: ReceivedEvent
  let events: ReceivedEvent[]
  let added: object = {}
  try {
    const cause = hosted.compensates === true ? cancelledCause(run.event) : run.event
    const received = receive(hosted, cause)
    event = received instanceof Promise ? await received : received
    events = [event]
    for (const each of run.events?.slice(1) ?? []) events.push(await receive(hosted, each))
  } catch (thrown) {
    return { kind: "failed", failure: toFailure(thrown), retry: "never" }
  }
  try {
    if (chain !== null && chain.context !== null && info !== null) added = await chain.context(info)
  } catch (thrown) {
    return failedBy(thrown, recorder.now())
  }
  const replay = new Replay(attempt, { chain, info, frozen: hosted.compensates === true })
  const context = {
    event,
    events,
    step: replay.step,
    logger,
    attempt: run.attempt - 1,
    runId: run.id,
    signal: attempt.signal,
    ...(run.fanoutId === null ? {} : { fanout: { id: run.fanoutId } }),
    ...added,
  }
  const handle = (): Promise<unknown> => call(hosted, context, replay.scope)
  const around = chain?.run ?? null
  const whole = around === null || info === null ? handle() : withScope(replay.scope, () => around(info, handle))
  const ended = whole.then(
    (value) => completed(value, chain),
    (thrown: unknown): Outcome =>
      // All that was to be undone is.
      thrown instanceof FanfareError && thrown.code === "cancelled" ? withOutput(null) : failedBy(thrown, recorder.now()),
  )
  const outcome = await Promise.race([ended, replay.parked])
  if (run.fence > 1 && hosted.compensates !== true && outcome.kind !== "parked") replay.compare()
  replay.end()
  return outcome
}

async function decoded({ chain }: HostedFunction, kept: unknown): Promise<unknown> {
  return chain?.decode == null ? kept : chain.decode(kept)
}

function receive(hosted: HostedFunction, { id, name, ts, data }: RunEvent): Promise<ReceivedEvent> | ReceivedEvent {
  const kept: unknown = JSON.parse(data)
  if (hosted.chain?.decode == null) return hosted.receive({ id, name, ts, data: kept })
  return decoded(hosted, kept).then((value) => hosted.receive({ id, name, ts, data: value }))
}

/** The event of the run that was cancelled. */
function cancelledCause({ data }: RunEvent): RunEvent {
  const { event } = JSON.parse(data) as { event: Omit<RunEvent, "data"> & { data: unknown } }
  return { ...event, data: JSON.stringify(event.data) }
}

async function call(hosted: HostedFunction, context: object, scope: Parameters<typeof withScope>[0]): Promise<unknown> {
  return withScope(scope, () => hosted.handler(context as never))
}

function completed(value: unknown, chain: Chain | null): Outcome | Promise<Outcome> {
  const encode = chain?.encode ?? null
  return encode === null ? withOutput(value) : encode(value, "output").then(withOutput, (thrown: unknown) => unfit(thrown))
}

function withOutput(value: unknown): Outcome {
  try {
    return { kind: "completed", output: encodeJson(value, { field: "the handler's result", bytes: limits.outputBytes }) }
  } catch (thrown) {
    return unfit(thrown)
  }
}

function unfit(thrown: unknown): Outcome {
  return { kind: "failed", failure: toFailure(thrown), retry: "never" }
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

import type { Attempt, SendResult, StepReport } from "../core/attempt.ts"
import { type Duration, durationMs } from "../core/duration.ts"
import { FanfareError, StepError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import { toFailure } from "../core/failure.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import { createStepKeys, type StepRecord } from "../core/step.ts"
import { currentScope, type RunScope, withScope } from "./context.ts"
import { retryWish } from "./retry-wish.ts"
import type { StepId, StepTools } from "./step.ts"

/** The step side of one attempt. */
export interface Replay {
  readonly step: StepTools
  readonly scope: RunScope
  /** Resolves when every step that the handler waits for is parked: a sleep, or a step to be tried again later. */
  readonly parked: Promise<Outcome>
  /** The attempt is over: steps that its code still asks for never begin. */
  end(): void
}

/** Ids with this first character are ours. */
const reserved = "$"

export function createReplay(attempt: Attempt): Replay {
  const { recorder, steps, run } = attempt
  const nextKey = createStepKeys()
  const waits: { readonly dueAt: number; readonly for: "sleep" | "retry" }[] = []
  let executing = 0
  let stepCount = 0
  let ended = false
  let park: (outcome: Outcome) => void
  const parked = new Promise<Outcome>((resolve) => {
    park = resolve
  })

  /** A step's code and its record are on the way; the attempt may only park when none is. */
  async function execute<T>(work: () => Promise<T>): Promise<T> {
    executing++
    try {
      return await work()
    } finally {
      executing--
      if (waits.length > 0) void parkWhenIdle()
    }
  }

  async function parkWhenIdle(): Promise<void> {
    // A turn, so that steps which begin side by side with the parked one are under way before anyone counts.
    await recorder.turn()
    if (executing > 0 || ended) return
    const first = waits.reduce((a, b) => (b.dueAt < a.dueAt ? b : a))
    park({ kind: "parked", dueAt: first.dueAt, for: first.for })
  }

  /** What a kept record means to the handler that asks for it. */
  function resolveRecord<T>(record: StepRecord): T | Promise<T> {
    switch (record.state) {
      case "completed":
        return JSON.parse(record.output ?? "null") as T
      case "failed":
        throw new StepError(record.key, record.failure ?? { name: "Error", message: "unknown" })
      case "waiting":
        if (record.dueAt !== null && record.dueAt <= recorder.now()) return JSON.parse("null") as T
        return parkOn(record.dueAt ?? 0, "sleep")
      case "retrying":
        return parkOn(record.dueAt ?? 0, "retry")
      default:
        return record.state satisfies never
    }
  }

  function parkOn<T>(dueAt: number, reason: "sleep" | "retry"): Promise<T> {
    waits.push({ dueAt, for: reason })
    void parkWhenIdle()
    return new Promise<T>(() => {})
  }

  function begin(id: StepId, call: string): string {
    const name = typeof id === "string" ? id : id?.id
    if (typeof name !== "string" || name === "" || name.length > limits.stepIdChars || name.startsWith(reserved)) {
      throw new FanfareError("invalid_step", `${call}: ${JSON.stringify(name)} is not a step id`, {
        field: `${call} id`,
        bound: limits.stepIdChars,
        hint: `Use 1 to ${limits.stepIdChars} characters that do not start with "${reserved}".`,
      })
    }
    const inside = currentScope()?.stepKey
    if (inside !== undefined && inside !== null && currentScope()?.runId === run.id) {
      throw new FanfareError("invalid_step", `${call}("${name}") is called inside the step "${inside}"`, {
        field: `${call} id`,
        hint: "Steps cannot be nested: call it after that step, in the handler itself.",
      })
    }
    return count(nextKey(name))
  }

  function count(key: string): string {
    if (++stepCount > limits.stepsPerRun) {
      throw new FanfareError("too_many", `the run has more than ${limits.stepsPerRun} steps`, { field: "step", bound: limits.stepsPerRun })
    }
    return key
  }

  async function runStep<T>(key: string, work: () => T | Promise<T>): Promise<T> {
    const known = steps.get(key)
    if (known !== undefined && !(known.state === "retrying" && (known.dueAt ?? 0) <= recorder.now())) return resolveRecord<T>(known)
    const record = await execute(async () => recorder.report(await perform(key, work)))
    return resolveRecord<T>(record)
  }

  async function perform(key: string, work: () => unknown): Promise<StepReport> {
    const startedAt = recorder.now()
    const sendKey = createStepKeys()
    const scope: RunScope = {
      runId: run.id,
      stepKey: key,
      send: (events) => durableSend(sendKey(`${key}/${reserved}send`), events),
    }
    try {
      const value = await withScope(scope, work)
      const output = encodeJson(value, { field: `the result of step "${key}"`, bytes: limits.outputBytes })
      return { kind: "run", key, startedAt, output }
    } catch (thrown) {
      return { kind: "run", key, startedAt, failure: toFailure(thrown), retry: retryWish(thrown, recorder.now()) }
    }
  }

  async function sleepUntil(key: string, until: number): Promise<void> {
    const record = steps.get(key) ?? (await recorder.report({ kind: "sleep", key, until }))
    await resolveRecord<null>(record)
  }

  function durableSend(key: string, events: readonly EventInput[]): Promise<SendResult> {
    return ended ? new Promise(() => {}) : execute(() => recorder.send(key, events))
  }

  /** After the end of its attempt, code that still runs gets promises that never settle. */
  function alive<A extends readonly unknown[], T>(work: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
    return (...args) => (ended ? new Promise<T>(() => {}) : work(...args))
  }

  const step: StepTools = {
    run: alive(async (id, work) => runStep(begin(id, "step.run"), work)) as StepTools["run"],
    sleep: alive(async (id, duration) => sleepUntil(begin(id, "step.sleep"), recorder.now() + sleepMs(duration))),
    sleepUntil: alive(async (id, moment) => sleepUntil(begin(id, "step.sleepUntil"), sleepMoment(moment, recorder.now()))),
    sendEvent: alive(async (id, events) =>
      durableSend(begin(id, "step.sendEvent"), (Array.isArray(events) ? events : [events]) as readonly EventInput[]),
    ),
  }
  const scope: RunScope = {
    runId: run.id,
    stepKey: null,
    send: async (events) => durableSend(count(nextKey(`${reserved}send`)), events),
  }
  return {
    step,
    scope,
    parked,
    end() {
      ended = true
    },
  }
}

function sleepMs(duration: Duration): number {
  const ms = durationMs(duration, "step.sleep duration")
  if (ms <= limits.sleepMaxMs) return ms
  throw new FanfareError("invalid_step", `step.sleep: ${String(duration)} is longer than 366 days`, { field: "duration", bound: limits.sleepMaxMs })
}

function sleepMoment(moment: Date | string | number, now: number): number {
  const at = typeof moment === "number" ? moment : new Date(moment).getTime()
  if (!Number.isFinite(at)) {
    throw new FanfareError("invalid_step", `step.sleepUntil: ${String(moment)} is not a moment`, {
      field: "moment",
      hint: "Use a Date, an ISO 8601 text or milliseconds since 1970.",
    })
  }
  if (at - now > limits.sleepMaxMs) {
    throw new FanfareError("invalid_step", "step.sleepUntil: the moment is more than 366 days ahead", { field: "moment", bound: limits.sleepMaxMs })
  }
  return at
}

import type { Attempt, Recorder, SendResult, SendWay, SignalResult, StepReport } from "../core/attempt.ts"
import { durationMs } from "../core/duration.ts"
import { FanfareError, StepError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import { toFailure } from "../core/failure.ts"
import { encodeJson } from "../core/json.ts"
import type { FanOutRules } from "../core/gate.ts"
import { type JoinResult, joinsOf, needOf } from "../core/join.ts"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import { type Chain, encodeEvents, type RunInfo } from "../core/middleware.ts"
import { compareSteps, createStepKeys, type StepRecord } from "../core/step.ts"
import { checkDemand, checkSignal } from "../core/wait.ts"
import { request } from "./fetch.ts"
import { currentScope, type RunScope, withScope } from "./context.ts"
import { retryWish } from "./retry-wish.ts"
import { pullOf } from "./source.ts"
import { type FanOutArguments, type FanOutCall, fanOutOf, nothingJoined } from "./fan-out.ts"
import { type Undoing, undoing } from "./saga.ts"
import { notNow, quiet, sleepMoment, sleepMs, timedOut, tooMuchState, waitMs } from "./step-bounds.ts"
import { invokedId } from "./invoke.ts"
import type { FetchInit, InvokeOptions, StepId, StepTools, WaitForEventOptions, WaitForSignalOptions } from "./step.ts"

const fetchTimeoutMs = 5 * 60 * 1_000

type Parked = Extract<Outcome, { kind: "parked" }>

/** What stands around the steps of an attempt. */
interface Around {
  readonly chain: Chain | null
  readonly info: RunInfo | null
  readonly frozen: boolean
}

/** Step ids with this first character are ours. */
const reserved = "$"

/**
 * The step side of one attempt: gives a handler the kept results of the steps it finished before, does the next ones, and notices
 * when it cannot go on now.
 */
export class Replay {
  readonly step: StepTools & Undoing
  readonly scope: RunScope
  /** Resolves when every step that the handler waits for is parked: a sleep, or a step to be tried again later. */
  readonly parked: Promise<Outcome>
  readonly #runId: string
  readonly #claimedAt: number
  readonly #recorder: Recorder
  readonly #steps: ReadonlyMap<string, StepRecord>
  readonly #nextKey = createStepKeys()
  readonly #waits: Parked[] = []
  readonly #chain: Chain | null
  readonly #info: RunInfo | null
  /** Nothing new may begin: what was done is undone. */
  readonly #frozen: boolean
  /** Keys that this attempt asked for, in order. */
  readonly #asked: string[] = []
  /** Ids of steps that are under way. */
  readonly #open = new Set<string>()
  /** Waits that are about to begin: what is asked for after them happens after them. */
  #registering: Promise<unknown> | null = null
  readonly #kindless: boolean
  #stateChars = 0
  #park: (outcome: Outcome) => void = () => undefined
  #executing = 0
  #count = 0
  #ended = false

  constructor({ run, recorder, steps, kindless = false }: Attempt, around: Around) {
    this.#kindless = kindless
    this.#chain = around.chain
    this.#info = around.info
    this.#frozen = around.frozen
    for (const { output } of steps.values()) this.#stateChars += output?.length ?? 0
    this.#runId = run.id
    this.#claimedAt = run.claimedAt
    this.#recorder = recorder
    this.#steps = steps
    this.parked = new Promise((resolve) => {
      this.#park = resolve
    })
    this.scope = {
      runId: run.id,
      stepKey: null,
      send: async (events, rules) => this.#send(this.#counted(this.#nextKey(`${reserved}send`)), events, { rules }),
    }
    this.step = {
      run: (async (id: StepId, work: () => unknown) => this.#run(this.#begin(id, "step.run"), id, work)) as StepTools["run"],
      sleep: async (id, duration) => this.#sleep(this.#begin(id, "step.sleep"), recorder.now() + sleepMs(duration)),
      sleepUntil: async (id, moment) => this.#sleep(this.#begin(id, "step.sleepUntil"), sleepMoment(moment, recorder.now())),
      sendEvent: async (id, events, rules = {}) =>
        this.#send(this.#begin(id, "step.sendEvent"), (Array.isArray(events) ? events : [events]) as readonly EventInput[], { rules }),
      fanOut: (async (id: StepId, ...given: FanOutArguments) =>
        this.#fanOut(this.#begin(id, "step.fanOut"), fanOutOf(given))) as StepTools["fanOut"],
      waitForEvent: ((id: StepId, options: WaitForEventOptions) =>
        quiet(async () => this.#waitForEvent(this.#begin(id, "step.waitForEvent"), options))) as StepTools["waitForEvent"],
      waitForSignal: ((id: StepId, options: WaitForSignalOptions) =>
        quiet(async () => this.#waitForSignal(this.#begin(id, "step.waitForSignal"), options))) as StepTools["waitForSignal"],
      sendSignal: (async (id: StepId, { signal, data }: { signal: string; data?: unknown }) =>
        this.#run(this.#begin(id, "step.sendSignal"), id, () => this.#signal(signal, data))) as StepTools["sendSignal"],
      invoke: ((id: StepId, options: InvokeOptions<unknown>) =>
        quiet(async () => this.#invoke(this.#begin(id, "step.invoke"), options))) as StepTools["invoke"],
      fetch: (async (id: StepId, url: string | URL, init: FetchInit = {}) => {
        const timeout = init.timeout ?? fetchTimeoutMs
        const timed = typeof id === "string" ? { id, timeout } : { timeout, ...id }
        return this.#run(this.#begin(id, "step.fetch"), timed, () => request(url, init, recorder.now(), run.trace ?? null))
      }) as StepTools["fetch"],
      [undoing]: (id: string, work: () => unknown) => this.#undo(id, work),
    }
  }

  async #signal(signal: string, data: unknown): Promise<SignalResult> {
    const encode = this.#chain?.encode ?? null
    return this.#recorder.sendSignal(signal, encode === null ? data : await encode(data, "step"))
  }

  /** Steps of a saga that undo others. */
  #undo(id: string, work: () => unknown): Promise<unknown> {
    const key = this.#nextKey(id)
    this.#asked.push(key)
    return this.#run(key, id, work)
  }

  /** The attempt is over: steps that its code still asks for never begin, and never settle. */
  end(): void {
    this.#ended = true
  }

  #begin(id: StepId, call: string): string {
    const name: unknown = typeof id === "object" ? id?.id : id
    if (typeof name !== "string" || name === "" || name.length > limits.stepIdChars || name.startsWith(reserved)) {
      throw new FanfareError("invalid_step", `${call}: ${JSON.stringify(name) ?? String(name)} is not a step id`, {
        field: `${call} id`,
        bound: limits.stepIdChars,
        hint: `Use 1 to ${limits.stepIdChars} characters that do not start with "${reserved}".`,
      })
    }
    const scope = currentScope()
    if (scope !== null && scope.runId === this.#runId && scope.stepKey !== null) {
      throw new FanfareError("invalid_step", `${call}("${name}") is called inside the step "${scope.stepKey}"`, {
        field: `${call} id`,
        hint: "Steps cannot be nested: call it after that step, in the handler itself.",
      })
    }
    const key = this.#counted(this.#nextKey(name))
    this.#asked.push(key)
    if (this.#open.has(name) && !this.#steps.has(key)) {
      this.#recorder.log("warn", `two steps with the id "${name}" are under way at once: they are told apart by their order`, {
        hint: "Give each its own id; when their order changes, they would get each other's results.",
      })
    }
    return key
  }

  #counted(key: string): string {
    if (this.#frozen && !this.#steps.has(key)) throw new FanfareError("cancelled", "the run was cancelled before this step")
    if (++this.#count <= limits.stepsPerRun) return key
    throw new FanfareError("too_many", `the run has more than ${limits.stepsPerRun} steps`, { field: "step", bound: limits.stepsPerRun })
  }

  /** What is kept of a step. Its id decides which step it is, so another kind of step under the same id is other code. */
  #known(key: string, kind: StepRecord["kind"], call: string): StepRecord | undefined {
    const known = this.#steps.get(key)
    if (known === undefined || known.kind === kind || this.#kindless) return known
    throw new FanfareError(
      "order_changed",
      `the step "${key}" was kept as a ${known.kind} by an earlier attempt of this run; this one asks for ${call}`,
      {
        field: `${call} id`,
        hint: "Give a step that does something else another id: runs that began with the old code then do it anew.",
      },
    )
  }

  async #run(key: string, id: StepId, work: () => unknown): Promise<unknown> {
    const known = this.#known(key, "run", "step.run")
    const again = known?.state === "retrying" && this.#isDue(known)
    if (known === undefined && this.#recorder.pulling === true) return this.#resume(notNow(key, this.#recorder.now()))
    if (known !== undefined && !again) return this.#resume(known)
    const name = typeof id === "string" ? id : id.id
    const timeoutMs = typeof id === "string" || id.timeout === undefined ? null : durationMs(id.timeout, "step.run timeout")
    this.#open.add(name)
    const record = await this.#execute(async () => this.#recorder.report(await this.#perform(key, timeoutMs, work)))
    this.#open.delete(name)
    return this.#resume(record)
  }

  async #perform(key: string, timeoutMs: number | null, work: () => unknown): Promise<StepReport> {
    const startedAt = this.#recorder.now()
    const sendKey = createStepKeys()
    const scope: RunScope = {
      runId: this.#runId,
      stepKey: key,
      send: (events, rules) => this.#send(sendKey(`${key}/${reserved}send`), events, { rules }),
    }
    try {
      const around = this.#chain?.step ?? null
      const info = this.#info
      const inner = async (): Promise<unknown> => withScope(scope, work)
      const whole = around === null || info === null ? inner : () => around({ ...info, stepId: key }, inner)
      const timed = timeoutMs === null ? whole : () => this.#within(key, timeoutMs, whole)
      const value = await (this.#recorder.around === undefined ? timed() : this.#recorder.around(key, timed))
      const encode = this.#chain?.encode ?? null
      const kept = encode === null ? value : await encode(value, "step")
      const output = encodeJson(kept, { field: `the result of step "${key}"`, bytes: limits.outputBytes })
      this.#stateChars += output.length
      if (this.#stateChars > limits.stateBytes) throw tooMuchState()
      return { kind: "run", key, startedAt, output }
    } catch (thrown) {
      return { kind: "run", key, startedAt, failure: toFailure(thrown), retry: retryWish(thrown, this.#recorder.now()) }
    }
  }

  /** The code of a step that takes too long is not stopped, but what it gives is not waited for. */
  async #within(key: string, ms: number, work: () => Promise<unknown>): Promise<unknown> {
    const [rung, cancel] = this.#recorder.after(ms)
    try {
      return await Promise.race([
        work(),
        rung.then(() => {
          throw timedOut(key, ms)
        }),
      ])
    } finally {
      cancel()
    }
  }

  async #waitForEvent(key: string, options: WaitForEventOptions): Promise<unknown> {
    const { event, match, if: condition, timeout, lookBack } = options ?? {}
    const given = { event, ...(match === undefined ? {} : { match }), ...(condition === undefined ? {} : { if: condition }) }
    const demand = checkDemand(given, "step.waitForEvent", "invalid_step")
    const timeoutMs = waitMs(timeout, "step.waitForEvent")
    return this.#wait(key, "event", "step.waitForEvent", () => {
      const now = this.#recorder.now()
      const since = lookBack === undefined ? null : now - waitMs(lookBack, "step.waitForEvent lookBack")
      return { kind: "event", key, demand, timeoutAt: now + timeoutMs, since }
    })
  }

  async #waitForSignal(key: string, { signal, timeout, onConflict = "fail" }: WaitForSignalOptions): Promise<unknown> {
    checkSignal(signal)
    const timeoutMs = waitMs(timeout, "step.waitForSignal")
    return this.#wait(key, "signal", "step.waitForSignal", () => ({
      kind: "signal",
      key,
      signal,
      timeoutAt: this.#recorder.now() + timeoutMs,
      replace: onConflict === "replace",
    }))
  }

  async #invoke(key: string, { function: target, data, timeout }: InvokeOptions<unknown>): Promise<unknown> {
    const functionId = invokedId(target)
    const timeoutMs = timeout === undefined ? limits.sleepMaxMs : waitMs(timeout, "step.invoke")
    const [event] = await encodeEvents(this.#chain, [{ name: "", data }])
    const text = encodeJson(event?.data ?? {}, { field: "step.invoke data", bytes: limits.eventBytes })
    return this.#wait(key, "invoke", "step.invoke", () => ({
      kind: "invoke",
      key,
      functionId,
      data: text,
      timeoutAt: this.#recorder.now() + timeoutMs,
    }))
  }

  async #wait(key: string, kind: StepRecord["kind"], call: string, report: () => StepReport): Promise<unknown> {
    const known = this.#known(key, kind, call)
    if (known !== undefined) return this.#resume(known)
    const before = this.#registering
    const begun = this.#execute(async () => {
      await before
      return this.#recorder.report(report())
    }, false)
    const registering = begun
      .catch(() => undefined)
      .then(() => {
        if (this.#registering === registering) this.#registering = null
      })
    this.#registering = registering
    return this.#resume(await begun)
  }

  async #sleep(key: string, until: number): Promise<void> {
    if (this.#ended) return new Promise(() => {})
    await this.#resume(this.#known(key, "sleep", "step.sleep") ?? (await this.#recorder.report({ kind: "sleep", key, until })))
  }

  #send(key: string, events: readonly EventInput[], way: Omit<SendWay, "joined">): Promise<SendResult> {
    const send = async (changed: readonly EventInput[]): Promise<SendResult> =>
      this.#recorder.send(key, await encodeEvents(this.#chain, changed), way)
    const around = this.#chain?.send ?? null
    return this.#execute(() => (around === null ? send(events) : around(events, send)))
  }

  async #fanOut(key: string, { functionId, source, toEvent, options }: FanOutCall): Promise<JoinResult> {
    const known = this.#known(key, "join", "step.fanOut")
    if (known?.state === "completed") return this.#resume(known) as JoinResult
    const { until = "all", timeout, outputs = false, canary, breaker, spread, rate } = options
    const rules = Object.fromEntries(
      Object.entries({ canary, breaker, spread, rate }).filter(([, rule]) => rule !== undefined),
    ) as FanOutRules
    needOf(until, 0)
    const timeoutMs = timeout === undefined ? null : sleepMs(timeout)
    const sendKey = `${key}/${reserved}send`
    const way = { rules, fanned: true, ...(functionId === null ? {} : { functionId }) }
    if (this.#recorder.fanOut !== undefined && !(Array.isArray(source) && source.length === 0)) {
      const timeoutAt = timeoutMs === null ? null : this.#recorder.now() + timeoutMs
      const wish = { key, ...way, until, timeoutAt, outputs, total: Array.isArray(source) ? source.length : null }
      return this.#resume(
        await this.#execute(async () => this.#recorder.fanOut?.(wish, pullOf(source, toEvent)) ?? notNow(key, this.#recorder.now())),
      ) as JoinResult
    }
    const fanoutId = Array.isArray(source)
      ? (await this.#send(sendKey, source.map(toEvent), way)).fanoutId
      : await this.#execute(() => this.#recorder.sendSource(sendKey, way, pullOf(source, toEvent)))
    if (fanoutId === null) return { ...nothingJoined, ...(outputs ? { outputs: [] } : {}) }
    const timeoutAt = timeoutMs === null ? null : this.#recorder.now() + timeoutMs
    return this.#resume(
      await this.#execute(() => this.#recorder.report({ kind: "join", key, fanoutId, until, timeoutAt, outputs })),
    ) as JoinResult
  }

  /** What a kept record means to the handler that asks for it. */
  #resume(record: StepRecord): unknown {
    switch (record.state) {
      case "completed":
        return this.#chain?.decode == null ? JSON.parse(record.output ?? "null") : this.#chain.decode(JSON.parse(record.output ?? "null"))
      case "failed":
        throw new StepError(record.key, record.failure ?? { name: "Error", message: "unknown" })
      case "waiting":
      case "retrying": {
        const dueAt = record.dueAt ?? 0
        if (record.kind === "sleep" && this.#isDue(record)) return null
        this.#waits.push({
          kind: "parked",
          dueAt,
          for: record.state === "waiting" ? "wait" : "retry",
          joins: joinsOf(record),
          awaits: awaitsOf(record),
        })
        void this.#parkWhenIdle()
        return new Promise(() => {})
      }
      default:
        return record.state satisfies never
    }
  }

  #isDue({ dueAt }: StepRecord): boolean {
    return (dueAt ?? 0) <= Math.max(this.#recorder.now(), this.#claimedAt)
  }

  /** While a step's code and its record are on the way, the attempt may not park. */
  async #execute<T>(work: () => Promise<T>, afterWaits = true): Promise<T> {
    if (this.#ended || this.#recorder.closed) return new Promise(() => {})
    this.#executing++
    try {
      while (afterWaits && this.#registering !== null) await this.#registering
      return await work()
    } finally {
      this.#executing--
      if (this.#waits.length > 0) void this.#parkWhenIdle()
    }
  }

  async #parkWhenIdle(): Promise<void> {
    // A turn, so that steps which begin side by side with the parked one are under way before anyone counts.
    await this.#recorder.turn()
    if (this.#ended) return
    // What keeps the attempt going may take long: the waits that have begun must not.
    if (this.#executing > 0) return this.#recorder.register()
    const first = this.#waits.reduce((a, b) => (b.dueAt < a.dueAt ? b : a))
    const awaits = this.#waits.flatMap((wait) => wait.awaits ?? [])
    this.#park({ ...first, joins: this.#waits.flatMap(({ joins }) => joins), ...(awaits.length === 0 ? {} : { awaits }) })
  }

  /** The handler has ended: what earlier attempts did that this one did not ask for, or in another order, is other code. */
  compare(): void {
    const difference = compareSteps([...this.#steps.values()], this.#asked)
    if (difference === null) return
    this.#recorder.log("warn", "the steps of this run have changed since an earlier attempt", { ...difference })
  }
}

/** Steps that get what they wait for from outside. */
function awaitsOf({ kind, key }: StepRecord): string[] {
  return kind === "event" || kind === "signal" || kind === "invoke" ? [key] : []
}

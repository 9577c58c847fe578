import type { Attempt, StepReport } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import { type Failure, toFailure } from "../core/failure.ts"
import { joinsOf } from "../core/join.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import type { RetryWish } from "../core/retry.ts"
import type { StepRecord } from "../core/step.ts"
import { type Call, type CallTicket, memosOf, type SourceAsked } from "../protocol/call.ts"
import { opIdOf } from "../protocol/op-id.ts"
import { isObject, type Op } from "../protocol/ops.ts"
import type { Reply } from "../protocol/reply.ts"
import { Defers } from "./defers.ts"
import { GatewayError, isGateway } from "./gateway.ts"
import { fanOutWish, sendFanOut } from "./http-fanouts.ts"
import { completed, nothingToDo, tooManySteps, tooMuchState, unknownOp } from "./http-outcomes.ts"
import { isWait, sleepEnd, waitReport } from "./http-waits.ts"
import type { Gone } from "./workers.ts"

type Send = (call: Call, signal: AbortSignal) => Promise<Reply | Gone>
/** How an app is called. */
export interface Calling {
  readonly retries: number
  readonly send: Send
  /** Makes a request that the app asks for. */
  readonly ask: (op: Op, signal: AbortSignal) => Promise<unknown>
  /** Where the app may tell of steps during a call; null: it answers after each. */
  readonly ticket: CallTicket | null
  /** Whether what the app tells then may come to another node, which keeps it. */
  readonly shared: boolean
  /** The app says in what it sends which run it sends from. */
  readonly linked: boolean
}

type Ops = Extract<Reply, { kind: "ops" }>

/**
 * One attempt of a function that is called over HTTP. Each call replays the function with the steps that are kept so far and brings the
 * next one; it is called again until it has ended or has to wait. Steps side by side are called for one by one.
 */
export class HttpAttempt {
  readonly #attempt: Attempt
  readonly #calling: Calling
  readonly #steps: Map<string, StepRecord>
  /** Their names on the wire, each made once: a run of many steps is called many times. */
  readonly #ids = new Map<string, string>()
  /** Ends calls for steps when nobody waits for them any more. */
  readonly #abort = new AbortController()
  /** Steps that are called for now. */
  readonly #running = new Map<string, Promise<void>>()
  /** Steps that were planned in this attempt: in version 2 the function goes on when all of them have ended. */
  readonly #planned = new Set<string>()
  /** What the last reply to a call for whatever comes next told of: of other steps that wait, the function wants nothing any more. */
  #wanted: ReadonlySet<string> = new Set()
  #version = -1
  #racing = false
  /** A worker that had a step is gone. */
  #gone: Gone["outcome"] | null = null
  /** Steps that came to their end in this attempt. */
  #ended = 0
  /** Those of them that the app told of during a call: it knows them. */
  #checkpointed = 0
  /** Whatever was new in this attempt. */
  #news = 0

  readonly #defers: Defers
  #stateChars = 0

  constructor(attempt: Attempt, calling: Calling) {
    this.#attempt = attempt
    this.#calling = calling
    this.#defers = new Defers(attempt.steps.values(), attempt.recorder)
    this.#steps = new Map(attempt.steps)
    for (const { output } of attempt.steps.values()) this.#stateChars += output?.length ?? 0
  }

  /** Never rejects. */
  async outcome(): Promise<Outcome> {
    try {
      const outcome = await this.#goOn()
      if (outcome.kind === "completed" || (outcome.kind === "failed" && outcome.retry === "never"))
        await this.#defers.start(this.#attempt.run)
      return outcome
    } catch (thrown) {
      // A refusal of ours would be the same again.
      return { kind: "failed", failure: toFailure(thrown), retry: thrown instanceof FanfareError ? "never" : "policy" }
    } finally {
      // Of steps that nobody waits for any more the answers are not read.
      if (this.#running.size > 0) this.#abort.abort()
    }
  }

  async #goOn(): Promise<Outcome> {
    await this.#lookAtJoins()
    for (let idle = 0; idle < idleCalls; idle++) {
      const before = this.#unknownEnds
      const known = this.#news
      const startedAt = this.#now()
      const reply = await this.#call(null)
      if (reply.kind === "done") return completed(reply.output)
      if (reply.kind === "failed" || reply.kind === "gone") {
        // What runs beside it ends first, so that the next attempt finds it kept.
        await Promise.all(this.#running.values())
        return reply.kind === "gone" ? reply.outcome : { kind: "failed", failure: reply.failure, retry: reply.retry }
      }
      await this.#learnKept()
      const end = await this.#take(reply, startedAt)
      if (end !== null) return end
      if (this.#steps.size > limits.stepsPerRun) return tooManySteps
      if (this.#stateChars > limits.stateBytes) return tooMuchState
      while (this.#running.size > 0) {
        await Promise.race(this.#running.values())
        if (!this.#waitsForAll() && this.#gone === null) break
      }
      if (this.#gone !== null) return this.#gone
      if (this.#news > known) idle = -1
      if (this.#unknownEnds > before && !(this.#waitsForAll() && this.#isPlannedLater())) continue
      if (this.#running.size > 0) continue
      const parked = this.#park()
      if (parked !== null) return parked
    }
    return nothingToDo
  }

  /** Calls for a step, or for whatever comes next. */
  #call(stepId: string | null, attempt = this.#attemptNumber(), source?: SourceAsked): Promise<Reply | Gone> {
    const { run } = this.#attempt
    const { retries, send, ticket, linked } = this.#calling
    return send(
      {
        runId: run.id,
        attempt: Math.min(attempt, retries),
        maxAttempts: retries + 1,
        stepId,
        planOnly: stepId === null && (this.#running.size > 0 || this.#isSomeRetriedLater()),
        version: this.#version,
        events: run.events ?? [run.event],
        memos: memosOf(this.#steps.values(), this.#now(), (key) => this.#idOf(key)),
        byApi: false,
        ticket: stepId === null ? ticket : null,
        linked,
        defers: this.#defers.known,
        ...(source === undefined ? {} : { source }),
      },
      stepId === null ? this.#attempt.signal : AbortSignal.any([this.#attempt.signal, this.#abort.signal]),
    )
  }

  /** What the app sees as its attempt: the failures so far of the step that it is about to do again, or else of the run. */
  #attemptNumber(): number {
    const retried = [...this.#steps.values()].filter((step) => step.state === "retrying" && this.#isDue(step))
    if (retried.length > 0) return Math.max(...retried.map(({ attempts }) => attempts))
    return this.#ended > 0 ? 0 : this.#attempt.run.attempt - 1
  }

  /**
   * Steps that the app has ended while its call goes on. Resolves when they are durable; false: this attempt is over, or has too many.
   */
  async checkpoint(runId: string, fence: number, ops: readonly Op[]): Promise<boolean> {
    const { run, recorder, signal } = this.#attempt
    if (run.id !== runId || run.fence !== fence || recorder.closed || signal.aborted) return false
    if (this.#steps.size + ops.length > limits.stepsPerRun || this.#stateChars > limits.stateBytes) return false
    for (const op of ops) if (Defers.is(op.kind)) await this.#defers.keep(op)
    const startedAt = this.#now()
    const over = new Promise<false>((resolve) => signal.addEventListener("abort", () => resolve(false), { once: true }))
    const kept = Promise.all(
      ops
        .filter(({ kind }) => kind === "StepRun" || kind === "Step")
        .map(async (op) => {
          const before = this.#steps.get(op.key)?.state
          await this.#report(op, "policy", startedAt)
          if (before === undefined || before === "retrying") this.#checkpointed++
        }),
    )
    return Promise.race([kept.then(() => true as const), over])
  }

  /** Learns what another node has kept during the call: the app knows it. */
  async #learnKept(): Promise<void> {
    const { shared, ticket } = this.#calling
    if (!shared || ticket === null) return
    for (const step of (await this.#attempt.recorder.kept?.()) ?? []) {
      if (step.state !== "completed" || this.#steps.get(step.key)?.state === "completed") continue
      this.#steps.set(step.key, step)
      this.#stateChars += step.output?.length ?? 0
      this.#news++
      this.#ended++
      this.#checkpointed++
    }
  }

  get #unknownEnds(): number {
    return this.#ended - this.#checkpointed
  }

  /** Keeps what a reply reports; gives how the attempt ends if it does. */
  async #take(reply: Ops, startedAt: number): Promise<Outcome | null> {
    this.#version = reply.version
    this.#wanted = new Set(reply.ops.map(({ key }) => key))
    let complete: Op | null = null
    const ops = [...new Map(reply.ops.toReversed().map((op) => [op.key, op])).values()].toReversed()
    await this.#beginWaits(ops)
    const reports: Promise<void>[] = []
    for (const op of ops) {
      if (op.kind === "RunComplete" || op.kind === "SyncRunComplete") complete = op
      else if (op.kind === "StepPlanned") this.#plan(op, (attempts) => this.#callFor(op, attempts))
      else if (isGateway(op.kind)) this.#plan(op, () => this.#askFor(op))
      else if (op.kind === "FanOut") this.#plan(op, () => this.#fanOut(op))
      else if (Defers.is(op.kind)) await this.#defers.keep(op)
      else if (op.kind === "DiscoveryRequest") this.#ended++
      else if (isWait(op.kind)) continue
      else if (isKnown(op.kind)) reports.push(this.#report(op, reply.retry, startedAt))
      else return unknownOp(op)
    }
    await Promise.all(reports)
    return complete === null ? null : completed(complete.data)
  }

  /** Before all else, so that nothing which a step beside them causes comes too early for them. */
  async #beginWaits(ops: readonly Op[]): Promise<void> {
    const waits = ops.filter(({ kind, key }) => isWait(kind) && !this.#steps.has(key))
    if (waits.length === 0) return
    await Promise.all(waits.map((op) => this.#beginWait(op)))
    if (ops.length > waits.length) await this.#attempt.recorder.register()
  }

  /** What cannot be waited for is a step that has failed: the function may catch it. */
  async #beginWait(op: Op): Promise<void> {
    const startedAt = this.#now()
    try {
      await this.#keep(waitReport(op, startedAt))
    } catch (thrown) {
      await this.#keep({ kind: "run", key: op.key, startedAt, failure: toFailure(thrown), retry: "never" })
    }
  }

  #plan(op: Op, work: (attempts: number) => Promise<void>): void {
    this.#planned.add(op.key)
    if (op.opts["parallelMode"] === "race") this.#racing = true
    const known = this.#steps.get(op.key)
    if (this.#running.has(op.key) || (known !== undefined && !(known.state === "retrying" && this.#isDue(known)))) return
    const done = work(known?.attempts ?? 0).finally(() => this.#running.delete(op.key))
    this.#running.set(op.key, done)
  }

  async #callFor({ id, key }: Op, attempt: number): Promise<void> {
    const startedAt = this.#now()
    const reply = await this.#call(id, attempt)
    if (reply.kind === "gone") {
      this.#gone = reply.outcome
      return
    }
    const op = reply.kind === "ops" ? reply.ops.find((each) => each.id === id && isKnown(each.kind)) : undefined
    if (reply.kind === "ops" && op !== undefined) return this.#report(op, reply.retry, startedAt)
    const failure: Failure =
      reply.kind === "failed" ? reply.failure : { name: "AppError", message: "the app was called for a step and said nothing of it" }
    const retry = reply.kind === "failed" ? reply.retry : "policy"
    await this.#keep({ kind: "run", key, startedAt, failure, retry })
  }

  /** A request that we make for the app: its answer is kept as a step. */
  async #askFor(op: Op): Promise<void> {
    const startedAt = this.#now()
    const { key } = op
    try {
      const data = await this.#calling.ask(op, AbortSignal.any([this.#attempt.signal, this.#abort.signal]))
      await this.#report({ ...op, kind: "StepRun", data }, "policy", startedAt)
    } catch (thrown) {
      await this.#keep({
        kind: "run",
        key,
        startedAt,
        failure: toFailure(thrown),
        retry: thrown instanceof GatewayError ? "policy" : "never",
      })
    }
  }

  async #fanOut(op: Op): Promise<void> {
    const { recorder } = this.#attempt
    const wish = fanOutWish(op)
    const fanoutId = await sendFanOut(wish, (source) => this.#call(op.id, undefined, source), recorder)
    const { key, until, timeoutAt, outputs } = wish
    await this.#keep({ kind: "join", key, fanoutId, until, timeoutAt, outputs })
  }

  /** Joins that may be over now: what was decided of them when they began holds. */
  async #lookAtJoins(): Promise<void> {
    for (const { kind, state, key, output } of this.#attempt.steps.values()) {
      if (kind !== "join" || state !== "waiting" || output === null) continue
      const { fanoutId, outputs = false } = JSON.parse(output) as { fanoutId: string; outputs?: boolean }
      await this.#keep({ kind: "join", key, fanoutId, until: "all", timeoutAt: null, outputs })
    }
  }

  async #report(op: Op, retry: RetryWish, startedAt: number): Promise<void> {
    const known = this.#steps.get(op.key)
    // The app tells of what it waits for with each call; the first word counts.
    if (known !== undefined && known.state !== "retrying") return
    const report = this.#toReport(op, retry, startedAt)
    await this.#keep(report)
    const sent = op.opts["type"] === "step.sendEvent" && isObject(op.data) ? op.data["ids"] : null
    // A single event is no fan-out.
    if ("output" in report && Array.isArray(sent) && sent.length > 1 && typeof sent[0] === "string") this.#attempt.recorder.sent(sent[0])
  }

  #toReport(op: Op, retry: RetryWish, startedAt: number): StepReport {
    const { kind, key, data, error } = op
    if (kind === "Sleep") return { kind: "sleep", key, until: sleepEnd(op, this.#now()) }
    if (kind === "StepRun" || kind === "Step") {
      try {
        return {
          kind: "run",
          key,
          startedAt,
          output: encodeJson(data, { field: `the result of step "${key}"`, bytes: limits.outputBytes }),
        }
      } catch (thrown) {
        return { kind: "run", key, startedAt, failure: toFailure(thrown), retry: "never" }
      }
    }
    const failure = error ?? { name: "Error", message: "the step failed and did not say how" }
    return { kind: "run", key, startedAt, failure, retry: kind === "StepFailed" ? "never" : retry }
  }

  async #keep(report: StepReport): Promise<void> {
    const record = await this.#attempt.recorder.report(report)
    this.#steps.set(record.key, record)
    this.#stateChars += record.output?.length ?? 0
    this.#news++
    if (record.state === "completed" || record.state === "failed") this.#ended++
  }

  /** Until the first moment at which there may be something to do; null when that is now. */
  #park(): Outcome | null {
    const waits = [...this.#steps.values()].filter(
      ({ key, state }) => this.#wanted.has(key) && (state === "waiting" || state === "retrying"),
    )
    const first = waits.reduce<StepRecord | null>((a, b) => (a === null || (b.dueAt ?? 0) < (a.dueAt ?? 0) ? b : a), null)
    if (first === null) return nothingToDo
    // What comes for a wait, its timeout too, is kept by the store: only a sleep and a retry are over by the clock.
    if (this.#isDue(first) && (first.kind === "sleep" || first.state === "retrying")) return null
    return {
      kind: "parked",
      dueAt: first.dueAt ?? 0,
      for: first.state === "waiting" ? "wait" : "retry",
      joins: waits.flatMap(joinsOf),
      awaits: awaited(waits),
    }
  }

  #idOf(key: string): string {
    const id = this.#ids.get(key) ?? opIdOf(key)
    this.#ids.set(key, id)
    return id
  }

  #waitsForAll(): boolean {
    return this.#version >= 2 && !this.#racing
  }

  /** Whether a planned step will be tried again later: until it has ended, version 2 does not go on. */
  #isPlannedLater(): boolean {
    return [...this.#planned].some((key) => {
      const step = this.#steps.get(key)
      return step?.state === "retrying" && !this.#isDue(step)
    })
  }

  #isSomeRetriedLater(): boolean {
    return [...this.#steps.values()].some((step) => step.state === "retrying" && !this.#isDue(step))
  }

  #isDue({ dueAt }: StepRecord): boolean {
    return (dueAt ?? 0) <= this.#now()
  }

  #now(): number {
    return Math.max(this.#attempt.recorder.now(), this.#attempt.run.claimedAt)
  }
}

/** Calls in a row that may bring nothing new: an app that repeats itself must not be asked for ever. */
const idleCalls = 5

const kept = new Set(["StepRun", "Step", "StepError", "StepFailed", "Sleep"])

function isKnown(kind: string): boolean {
  return kept.has(kind)
}

function awaited(steps: readonly StepRecord[]): string[] {
  return steps.filter(({ kind }) => kind === "event" || kind === "signal" || kind === "invoke").map(({ key }) => key)
}

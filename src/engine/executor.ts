import { advance, type RetryRules } from "../core/advance.ts"
import type { Attempt } from "../core/attempt.ts"
import type { Change } from "../core/change.ts"
import { type End, endChanges } from "../core/ended.ts"
import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import type { ClaimedRun } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import { AttemptTrace } from "../otel/attempt.ts"
import type { Transport } from "../transport/transport.ts"
import { Recording, type RecordingParts } from "./recording.ts"
import type { Registry } from "./registry.ts"

export interface ExecutorParts extends RecordingParts {
  readonly registry: Registry
  readonly newId: (kind: IdKind) => string
  readonly transport: Transport
}

interface Running {
  readonly run: ClaimedRun
  readonly recording: Recording
  readonly startedAt: number
  readonly finish: (outcome: Outcome) => void
  readonly abort: () => void
}

/** Carries attempts to user code and settles how they end. Whatever happens becomes one outcome, and the outcome one commit. */
export class Executor {
  readonly #parts: ExecutorParts
  /**
   * Attempts under way, each in a place of its own. Not a Map: one through which thousands of entries pass in a second leaves a chain of
   * discarded tables behind, each with its entries, and only a full garbage collection lets go of them.
   */
  readonly #places: (Running | null)[] = []
  readonly #freePlaces: number[] = []
  #unsettled = 0

  constructor(parts: ExecutorParts) {
    this.#parts = parts
  }

  /** Attempts whose outcome is not durable yet, those under way included. */
  get unsettled(): number {
    return this.#unsettled
  }

  /** Attempts under way. */
  get running(): number {
    return this.#places.length - this.#freePlaces.length
  }

  /** Functions whose attempts are under way. */
  functionIds(): string[] {
    return [...new Set(this.#underWay().map(({ run }) => run.functionId))]
  }

  /** One attempt, from its start until its outcome is durable; `ended` is called when the place is free again. Never rejects. */
  async execute(claimed: ClaimedRun, steps: readonly StepRecord[], ended: () => void): Promise<void> {
    this.#unsettled++
    const startedAt = this.#parts.clock.now()
    const definition = this.#parts.registry.definitions.get(claimed.functionId)
    const trace = AttemptTrace.begin(claimed, definition)
    // What the attempt causes is a part of it.
    const run = trace === null ? claimed : { ...claimed, trace: trace.place ?? claimed.trace ?? null }
    let finish: (outcome: Outcome) => void = () => undefined
    const finished = new Promise<Outcome>((resolve) => {
      finish = resolve
    })
    const recording = new Recording(this.#parts, { run, trace }, definition ?? unknownFunction, steps, () => {
      attempt.abort()
      finish({ kind: "superseded" })
    })
    const attempt: LiveAttempt = new LiveAttempt(run, recording)
    const place = this.#freePlaces.pop() ?? this.#places.length
    this.#places[place] = { run, recording, startedAt, finish, abort: () => attempt.abort() }
    const timeoutMs = definition?.attemptTimeoutMs ?? limits.attemptTimeoutMs
    const cancelTimeout = this.#parts.clock.after(timeoutMs, () => {
      attempt.abort()
      finish(timedOut(timeoutMs))
    })
    if (definition !== undefined && definition.finishTimeoutMs !== null) recording.endBy(startedAt + definition.finishTimeoutMs)
    const carry = (): Promise<Outcome> => this.#parts.transport.execute(attempt)
    const carried = trace === null ? carry() : trace.around(carry)
    carried.then(finish, (thrown: unknown) => finish({ kind: "lost", reason: String(thrown) }))
    const outcome = await finished
    trace?.end(outcome)
    cancelTimeout()
    recording.close()
    this.#places[place] = null
    this.#freePlaces.push(place)
    ended()
    const begun = claimed.trace == null ? trace : null
    await this.#settle(run, outcome, definition ?? unknownFunction, recording, { startedAt, begun })
    this.#unsettled--
  }

  /** Hands back a run that has not begun. */
  async giveBack(run: ClaimedRun): Promise<void> {
    this.#unsettled++
    const now = this.#parts.clock.now()
    const facts = { startedAt: now, endedAt: now, progressed: false, random: 0, waits: false }
    await this.#parts.committer.insist({
      changes: advance(run, { kind: "returned" }, unknownFunction, facts),
      guard: guardOf(run),
      registry: null,
    })
    this.#unsettled--
  }

  /** Stops the attempts of runs that were taken from this node. */
  recall(runIds: readonly string[]): void {
    if (runIds.length === 0) return
    const recalled = new Set(runIds)
    for (const { run, recording, abort, finish } of this.#underWay()) {
      if (!recalled.has(run.id)) continue
      recording.close()
      abort()
      finish({ kind: "superseded" })
    }
  }

  /** Ends the attempts that are still under way; gives how many. */
  abandon(reason: string): number {
    const left = this.#underWay()
    for (const { abort, finish } of left) {
      abort()
      finish({ kind: "lost", reason })
    }
    return left.length
  }

  /** The claims of attempts that have been under way for at least `ms`. */
  claims(ms: number): [runId: string, fence: number][] {
    const before = this.#parts.clock.now() - ms
    return this.#underWay().flatMap(({ run, startedAt }) => (startedAt <= before ? [[run.id, run.fence]] : []))
  }

  /** Ends attempts whose claims were taken away: nothing of them is kept any more. */
  supersede(claims: readonly (readonly [runId: string, fence: number])[]): void {
    if (claims.length === 0) return
    const gone = new Map(claims)
    for (const { run, abort, finish } of this.#underWay()) {
      if (gone.get(run.id) !== run.fence) continue
      abort()
      finish({ kind: "superseded" })
    }
  }

  /** Has the log lines of attempts under way made durable; nobody waits for it, since an attempt may end meanwhile. */
  flushLogs(): void {
    for (const { recording } of this.#underWay()) void recording.flush()
  }

  #underWay(): Running[] {
    return this.#places.filter((place) => place !== null)
  }

  /** @param begun the trace that this attempt began for its run */
  async #settle(
    run: ClaimedRun,
    outcome: Outcome,
    definition: RetryRules,
    recording: Recording,
    { startedAt, begun }: { readonly startedAt: number; readonly begun: AttemptTrace | null },
  ): Promise<void> {
    const { clock, random, committer, telemetry } = this.#parts
    if (outcome.kind !== "superseded") {
      const { progressed, waits } = recording
      const facts = { startedAt, endedAt: clock.now(), progressed, random: random.next(), waits }
      const changes = advance(run, outcome, definition, facts)
      const ends = endsOf(run, changes, this.#parts)
      const result = await committer.insist({
        changes: [...recording.takePending(), ...changes, ...ends, ...traceOf(run, begun, changes)],
        guard: guardOf(run),
        registry: null,
      })
      if (result.kind === "applied") {
        this.#tell(run, changes)
        return
      }
    }
    telemetry.emit({ name: "run.superseded", runId: run.id })
  }

  #tell(run: ClaimedRun, changes: readonly Change[]): void {
    const { telemetry } = this.#parts
    const settle = changes.find((change) => change.kind === "run.settle")
    const failed = changes.find((change) => change.kind === "attempt.add")
    if (settle === undefined) return
    const { settlement, startedAt, endedAt } = settle
    const { id: runId, functionId, attempt, fanoutId } = run
    if (settlement.to === "completed" || settlement.to === "failed") {
      const failure = settlement.failure
      const delayMs = attempt === 1 && run.fence === 1 ? Math.max(0, run.claimedAt - run.rank) : null
      const ms = endedAt - startedAt
      telemetry.emit({ name: "run.ended", runId, functionId, state: settlement.to, attempt, ms, delayMs, failure, fanoutId })
    } else if (failed !== undefined && "dueAt" in settlement) {
      telemetry.emit({ name: "run.retrying", runId, functionId, attempt, dueAt: settlement.dueAt, failure: failed.attempt.failure })
    }
  }
}

/** What follows when these changes end the run. */
export function endsOf(
  run: ClaimedRun,
  changes: readonly Change[],
  { registry, newId, clock }: Pick<ExecutorParts, "registry" | "newId" | "clock">,
): Change[] {
  const settlement = changes.find((change) => change.kind === "run.settle")?.settlement
  if (settlement === undefined || !("output" in settlement)) return []
  const end: End | null =
    settlement.to === "completed"
      ? { state: "completed", output: settlement.output ?? "null" }
      : settlement.failure === null
        ? null
        : { state: "failed", failure: settlement.failure }
  return end === null ? [] : endChanges(run, end, registry.match, newId, clock.now())
}

/** A trace is kept for later attempts, which are part of it too, and for people. */
function traceOf({ id: runId, trace }: ClaimedRun, begun: AttemptTrace | null, changes: readonly Change[]): Change[] {
  if (begun === null || trace == null) return []
  const goesOn = changes.some((change) => change.kind === "run.settle" && !("output" in change.settlement))
  return begun.isKept || goesOn ? [{ kind: "trace.add", runId, trace }] : []
}

/** An attempt whose signal is only made when user code asks for it. */
class LiveAttempt implements Attempt {
  readonly run: ClaimedRun
  readonly recorder: Recording
  #controller: AbortController | null = null
  #aborted = false

  constructor(run: ClaimedRun, recorder: Recording) {
    this.run = run
    this.recorder = recorder
  }

  get steps(): ReadonlyMap<string, StepRecord> {
    return this.recorder.steps
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#aborted) this.#controller.abort()
    return this.#controller.signal
  }

  abort(): void {
    this.#aborted = true
    this.#controller?.abort()
  }
}

const unknownFunction: RetryRules = { retries: limits.retriesDefault }

function guardOf(run: ClaimedRun): { runId: string; fence: number } {
  return { runId: run.id, fence: run.fence }
}

function timedOut(ms: number): Outcome {
  const message = `the attempt took longer than its bound of ${ms} ms (timeouts.attempt)`
  return { kind: "failed", failure: { name: "TimeoutError", message }, retry: "policy" }
}

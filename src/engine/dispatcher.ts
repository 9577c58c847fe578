import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { ClaimedRun, Quota } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import type { Claim, ClaimRequest } from "../store/claim.ts"
import type { Executor } from "./executor.ts"

interface Queued {
  readonly run: ClaimedRun
  readonly steps: readonly StepRecord[]
}

/**
 * Says how many runs this node wants, and gives claimed ones to the executor, at most `concurrency` at a time. While runs end
 * faster than the store answers it claims ahead: enough for `limits.claimAheadMs` at the rate seen lately, so that slow functions
 * keep no run from other nodes and fast ones never wait for a commit.
 */
export class Dispatcher {
  readonly #executor: Executor
  readonly #clock: Clock
  readonly #nodeId: string
  readonly #functionIds: () => readonly string[]
  readonly #quotas: () => readonly Quota[]
  readonly #concurrency: number
  #queue: (Queued | undefined)[] = []
  #head = 0
  #after = ""
  #stopped = true
  #pumping = false
  #ended = 0
  #since = 0
  #ratePerMs = 0

  constructor(parts: {
    executor: Executor
    clock: Clock
    nodeId: string
    functionIds: () => readonly string[]
    quotas: () => readonly Quota[]
    concurrency: number
  }) {
    this.#executor = parts.executor
    this.#clock = parts.clock
    this.#nodeId = parts.nodeId
    this.#functionIds = parts.functionIds
    this.#quotas = parts.quotas
    this.#concurrency = parts.concurrency
  }

  start(): void {
    this.#stopped = false
    this.#since = this.#clock.now()
  }

  want(): ClaimRequest | null {
    if (this.#stopped) return null
    const functionIds = this.#functionIds()
    const limit = Math.min(limits.claimBatch, this.#concurrency + this.#ahead() - this.#executor.running - this.#waiting)
    if (limit <= 0 || functionIds.length === 0) return null
    return { nodeId: this.#nodeId, functionIds, limit, quotas: this.#quotas(), after: this.#after }
  }

  claimed({ runs, steps, after }: Claim): void {
    this.#after = after
    const byRun = Map.groupBy(steps, ({ runId }) => runId)
    const queued = runs.map((run) => ({ run, steps: byRun.get(run.id) ?? [] }))
    // A run whose node died with it starts first: it must not be lost again while it only waits.
    const suspects = queued.filter(({ run }) => run.losses > 0)
    if (suspects.length > 0) this.#queue.splice(this.#head, 0, ...suspects)
    for (const item of queued) if (item.run.losses === 0) this.#queue.push(item)
    queueMicrotask(() => this.#pump())
  }

  /** No claims and no starts any more; begins to hand back what has not begun and gives how many that were. */
  stop(): number {
    this.#stopped = true
    const left = this.#queue.filter((each) => each !== undefined)
    this.#queue = []
    this.#head = 0
    for (const { run } of left) void this.#executor.giveBack(run)
    return left.length
  }

  get #waiting(): number {
    return this.#queue.length - this.#head
  }

  #pump(): void {
    if (this.#pumping || this.#stopped) return
    this.#pumping = true
    while (this.#executor.running < this.#concurrency) {
      const next = this.#queue[this.#head]
      if (next === undefined) break
      // The place is left empty at once: what has run must not be kept from being forgotten.
      this.#queue[this.#head++] = undefined
      void this.#executor.execute(next.run, next.steps, () => this.#free())
    }
    if (this.#head * 2 >= this.#queue.length) {
      this.#queue.splice(0, this.#head)
      this.#head = 0
    }
    this.#pumping = false
  }

  #free(): void {
    this.#ended++
    this.#pump()
  }

  #ahead(): number {
    const now = this.#clock.now()
    const elapsed = now - this.#since
    if (elapsed >= rateWindowMs) {
      this.#ratePerMs = this.#ended / elapsed
      this.#ended = 0
      this.#since = now
    }
    return Math.min(limits.claimAhead, Math.ceil(this.#ratePerMs * limits.claimAheadMs))
  }
}

const rateWindowMs = 20

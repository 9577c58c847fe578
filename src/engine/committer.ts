import type { Unit, UnitResult } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Store } from "../store/store.ts"
import type { TurnResult } from "../store/turn.ts"
import type { Claim, ClaimRequest } from "../store/claim.ts"

interface Waiting {
  readonly unit: Unit
  readonly resolve: (result: UnitResult) => void
  readonly reject: (error: unknown) => void
}

/** The other side of each turn: who wants runs, and who hears of timers. */
export interface TurnPartner {
  /** Attempts under way: each may soon have something to commit. */
  readonly running: number
  /** What to claim in the next turn; null for nothing. `ringing`: whether there may be something. */
  want(): ClaimRequest | null
  claimed(claim: Claim): void
  timerSet(at: number): void
  /** Fan-outs have ended. */
  ended(): void
  /** Gates of fan-outs have opened: what they held may be released. */
  opened(fanoutIds: readonly string[]): void
  /** Runs are to be cancelled. */
  doomed(): void
  /** A turn is over: the store's time, the milliseconds that it took, the units and the runs in it. */
  taken(turn: { readonly now: number; readonly ms: number; readonly units: number; readonly claimed: number }): void
}

/**
 * The one way from the engine to the store's rows. One turn (one transaction) is under way at a time; while it is, units gather
 * for the next; when none is, they go at once. A turn makes the gathered units durable and then claims runs, so that a run
 * which has just been sent starts after one commit, and a busy node pays one commit for many runs.
 */
export class Committer {
  readonly #store: Pick<Store, "turn">
  readonly #clock: Clock
  readonly #partner: TurnPartner
  #waiting: Waiting[] = []
  #scheduled = false
  /** Ends the rest that is under way. */
  #wake: (() => void) | null = null
  #busy = false
  #rung = false
  #looking = false
  /** Somebody waits for what has gathered: an event, not the end of an attempt. */
  #awaited = false
  /** When the last turn ended, and how long it took. */
  #endedAt = 0
  #tookMs = 0

  constructor(store: Pick<Store, "turn">, clock: Clock, partner: TurnPartner) {
    this.#store = store
    this.#clock = clock
    this.#partner = partner
  }

  /** Resolves when the unit is durable or refused; rejects when the store failed and nothing was written. */
  submit(unit: Unit): Promise<UnitResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ unit, resolve, reject })
      if (unit.guard === null) this.#awaited = true
      this.#soon()
    })
  }

  /** Like `submit`, but does not give up while the store fails. */
  async insist(unit: Unit): Promise<UnitResult> {
    for (;;) {
      try {
        return await this.submit(unit)
      } catch {
        await new Promise<void>((resolve) => void this.#clock.after(limits.restMs, resolve))
      }
    }
  }

  /** There may be runs to claim. */
  ring(): void {
    this.#rung = true
    this.#soon()
  }

  /** Whether nothing is under way and nothing waits. */
  get idle(): boolean {
    return !this.#busy && this.#waiting.length === 0
  }

  /** At the end of this turn of the event loop, so that what finishes together is committed together, or after the rest. */
  #soon(): void {
    if (this.#busy) return
    const restMs = this.#restMs()
    if (this.#scheduled) {
      // Enough has come to end a rest before its time.
      if (this.#wake === null || restMs > 0) return
      this.#wake()
    }
    this.#scheduled = true
    const cancel = this.#clock.after(restMs, () => {
      this.#scheduled = false
      this.#wake = null
      void this.#next()
    })
    this.#wake = restMs > 0 ? cancel : null
  }

  /**
   * While many attempts are under way and few of them have something to commit, as when user code is slow or elsewhere, a turn just after
   * another one would cost as much as one for all that comes within a few milliseconds. A node with little to do never rests, and whoever
   * sends does not wait for the rest of another's runs.
   */
  #restMs(): number {
    if (this.#awaited || this.#waiting.length * gatherShare >= this.#partner.running) return 0
    return Math.max(0, this.#endedAt + Math.min(this.#tookMs * gatherTurns, gatherMostMs) - this.#clock.now())
  }

  async #next(): Promise<void> {
    if (this.#busy) return
    const batch = this.#waiting.splice(0, limits.unitsPerTransaction)
    this.#awaited = this.#waiting.length > 0
    const claim = batch.length > 0 || this.#rung ? this.#partner.want() : null
    if (batch.length === 0 && claim === null) {
      this.#rung = false
      return
    }
    this.#busy = true
    const began = this.#clock.now()
    // A ring from here on may be about what this turn's claim has come too early for.
    if (claim !== null) this.#rung = false
    let turn: TurnResult | null = null
    let failed: unknown
    try {
      turn = await this.#store.turn({ units: batch.map(({ unit }) => unit), claim })
    } catch (error) {
      failed = error
    }
    this.#busy = false
    this.#endedAt = this.#clock.now()
    this.#tookMs = this.#endedAt - began
    if (turn === null) await this.#split(batch, failed)
    else this.#deliver(batch, turn, claim)
  }

  #deliver(batch: readonly Waiting[], turn: TurnResult, claim: ClaimRequest | null): void {
    this.#partner.taken({ now: turn.now, ms: this.#tookMs, units: batch.length, claimed: turn.claim?.runs.length ?? 0 })
    // A full claim may have left more behind; so may a turn that could not claim.
    if (claim === null || turn.claim?.runs.length === claim.limit) this.#rung = true
    else if (turn.claim !== null && turn.claim.lookInMs !== null) this.#lookLater(turn.claim.lookInMs)
    if (turn.claim !== null) this.#partner.claimed(turn.claim)
    for (const [i, { resolve }] of batch.entries()) resolve(turn.results[i] ?? { kind: "fenced" })
    if (turn.timerAt !== null) this.#partner.timerSet(turn.timerAt)
    if (turn.ended > 0) this.#partner.ended()
    if (turn.opened.length > 0) this.#partner.opened(turn.opened)
    if ((turn.doomed ?? 0) > 0) this.#partner.doomed()
    // The store goes on with what has gathered before this thread turns to the new runs.
    if (this.#restMs() === 0) void this.#next()
    else this.#soon()
  }

  /** The claim left out a part of the line, to save time. */
  #lookLater(ms: number): void {
    if (this.#looking) return
    this.#looking = true
    this.#clock.after(ms, () => {
      this.#looking = false
      this.ring()
    })
  }

  /** A turn failed as a whole: each of its units on its own, so that one bad unit harms no other. */
  async #split(batch: readonly Waiting[], error: unknown): Promise<void> {
    this.#busy = true
    for (const { unit, resolve, reject } of batch) {
      try {
        if (batch.length === 1) throw error
        const turn = await this.#store.turn({ units: [unit], claim: null })
        resolve(turn.results[0] ?? { kind: "fenced" })
        if (turn.timerAt !== null) this.#partner.timerSet(turn.timerAt)
        if (turn.ended > 0) this.#partner.ended()
        if (turn.opened.length > 0) this.#partner.opened(turn.opened)
      } catch (alone) {
        reject(
          alone instanceof FanfareError ? alone : new FanfareError("store_failed", `the store failed: ${String(alone)}`, { cause: alone }),
        )
      }
    }
    this.#busy = false
    this.#rung = batch.length > 0
    if (batch.length === 0) this.#clock.after(limits.restMs, () => this.ring())
    else this.#soon()
  }
}

/** Attempts under way for each unit that waits, from which on a turn waits for more. */
const gatherShare = 8
/** The rest after a turn, in times of what it took and at most. */
const gatherTurns = 3
const gatherMostMs = 20

import type { Clock } from "../core/ports.ts"

/** Up to here a difference may be the way between the two. */
const toleratedMs = 1_000

/**
 * The machine's clock, put right by the store's: several nodes then mean the same by "in an hour", however wrong their own clocks are.
 * Whether something is due is still asked of the store alone.
 */
export class StoreClock implements Clock {
  readonly #own: Clock
  #offsetMs = 0

  constructor(own: Clock) {
    this.#own = own
  }

  now(): number {
    return this.#own.now() + this.#offsetMs
  }

  after(ms: number, ring: () => void): () => void {
    return this.#own.after(ms, ring)
  }

  /** The store says what time it is. */
  told(now: number): void {
    const difference = now - this.now()
    if (Math.abs(difference) > toleratedMs) this.#offsetMs += difference
  }
}

import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"

interface Bucket {
  tokens: number
  at: number
}

/**
 * Slows down who gives wrong keys: some at once, then one every few seconds from an address. A right key is never refused, so that
 * nobody can lock others out behind the same proxy; it cannot be guessed either.
 */
export class WrongKeys {
  readonly #buckets = new Map<string, Bucket>()

  /**
   * Another wrong key has come.
   * @throws FanfareError `busy`, with the seconds to wait as its bound
   */
  count(address: string, now: number): void {
    const known = this.#buckets.get(address) ?? { tokens: limits.wrongKeys, at: now }
    const tokens = Math.min(limits.wrongKeys, known.tokens + (now - known.at) / limits.wrongKeyMs)
    // The one that came last is the last to be forgotten.
    this.#buckets.delete(address)
    this.#buckets.set(address, { tokens: Math.max(0, tokens - 1), at: now })
    if (this.#buckets.size > limits.wrongKeyAddresses) this.#buckets.delete(this.#buckets.keys().next().value ?? "")
    if (tokens >= 1) return
    throw new FanfareError("busy", "too many wrong keys came from this address", {
      bound: Math.ceil(((1 - tokens) * limits.wrongKeyMs) / 1_000),
      hint: "Wait some seconds, and give the right key.",
    })
  }
}

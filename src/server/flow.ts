import type { Context, MiddlewareHandler } from "hono"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"

/** Bodies of requests under way take up memory: beyond so many bytes of all together, others are told to come again. */
export function bodiesBound(): MiddlewareHandler {
  let bytes = 0
  return async (c, next) => {
    const said = Number(c.req.header("content-length") ?? 0)
    const size = Number.isFinite(said) && said > 0 ? said : c.req.header("transfer-encoding") === undefined ? 0 : unsaidBytes
    if (size === 0) return next()
    if (bytes > 0 && bytes + size > limits.bodiesBytes) throw busy(c, "too many bytes of requests are under way", 1)
    bytes += size
    try {
      await next()
    } finally {
      bytes -= size
    }
  }
}

/** What a body is taken for that does not say how long it is. */
const unsaidBytes = 1024 * 1024

/** How many events each key may send: at a steady rate, and ten seconds of it at once. */
export class EventRates {
  readonly #perSecond: number | null
  readonly #clock: Pick<Clock, "now">
  readonly #keys = new Map<string, { tokens: number; at: number }>()

  /** @param perSecond null: as many as it likes */
  constructor(perSecond: number | null, clock: Pick<Clock, "now">) {
    this.#perSecond = perSecond
    this.#clock = clock
  }

  /**
   * So many events are to be sent with this key, which is known to be one of ours.
   * @throws FanfareError `busy`, with the seconds to wait as its bound
   */
  take(c: Context, key: string, events: number): void {
    if (this.#perSecond === null) return
    const now = this.#clock.now()
    const most = this.#perSecond * burstSeconds
    const { tokens: before, at } = this.#keys.get(key) ?? { tokens: most, at: now }
    const tokens = Math.min(most, before + ((now - at) / 1_000) * this.#perSecond)
    // A send of more than the burst goes when nothing else has lately, and is paid for after it.
    const needed = Math.min(events, most)
    const enough = tokens >= needed
    this.#keys.set(key, { tokens: enough ? tokens - events : tokens, at: now })
    if (!enough) throw busy(c, `this key may send ${this.#perSecond} events a second`, Math.ceil((needed - tokens) / this.#perSecond))
  }
}

const burstSeconds = 10

function busy(c: Context, message: string, seconds: number): FanfareError {
  c.header("retry-after", String(seconds))
  return new FanfareError("busy", message, { bound: seconds, hint: `Try again in ${seconds} s.` })
}

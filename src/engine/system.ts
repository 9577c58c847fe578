import type { Clock, Random } from "../core/ports.ts"

const timeoutMax = 2 ** 31 - 1

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, ring) {
    if (ms <= 0) {
      const immediate = setImmediate(ring)
      return () => clearImmediate(immediate)
    }
    // Longer than a timer can be: wait as long as it can, then for the rest.
    let timer = setTimeout(
      function wait(rest: number) {
        if (rest <= 0) ring()
        else timer = setTimeout(wait, Math.min(rest, timeoutMax), rest - timeoutMax)
      },
      Math.min(ms, timeoutMax),
      ms - timeoutMax,
    )
    return () => clearTimeout(timer)
  },
}

export const systemRandom: Random = { next: () => Math.random() }

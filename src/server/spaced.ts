import type { Clock } from "../core/ports.ts"

/** Looking may take this share of the time: one in so many. */
const restPerLook = 20

/** Looks anew each time while that is cheap, less often where it takes long, whoever asks how often. */
export function spaced<T>(look: () => Promise<T>, clock: Pick<Clock, "now">): () => Promise<T> {
  let looking: Promise<T> | null = null
  let lookedAt = 0
  let tookMs = 0
  return () => {
    const began = clock.now()
    if (looking !== null && began - lookedAt < tookMs * restPerLook) return looking
    const current = look()
    looking = current
    lookedAt = began
    // While it is under way everybody waits for the same answer.
    tookMs = Number.POSITIVE_INFINITY
    current.then(
      () => {
        tookMs = clock.now() - began
      },
      () => {
        looking = null
      },
    )
    return current
  }
}

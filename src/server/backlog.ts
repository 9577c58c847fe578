import type { Clock } from "../core/ports.ts"
import type { Reader } from "../store/store.ts"

/** Counting may take this share of the time: one in so many. */
const restPerCount = 20

export type Backlog = Awaited<ReturnType<Reader["depth"]>>

/** Live runs by where they stand: counted anew each time while that is cheap, less often where it takes long, whoever asks how often. */
export function createBacklog(reader: Pick<Reader, "depth">, clock: Pick<Clock, "now">): () => Promise<Backlog> {
  let counting: Promise<Backlog> | null = null
  let countedAt = 0
  let tookMs = 0
  return () => {
    const began = clock.now()
    if (counting !== null && began - countedAt < tookMs * restPerCount) return counting
    const count = reader.depth()
    counting = count
    countedAt = began
    // While it is under way everybody waits for the same answer.
    tookMs = Number.POSITIVE_INFINITY
    count.then(
      () => {
        tookMs = clock.now() - began
      },
      () => {
        counting = null
      },
    )
    return count
  }
}

import { limits } from "../core/limits.ts"
import type { Store } from "../store/store.ts"
import type { Agent } from "./loop.ts"

const heldMs = 5

/** Puts runs whose time has come in line: delayed starts, retries, sleeps. */
export function createWaker(store: Pick<Store, "wake">, pollMs: number, woken: () => void, doomedRuns: () => void): Agent {
  return {
    name: "waker",
    async tick() {
      const { count, doomed, nextAt, now } = await store.wake(limits.sweepBatch)
      if (count > 0) woken()
      if (doomed > 0) doomedRuns()
      if (count === limits.sweepBatch) return 0
      // What is due and did not wake is in the hands of another connection for a moment.
      const least = count === 0 && doomed === 0 ? heldMs : 0
      return nextAt === null ? pollMs : Math.min(pollMs, Math.max(least, nextAt - now))
    },
  }
}

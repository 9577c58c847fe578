import { limits } from "../core/limits.ts"
import type { Store } from "../store/store.ts"
import type { Agent } from "./loop.ts"

/** Puts runs whose time has come in line: delayed starts, retries, sleeps. */
export function createWaker(store: Pick<Store, "wake">, pollMs: number, woken: () => void): Agent {
  return {
    name: "waker",
    async tick() {
      const { count, nextAt, now } = await store.wake(limits.sweepBatch)
      if (count > 0) woken()
      if (count === limits.sweepBatch) return 0
      return nextAt === null ? pollMs : Math.min(pollMs, Math.max(0, nextAt - now))
    },
  }
}

import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Store } from "../store/store.ts"
import type { Agent } from "./loop.ts"

const day = 24 * 60 * 60 * 1_000
const restMs = 60 * 60 * 1_000
const pauseMs = 200

/** Deletes runs that ended longer ago than `retentionDays`, a batch at a time. */
export function createJanitor(store: Pick<Store, "prune">, clock: Clock, retentionDays: number): Agent {
  return {
    name: "janitor",
    async tick() {
      const pruned = await store.prune(clock.now() - retentionDays * day, limits.sweepBatch)
      return pruned === limits.sweepBatch ? pauseMs : restMs
    },
  }
}

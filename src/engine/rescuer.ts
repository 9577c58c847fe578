import { advance } from "../core/advance.ts"
import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import { endsOf } from "./executor.ts"
import type { Agent } from "./loop.ts"
import type { Registry } from "./registry.ts"

export interface RescuerParts {
  readonly store: Pick<Store, "lost">
  readonly committer: Committer
  readonly registry: Registry
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
  readonly nodeId: string
  readonly restMs: number
}

/** Takes runs out of the hands of dead nodes. */
export function createRescuer({ store, committer, registry, clock, newId, nodeId, restMs }: RescuerParts): Agent {
  return {
    name: "rescuer",
    async tick() {
      const lost = await store.lost(nodeId, limits.sweepBatch)
      await Promise.all(
        lost.map(({ run, nodeId: holder, progressed }) => {
          const definition = registry.definitions.get(run.functionId) ?? { retries: limits.retriesDefault }
          const facts = { startedAt: run.claimedAt, endedAt: clock.now(), progressed, random: 0, waits: true }
          const outcome = { kind: "lost", reason: `its node ${holder} died, or was killed, before it ended` } as const
          const changes = advance(run, outcome, definition, facts)
          return committer.submit({
            changes: [...changes, ...endsOf(run, changes, { registry, newId, clock })],
            guard: { runId: run.id, fence: run.fence },
            registry: null,
          })
        }),
      )
      if (lost.length > 0) committer.ring()
      return lost.length === limits.sweepBatch ? 0 : restMs
    },
  }
}

/** Between two pages of limits, when there are very many. */
const pageRestMs = 100

/** Heals limits whose release was missed. */
export function createHealer(store: Pick<Store, "releaseMissed">, committer: Pick<Committer, "ring">, restMs: number): Agent {
  return {
    name: "healer",
    async tick() {
      const { runs, more } = await store.releaseMissed()
      if (runs > 0) committer.ring()
      if (runs >= limits.sweepBatch) return 0
      return more ? pageRestMs : restMs
    },
  }
}

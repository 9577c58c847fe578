import { endChanges } from "../core/ended.ts"
import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Store } from "../store/store.ts"
import type { CancelFacts } from "../store/waits.ts"
import type { Committer } from "./committer.ts"
import type { Executor } from "./executor.ts"
import type { Agent } from "./loop.ts"
import type { Registry } from "./registry.ts"
import type { Telemetry } from "./telemetry.ts"

export interface CancellerParts {
  readonly store: Pick<Store, "doomed">
  readonly committer: Committer
  readonly executor: Pick<Executor, "recall">
  readonly registry: Registry
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
  readonly telemetry: Telemetry
  readonly pollMs: number
}

/** Ends a run wherever it stands, together with all that follows from its end. False: it had ended, or began though it must not have. */
export async function cancelRun(facts: CancelFacts, parts: Omit<CancellerParts, "store" | "pollMs">): Promise<boolean> {
  const { committer, executor, registry, clock, newId, telemetry } = parts
  const { id, functionId, rank, fanoutId, event, reason, below } = facts
  const now = clock.now()
  const result = await committer.insist({
    changes: [
      { kind: "run.cancel", run: { id, functionId, rank, fanoutId, reason, below }, at: now },
      ...endChanges({ id, functionId, event }, { state: "cancelled", reason }, registry.match, newId, now),
    ],
    guard: null,
    registry: null,
  })
  if (result.kind !== "applied") return false
  executor.recall([id])
  telemetry.emit({ name: "run.cancelled", runId: id, functionId, reason, fanoutId })
  return true
}

/** Cancels the runs that an event or a deadline has doomed. */
export function createCanceller(parts: CancellerParts): Agent {
  return {
    name: "canceller",
    async tick() {
      const doomed = await parts.store.doomed(limits.sweepBatch)
      await Promise.all(doomed.map((facts) => cancelRun(facts, parts)))
      return doomed.length > 0 ? 0 : parts.pollMs
    },
  }
}

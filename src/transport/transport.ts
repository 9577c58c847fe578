import type { Attempt } from "../core/attempt.ts"
import type { Outcome } from "../core/outcome.ts"
import type { Quota } from "../core/run.ts"
import type { KnownFunctions } from "../core/views.ts"

/** The way an attempt reaches user code. Never rejects: whatever happens is an outcome. */
export interface Transport {
  /** The functions whose code it reaches. */
  hosts(): readonly string[]
  /** Where it has no room for as many attempts as a node may have. */
  quotas?(): readonly Quota[]
  execute(attempt: Attempt): Promise<Outcome>
  /** What is registered now. Given before the engine begins, and with each change. */
  learn?(known: KnownFunctions): void
}

/** Several ways: each function goes by the first that reaches it. */
export function firstOf(transports: readonly Transport[]): Transport {
  return {
    hosts: () => [...new Set(transports.flatMap((transport) => transport.hosts()))],
    quotas: () => transports.flatMap((transport) => transport.quotas?.() ?? []),
    execute: async (attempt) => {
      const way = transports.find((transport) => transport.hosts().includes(attempt.run.functionId))
      return way === undefined ? { kind: "returned" } : way.execute(attempt)
    },
    learn: (known) => {
      for (const transport of transports) transport.learn?.(known)
    },
  }
}

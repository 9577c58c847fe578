import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { NodeRow, Store } from "../store/store.ts"
import type { Executor } from "./executor.ts"
import type { Agent } from "./loop.ts"
import type { Registry } from "./registry.ts"
import type { Telemetry } from "./telemetry.ts"

export interface PulseParts {
  readonly store: Pick<Store, "pulse" | "gone">
  readonly node: () => NodeRow
  readonly clock: Clock
  readonly executor: Executor
  readonly registry: Pick<Registry, "version">
  readonly reload: () => Promise<void>
  readonly telemetry: Telemetry
  /** Milliseconds between two beats. */
  readonly pulseMs: number
}

/** Says that this node lives, keeps the log lines of long attempts, ends those whose claim is gone, and tells when user code blocked the event loop. */
export function createPulse({ store, node, clock, executor, registry, reload, telemetry, pulseMs }: PulseParts): Agent {
  let expected = clock.now()
  return {
    name: "pulse",
    async tick() {
      const late = clock.now() - expected
      if (late > blockedMs) telemetry.emit({ name: "loop.blocked", ms: late, functionIds: executor.functionIds() })
      const { version, recalled } = await store.pulse(node(), false)
      executor.recall(recalled)
      if (version > registry.version) await reload()
      executor.flushLogs()
      // Short attempts find out by themselves, when they are settled.
      const claims = executor.claims(limits.pulseMs)
      if (claims.length > 0) executor.supersede(await store.gone(claims))
      expected = clock.now() + pulseMs
      return pulseMs
    },
  }
}

const blockedMs = 1_000

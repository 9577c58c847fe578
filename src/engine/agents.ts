import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock, Random } from "../core/ports.ts"
import type { NodeRow, Store } from "../store/store.ts"
import { createAnnouncer } from "./announcer.ts"
import type { Committer } from "./committer.ts"
import type { Executor } from "./executor.ts"
import type { EventIntake } from "./intake.ts"
import { createJanitor } from "./janitor.ts"
import { createCanceller } from "./canceller.ts"
import { Loop } from "./loop.ts"
import { createOperator } from "./operator.ts"
import { createPulse } from "./pulse.ts"
import type { Registry } from "./registry.ts"
import { createHealer, createRescuer } from "./rescuer.ts"
import type { Telemetry } from "./telemetry.ts"
import { createTallier } from "./tallier.ts"
import { createTicker } from "./ticker.ts"
import { createWaker } from "./waker.ts"

export interface AgentsParts {
  readonly store: Store
  readonly committer: Committer
  readonly executor: Executor
  readonly intake: EventIntake
  readonly registry: Registry
  readonly reload: () => Promise<void>
  readonly telemetry: Telemetry
  readonly clock: Clock
  readonly random: Random
  readonly newId: (kind: IdKind) => string
  /** Fan-outs have ended. */
  readonly fanoutsEnded: () => void
  readonly nodeId: string
  readonly node: () => NodeRow
  readonly exclusive: boolean
  readonly pollMs: number
  readonly retentionDays: number
}

/** All agents of a node, and by name those that others ring when they have something for them. */
export interface Agents {
  readonly waker: Loop
  readonly announcer: Loop
  readonly canceller: Loop
  readonly operator: Loop
  readonly ticker: Loop
  readonly all: readonly Loop[]
}

export function createAgents(parts: AgentsParts): Agents {
  const { store, committer, executor, intake, registry, reload, telemetry, clock, random, newId, nodeId, node, exclusive, pollMs } = parts
  const failed = (agent: string, error: unknown): void => telemetry.emit({ name: "agent.failed", agent, error })
  // Only other nodes listen to a pulse, and only theirs can be missed.
  const pulseMs = exclusive ? Math.max(limits.pulseMs, pollMs) : limits.pulseMs
  const rescueMs = Math.max(pollMs, exclusive ? limits.leaseMs : limits.pulseMs)
  const waker = new Loop(
    createWaker(
      store,
      pollMs,
      () => committer.ring(),
      () => canceller.ring(),
    ),
    clock,
    failed,
  )
  const canceller = new Loop(createCanceller({ store, committer, executor, registry, clock, newId, telemetry, pollMs }), clock, failed)
  const announcer = new Loop(createAnnouncer(store, intake, pollMs), clock, failed)
  const operator = new Loop(
    createOperator({ store, committer, pollMs, random, ended: parts.fanoutsEnded, doomed: () => canceller.ring() }),
    clock,
    failed,
  )
  const ticker = new Loop(createTicker({ store, committer, executor, clock, random, telemetry, pollMs }), clock, failed)
  // At a start the first duty is what a dead node left.
  const rescuer = new Loop(createRescuer({ store, committer, registry, clock, newId, nodeId, restMs: rescueMs }), clock, failed)
  const others = [
    createPulse({ store, node, clock, executor, registry, reload, telemetry, pulseMs }),
    createHealer(store, committer, Math.max(limits.leaseMs, pollMs)),
    createTallier({ committer, telemetry, clock, nodeId, restMs: Math.max(limits.tallyMs, pollMs) }),
    createJanitor(store, clock, parts.retentionDays),
    { name: "bell", tick: async () => (committer.ring(), pollMs) },
  ]
  const named = { waker, announcer, canceller, operator, ticker }
  return { ...named, all: [rescuer, ...Object.values(named), ...others.map((agent) => new Loop(agent, clock, failed))] }
}

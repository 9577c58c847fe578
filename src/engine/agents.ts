import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { NodeRow, Store } from "../store/store.ts"
import { createAnnouncer } from "./announcer.ts"
import type { Committer } from "./committer.ts"
import type { Executor } from "./executor.ts"
import type { EventIntake } from "./intake.ts"
import { createJanitor } from "./janitor.ts"
import { Loop } from "./loop.ts"
import { createOperator } from "./operator.ts"
import { createPulse } from "./pulse.ts"
import type { Registry } from "./registry.ts"
import { createHealer, createRescuer } from "./rescuer.ts"
import type { Telemetry } from "./telemetry.ts"
import { createTicker } from "./ticker.ts"
import { createWaker } from "./waker.ts"

export interface AgentsParts {
  readonly store: Store
  readonly committer: Committer
  readonly executor: Executor
  readonly intake: EventIntake
  readonly registry: Registry
  readonly telemetry: Telemetry
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
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
  readonly operator: Loop
  readonly all: readonly Loop[]
}

export function createAgents(parts: AgentsParts): Agents {
  const { store, committer, executor, intake, registry, telemetry, clock, newId, nodeId, node, exclusive, pollMs, retentionDays } = parts
  const failed = (agent: string, error: unknown): void => telemetry.emit({ name: "agent.failed", agent, error })
  // Only other nodes listen to a pulse, and only theirs can be missed.
  const pulseMs = exclusive ? Math.max(limits.pulseMs, pollMs) : limits.pulseMs
  const rescueMs = Math.max(pollMs, exclusive ? limits.leaseMs : limits.pulseMs)
  const waker = new Loop(
    createWaker(store, pollMs, () => committer.ring()),
    clock,
    failed,
  )
  const announcer = new Loop(createAnnouncer(store, intake, pollMs), clock, failed)
  const operator = new Loop(createOperator({ store, committer, pollMs, ended: () => announcer.ring() }), clock, failed)
  const others = [
    createPulse({ store, node, clock, executor, telemetry, pulseMs }),
    createRescuer({ store, committer, registry, clock, nodeId, restMs: rescueMs }),
    createHealer(store, Math.max(limits.leaseMs, pollMs)),
    createTicker({ store, committer, registry, newId, telemetry, pollMs }),
    createJanitor(store, clock, retentionDays),
    { name: "bell", tick: async () => (committer.ring(), pollMs) },
  ]
  return { waker, announcer, operator, all: [waker, announcer, operator, ...others.map((agent) => new Loop(agent, clock, failed))] }
}

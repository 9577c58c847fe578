import type { LogLine } from "../core/change.ts"
import type { Failure } from "../core/failure.ts"

/** Named facts. Code emits them; logs, counters and the live stream listen. Nothing rests on whether anyone does. */
export type Fact =
  | { readonly name: "engine.started"; readonly nodeId: string; readonly functions: number }
  | { readonly name: "engine.stopped"; readonly nodeId: string; readonly returned: number; readonly abandoned: number }
  | { readonly name: "agent.failed"; readonly agent: string; readonly error: unknown }
  | { readonly name: "turn.taken"; readonly ms: number; readonly units: number; readonly claimed: number }
  | { readonly name: "loop.blocked"; readonly ms: number; readonly functionIds: readonly string[] }
  | {
      readonly name: "tick.decided"
      readonly scheduleId: string
      readonly at: number
      readonly outcome: string
      readonly runId: string | null
    }
  | { readonly name: "events.accepted"; readonly events: number; readonly runs: number; readonly fanoutId: string | null }
  | {
      readonly name: "run.ended"
      readonly runId: string
      readonly functionId: string
      readonly state: "completed" | "failed"
      readonly attempt: number
      readonly ms: number
      /** From when it was due to its first attempt; null when there was more than one. */
      readonly delayMs: number | null
      readonly failure: Failure | null
      readonly fanoutId: string | null
    }
  | {
      readonly name: "run.retrying"
      readonly runId: string
      readonly functionId: string
      readonly attempt: number
      readonly dueAt: number
      readonly failure: Failure
    }
  | {
      readonly name: "run.cancelled"
      readonly runId: string
      readonly functionId: string
      readonly reason: string
      readonly fanoutId: string | null
    }
  | { readonly name: "run.superseded"; readonly runId: string }
  /** A worker of these apps has connected, is gone, or was not let in. */
  | { readonly name: "worker.connected"; readonly apps: readonly string[] }
  | { readonly name: "worker.left"; readonly apps: readonly string[] }
  | { readonly name: "worker.refused"; readonly reason: string }
  | { readonly name: "run.log"; readonly runId: string; readonly functionId: string; readonly line: LogLine }

export type Listener = (fact: Fact) => void

export class Telemetry {
  readonly #listeners = new Set<Listener>()

  /** Gives the way to stop listening. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  emit(fact: Fact): void {
    for (const listener of this.#listeners) {
      try {
        listener(fact)
      } catch {
        // A listener that fails must not harm what it listens to.
      }
    }
  }
}

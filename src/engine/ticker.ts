import { limits } from "../core/limits.ts"
import type { Clock, Random } from "../core/ports.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import type { Executor } from "./executor.ts"
import type { Agent } from "./loop.ts"
import type { Telemetry } from "./telemetry.ts"

export interface TickerParts {
  readonly store: Pick<Store, "tick">
  readonly committer: Pick<Committer, "ring">
  readonly executor: Pick<Executor, "supersede">
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry
  readonly pollMs: number
}

/** Deciding may take this share of the time: one in so many. */
const restPerLook = 10

/** Has the moments of schedules decided when they come; the store does it in one transaction with what they start. */
export function createTicker(parts: TickerParts): Agent {
  const { store, committer, executor, clock, random, telemetry, pollMs } = parts
  return {
    name: "ticker",
    async tick() {
      const began = clock.now()
      const { ticks, more, nextAt, now, cancelled, unfit } = await store.tick([random.next(), random.next()])
      executor.supersede(cancelled)
      for (const { scheduleId, at, outcome, runId } of ticks) telemetry.emit({ name: "tick.decided", scheduleId, at, outcome, runId })
      for (const { scheduleId, why } of unfit) {
        telemetry.emit({ name: "agent.failed", agent: "ticker", error: new Error(`the schedule ${scheduleId} cannot be decided: ${why}`) })
      }
      if (ticks.length > 0) committer.ring()
      if (more) return 0
      const wait = nextAt === null ? pollMs : Math.min(pollMs, Math.max(0, nextAt - now))
      // With a thousand moments in a second, some are gathered for each look.
      return ticks.length === 0 ? wait : Math.max(wait, Math.min((clock.now() - began) * restPerLook, limits.tickRestMs))
    },
  }
}

import type { Change, Unit } from "../core/change.ts"
import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import { decideTicks, type Schedule } from "../core/schedule.ts"
import { scheduledTimerEvent } from "../core/event.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import { causedRun, timerData } from "./intake.ts"
import type { Agent } from "./loop.ts"
import type { Registry } from "./registry.ts"
import type { Telemetry } from "./telemetry.ts"

export interface TickerParts {
  readonly store: Pick<Store, "dueSchedules">
  readonly committer: Committer
  readonly registry: Registry
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
  readonly telemetry: Telemetry
  readonly pollMs: number
}

/** Decides the moments of schedules when they come: each becomes one row, and if it fires its run is written with it. */
export function createTicker(parts: TickerParts): Agent {
  const { store, committer, clock, telemetry, pollMs } = parts
  return {
    name: "ticker",
    async tick() {
      const { due, nextAt } = await store.dueSchedules(limits.sweepBatch)
      await Promise.all(
        due.map(async (schedule) => {
          const unit = decide(schedule, parts)
          const result = await committer.submit(unit)
          if (result.kind !== "applied") return
          for (const change of unit.changes) {
            if (change.kind === "tick.add") telemetry.emit({ name: "tick.decided", ...change.tick })
          }
        }),
      )
      if (due.length > 0) return 0
      return nextAt === null ? pollMs : Math.min(pollMs, Math.max(0, nextAt - clock.now()))
    },
  }
}

function decide(schedule: Schedule, { registry, clock, newId }: TickerParts): Unit {
  const now = clock.now()
  const definition = registry.definitions.get(schedule.functionId)
  const { ticks, nextAt } = decideTicks(registry.line(schedule), schedule.nextAt ?? now, now)
  const changes: Change[] = []
  for (const { at, outcome, reason } of ticks) {
    const fires = (outcome === "fired" || outcome === "caught_up") && definition !== undefined
    let runId: string | null = null
    if (fires) {
      const caused = causedRun(
        definition,
        { name: scheduledTimerEvent, data: timerData(schedule.cron, schedule.timezone, at), ts: at },
        newId,
        now,
      )
      runId = caused.runId
      changes.push(...caused.changes)
    }
    changes.push({ kind: "tick.add", tick: { scheduleId: schedule.id, at, outcome, reason, runId, decidedAt: now } })
  }
  const lastTickAt = ticks.at(-1)?.at ?? schedule.lastTickAt ?? now
  changes.push({ kind: "schedule.move", id: schedule.id, lastTickAt, nextAt })
  return { changes, guard: null }
}

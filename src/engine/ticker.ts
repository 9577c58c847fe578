import type { Change, Unit } from "../core/change.ts"
import { parseCron } from "../core/cron.ts"
import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
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
  readonly newId: (kind: IdKind) => string
  readonly telemetry: Telemetry
  readonly pollMs: number
}

/** Decides the moments of schedules when they come: each becomes one row, and if it fires its run is written with it. */
export function createTicker(parts: TickerParts): Agent {
  const { store, committer, telemetry, pollMs } = parts
  return {
    name: "ticker",
    async tick() {
      const { due, nextAt, now } = await store.dueSchedules(limits.sweepBatch)
      await Promise.all(
        due.map(async (schedule) => {
          const unit = decide(schedule, now, parts)
          const result = await committer.submit(unit)
          if (result.kind !== "applied") return
          for (const change of unit.changes) {
            if (change.kind === "tick.add") telemetry.emit({ name: "tick.decided", ...change.tick })
          }
        }),
      )
      if (due.length > 0) return 0
      return nextAt === null ? pollMs : Math.min(pollMs, Math.max(0, nextAt - now))
    },
  }
}

/** By the store's time, like the question which schedules are due: a node whose clock differs decides the same. */
function decide(schedule: Schedule, now: number, { registry, newId }: TickerParts): Unit {
  const definition = registry.definitions.get(schedule.functionId)
  const { ticks, nextAt } = decideTicks(parseCron(schedule.cron, schedule.timezone, schedule.id), schedule.nextAt ?? now, now)
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
  changes.push({ kind: "schedule.move", id: schedule.id, lastTickAt: ticks.at(-1)?.at ?? null, nextAt })
  return { changes, guard: null, registry: null }
}

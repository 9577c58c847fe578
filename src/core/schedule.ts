import type { CronLine } from "./cron.ts"
import { limits } from "./limits.ts"

/** A rule of time, as stored. `lastTickAt` only grows and outlives the ticks themselves. */
export interface Schedule {
  readonly id: string
  readonly functionId: string
  readonly cron: string
  readonly timezone: string
  readonly lastTickAt: number | null
  readonly nextAt: number | null
}

export type TickOutcome = "fired" | "skipped_overlap" | "skipped_late" | "caught_up" | "backfilled" | "paused"

/** One nominal moment of a schedule and what became of it. */
export interface Tick {
  readonly scheduleId: string
  readonly at: number
  readonly outcome: TickOutcome
  readonly reason: string | null
  readonly runId: string | null
  readonly decidedAt: number
}

/** What to do with the moments that are due. */
export interface DueTicks {
  readonly ticks: readonly Pick<Tick, "at" | "outcome" | "reason">[]
  /** The first moment that is not decided yet. */
  readonly nextAt: number | null
}

/**
 * Decides the due moments of a schedule, from `nextAt` up to `now`: the latest one fires, the ones before it were missed while no
 * engine ran (or while the machine slept) and are recorded as skipped. Past `limits.ticksPerLook` moments only the newest
 * are recorded: the reason of the oldest says how many came before it.
 */
export function decideTicks(line: CronLine, nextAt: number, now: number): DueTicks {
  const due: number[] = []
  let at: number | null = nextAt
  let uncounted = 0
  while (at !== null && at <= now) {
    due.push(at)
    if (due.length > limits.ticksPerLook) {
      due.shift()
      uncounted++
    }
    if (uncounted >= limits.ticksPerLook) {
      // A long absence: leap to the last stretch instead of walking through every moment of it.
      at = line.next(Math.max(at, leap(line, at, now)))
      uncounted = 1
    } else at = line.next(at)
  }
  const latest = due.at(-1)
  const ticks = due.map((moment, i) => {
    if (moment === latest) {
      const late = now - moment > limits.tickLateMs
      return {
        at: moment,
        outcome: late ? ("caught_up" as const) : ("fired" as const),
        reason: late ? `fired ${now - moment} ms late` : null,
      }
    }
    const before = i === 0 && uncounted > 0 ? "; earlier missed moments are not listed" : ""
    return { at: moment, outcome: "skipped_late" as const, reason: `missed; only the latest is caught up${before}` }
  })
  return { ticks, nextAt: at }
}

/** A moment before `now` from which at most about `limits.ticksPerLook` moments follow. */
function leap(line: CronLine, from: number, now: number): number {
  const following = line.next(from)
  if (following === null) return from
  const gap = Math.max(1, following - from)
  return Math.max(from, now - gap * limits.ticksPerLook)
}

import { type Ended, hasEnded } from "./join.ts"

/**
 * `running`: runs are in line, under way or yet to come; `paused`: a canary or the breaker stopped it, `resume`, `retry` or `cancel` goes
 * on; `cancelling`: what has not begun is being cancelled; `ended`: all runs have ended.
 */
export type FanoutState = "running" | "paused" | "cancelling" | "ended"

/** What progress is told from. Times are milliseconds since 1970. */
export interface Pace extends Ended {
  readonly firstStartAt: number | null
  readonly lastEndAt: number | null
  readonly paused: boolean
  readonly cancelling: boolean
  /** When it was last set going, if that was later than its first start, and what had ended then. */
  readonly since: number | null
  readonly endedBefore: number
}

export interface Progress {
  readonly state: FanoutState
  /** Runs ended per second since it was last set going: started, resumed or retried. */
  readonly ratePerSecond: number
  /** Milliseconds until the last run ends at that rate; null when nobody can tell. 0 when it has ended. */
  readonly etaMs: number | null
}

export function progressOf(pace: Pace, now: number): Progress {
  const { completed, failed, cancelled, total, firstStartAt, lastEndAt, paused, cancelling, since, endedBefore } = pace
  const over = hasEnded(pace)
  const state = over ? "ended" : cancelling ? "cancelling" : paused ? "paused" : "running"
  const ended = completed + failed + cancelled
  const from = since ?? firstStartAt
  const until = over ? lastEndAt : now
  // Less than a millisecond is one: clocks are no finer.
  const ms = from === null || until === null ? 0 : Math.max(1, until - from)
  const ratePerSecond = ms === 0 ? 0 : Math.max(0, ((ended - endedBefore) / ms) * 1_000)
  if (over) return { state, ratePerSecond, etaMs: 0 }
  const known = pace.sealed && ratePerSecond > 0 && state !== "paused"
  return { state, ratePerSecond, etaMs: known ? Math.round(((total - ended) / ratePerSecond) * 1_000) : null }
}

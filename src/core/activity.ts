import { addHistograms, type Histogram, quantile } from "./histogram.ts"

/** What one node saw end in one minute: of one function, or of all (`functionId` is then empty). */
export interface Tally {
  readonly functionId: string
  /** The beginning of the minute. */
  readonly at: number
  readonly nodeId: string
  readonly completed: number
  readonly failed: number
  /** Attempts that failed and are tried again. */
  readonly retried: number
  /** How long the last attempts took. */
  readonly durations: Histogram
  /** How long runs waited from when they were due to their first attempt. */
  readonly delays: Histogram
}

/** How much has ended, over time. Kept in memory by each node and written every few seconds: a node that dies takes the last ones along. */
export interface Activity extends ActivityTotals {
  readonly from: number
  readonly to: number
  readonly stepMs: number
  /** One per step, the empty ones too. */
  readonly buckets: readonly { readonly at: number; readonly completed: number; readonly failed: number; readonly retried: number }[]
}

export interface ActivityTotals {
  readonly completed: number
  readonly failed: number
  readonly retried: number
  /** Milliseconds; null when nothing ended. Right to about 9 %. */
  readonly duration: Quantiles
  readonly delay: Quantiles
}

export interface Quantiles {
  readonly p50: number | null
  readonly p95: number | null
}

/** The ranges that can be asked for: how long, and in what steps. */
export const activityRanges = {
  "1h": { ms: 3_600_000, stepMs: 60_000 },
  "6h": { ms: 6 * 3_600_000, stepMs: 5 * 60_000 },
  "24h": { ms: 24 * 3_600_000, stepMs: 20 * 60_000 },
  "7d": { ms: 7 * 24 * 3_600_000, stepMs: 2 * 3_600_000 },
} as const
export type ActivityRange = keyof typeof activityRanges

/** Whole steps up to the one that `now` is in. */
export function activityFrom(range: ActivityRange, now: number): number {
  const { ms, stepMs } = activityRanges[range]
  return Math.floor(now / stepMs) * stepMs + stepMs - ms
}

export function activityOf(tallies: readonly Tally[], range: ActivityRange, now: number): Activity {
  const { ms, stepMs } = activityRanges[range]
  const from = activityFrom(range, now)
  const buckets = Array.from({ length: ms / stepMs }, (_, i) => ({ at: from + i * stepMs, completed: 0, failed: 0, retried: 0 }))
  for (const { at, completed, failed, retried } of tallies) {
    const bucket = buckets[Math.floor((at - from) / stepMs)]
    if (bucket === undefined) continue
    bucket.completed += completed
    bucket.failed += failed
    bucket.retried += retried
  }
  return { from, to: from + ms, stepMs, buckets, ...totalsOf(tallies) }
}

function totalsOf(tallies: readonly Tally[]): ActivityTotals {
  const sum = (field: "completed" | "failed" | "retried"): number => tallies.reduce((all, tally) => all + tally[field], 0)
  return {
    completed: sum("completed"),
    failed: sum("failed"),
    retried: sum("retried"),
    duration: quantilesOf(tallies.map(({ durations }) => durations)),
    delay: quantilesOf(tallies.map(({ delays }) => delays)),
  }
}

function quantilesOf(histograms: readonly Histogram[]): Quantiles {
  const all = addHistograms(histograms)
  return { p50: quantile(all, 0.5), p95: quantile(all, 0.95) }
}

/** Counts of durations by size: bucket → how many. Buckets grow by a quarter of a doubling, so a quantile is right to about 9 %. */
export type Histogram = Readonly<Record<string, number>>

const perDoubling = 4

/** The bucket of a duration in milliseconds; what is below 1 ms counts as 0. */
export function bucketOf(ms: number): number {
  return ms < 1 ? 0 : 1 + Math.floor(Math.log2(ms) * perDoubling)
}

function middleOf(bucket: number): number {
  return bucket === 0 ? 0 : 2 ** ((bucket - 0.5) / perDoubling)
}

export function addHistograms(histograms: readonly Histogram[]): Histogram {
  const sum: Record<string, number> = {}
  for (const histogram of histograms) {
    for (const [bucket, count] of Object.entries(histogram)) sum[bucket] = (sum[bucket] ?? 0) + count
  }
  return sum
}

/**
 * The duration in milliseconds that a share of all stays below; null when nothing was counted.
 * @param share from 0 to 1
 */
export function quantile(histogram: Histogram, share: number): number | null {
  const buckets = Object.entries(histogram)
    .map(([bucket, count]) => [Number(bucket), count] as const)
    .toSorted(([a], [b]) => a - b)
  const total = buckets.reduce((sum, [, count]) => sum + count, 0)
  if (total === 0) return null
  let below = 0
  for (const [bucket, count] of buckets) {
    below += count
    if (below >= share * total) return Math.round(middleOf(bucket))
  }
  return null
}

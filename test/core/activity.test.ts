import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { activityOf, type ActivityRange, activityRanges, type Tally } from "../../src/core/activity.ts"
import { addHistograms, bucketOf, quantile } from "../../src/core/histogram.ts"

const tally = (at: number, over: Partial<Tally> = {}): Tally => ({
  functionId: "",
  at,
  nodeId: "node_a",
  completed: 1,
  failed: 0,
  retried: 0,
  durations: {},
  delays: {},
  ...over,
})

describe("a histogram", () => {
  const countOf = (values: readonly number[]) => addHistograms(values.map((ms) => ({ [bucketOf(ms)]: 1 })))

  it("tells a quantile to within a tenth, whatever the durations", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 10, max: 86_400_000 }), { minLength: 1, maxLength: 200 }),
        fc.constantFrom(0.5, 0.95),
        (values, share) => {
          const exact = values.toSorted((a, b) => a - b)[Math.ceil(share * values.length) - 1] ?? 0
          const told = quantile(countOf(values), share) ?? 0
          expect(Math.abs(told - exact) / exact).toBeLessThan(0.15)
        },
      ),
    )
  })

  it("takes what is below a millisecond for nothing, and tells nothing of nothing", () => {
    expect(quantile(countOf([0, 0, 0.4]), 0.95)).toBe(0)
    expect(quantile({}, 0.5)).toBe(null)
  })
})

describe("activity", () => {
  it("puts every tally of its range into one bucket, and has a bucket for each step", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<ActivityRange>("1h", "6h", "24h", "7d"),
        fc.integer({ min: 0, max: 50 }),
        fc.nat(4_000_000_000_000),
        (range, n, now) => {
          const { ms, stepMs } = activityRanges[range]
          const { from, to, buckets, completed } = activityOf([], range, now)
          expect([to - from, buckets.length, completed]).toEqual([ms, ms / stepMs, 0])
          expect(to - now).toBeGreaterThan(0)
          expect(to - now).toBeLessThanOrEqual(stepMs)
          const minutes = Array.from({ length: n }, (_, i) => from + ((i * 7_919 * 60_000) % ms))
          const activity = activityOf(
            minutes.map((at) => tally(at, { failed: 2 })),
            range,
            now,
          )
          expect([activity.completed, activity.failed]).toEqual([n, 2 * n])
          expect(activity.buckets.reduce((sum, bucket) => sum + bucket.completed + bucket.failed, 0)).toBe(3 * n)
        },
      ),
    )
  })
})

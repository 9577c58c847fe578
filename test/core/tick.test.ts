import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { cronMoments, readCron } from "../../src/core/cron.ts"
import { limits } from "../../src/core/limits.ts"
import { type Due, loadOf } from "../../src/core/load.ts"
import {
  fireAt,
  type MissedPolicy,
  momentsOf,
  type OverlapPolicy,
  readPolicies,
  readRule,
  type SchedulePolicies,
} from "../../src/core/schedule.ts"
import { upcoming } from "../../src/core/schedule-input.ts"
import { decideTicks, type DecidedTick, type TickState } from "../../src/core/tick.ts"

const minute = 60_000
const t0 = Date.UTC(2026, 0, 1)
const everyMinute = momentsOf({ kind: "every", everyMs: minute, anchorAt: t0 }, { startAt: null, endAt: null })

function state(over: Partial<TickState> & { overlap?: OverlapPolicy; missed?: Partial<MissedPolicy> } = {}): TickState {
  const { overlap = "allow", missed = {}, ...rest } = over
  const policies: SchedulePolicies = { ...readPolicies({ overlap }, "t"), missed: { take: "latest", withinMs: null, cap: 1, ...missed } }
  return { id: "s", policies, lastTickAt: null, nextTickAt: t0 + minute, waitingAt: null, paused: null, ...rest }
}

const outcomes = (ticks: readonly DecidedTick[]): string[] => ticks.map(({ at, outcome }) => `${(at - t0) / minute} ${outcome}`)
const short = (over: Parameters<typeof state>[0], minutes: number, busy = false): string[] =>
  outcomes(decideTicks(state(over), everyMinute, busy, t0 + minutes * minute).ticks)

describe("missed moments", () => {
  it.each<[MissedPolicy, string[]]>([
    [{ take: "none", withinMs: null, cap: 1 }, ["1 skipped_late", "2 skipped_late", "3 skipped_late", "4 skipped_late"]],
    [{ take: "latest", withinMs: null, cap: 1 }, ["1 skipped_late", "2 skipped_late", "3 skipped_late", "4 caught_up"]],
    [{ take: "latest", withinMs: 10_000, cap: 1 }, ["1 skipped_late", "2 skipped_late", "3 skipped_late", "4 skipped_late"]],
    [{ take: "all", withinMs: null, cap: 100 }, ["1 caught_up", "2 caught_up", "3 caught_up", "4 caught_up"]],
    [{ take: "all", withinMs: null, cap: 2 }, ["1 skipped_late", "2 skipped_late", "3 caught_up", "4 caught_up"]],
    [{ take: "all", withinMs: 2 * minute, cap: 100 }, ["1 skipped_late", "2 skipped_late", "3 caught_up", "4 caught_up"]],
  ])("under %j", (missed, expected) => {
    expect(short({ missed }, 4.5)).toEqual(expected)
  })

  it("need no catching up when a newer one is on time", () => {
    expect(short({}, 3.1)).toEqual(["1 skipped_late", "2 skipped_late", "3 fired"])
    expect(short({ missed: { take: "none" } }, 3.1)).toEqual(["1 skipped_late", "2 skipped_late", "3 fired"])
  })

  it("pass while the schedule is paused, each of them recorded", () => {
    expect(short({ paused: "the schedule is paused", waitingAt: t0 }, 2.5)).toEqual(["0 paused", "1 paused", "2 paused"])
  })
})

describe("overlap", () => {
  it.each<[OverlapPolicy, boolean, string[]]>([
    ["allow", true, ["1 fired"]],
    ["skip", true, ["1 skipped_overlap"]],
    ["skip", false, ["1 fired"]],
    ["queue", true, []],
    ["queue", false, ["1 fired"]],
    ["cancel", true, ["1 fired"]],
  ])("%s, while the one before lives: %s", (overlap, busy, expected) => {
    expect(short({ overlap }, 1, busy)).toEqual(expected)
  })

  it("queue lets one wait, those after it pass, and it fires when the one before has ended", () => {
    const first = decideTicks(state({ overlap: "queue" }), everyMinute, true, t0 + minute)
    expect(first).toMatchObject({ ticks: [], waitingAt: t0 + minute, lastTickAt: t0 + minute, nextAt: t0 + minute + limits.restMs })
    const waiting = state({ overlap: "queue", waitingAt: t0 + minute, nextTickAt: t0 + 2 * minute })
    const second = decideTicks(waiting, everyMinute, true, t0 + 2 * minute)
    expect(outcomes(second.ticks)).toEqual(["2 skipped_overlap"])
    expect(second.waitingAt).toBe(t0 + minute)
    const third = decideTicks(waiting, everyMinute, false, t0 + 1.5 * minute)
    expect(third).toMatchObject({ ticks: [{ outcome: "fired", reason: "waited 30000 ms for the one before to end" }], waitingAt: null })
  })

  it("of moments that are due together lets one start, under every policy but allow", () => {
    const missed = { take: "all", withinMs: null, cap: 100 } as const
    expect(short({ overlap: "allow", missed }, 3)).toEqual(["1 caught_up", "2 caught_up", "3 fired"])
    expect(short({ overlap: "skip", missed }, 3)).toEqual(["1 caught_up", "2 skipped_overlap", "3 skipped_overlap"])
    expect(short({ overlap: "queue", missed }, 3)).toEqual(["1 caught_up", "3 skipped_overlap"])
    expect(short({ overlap: "cancel", missed }, 3)).toEqual(["1 skipped_overlap", "2 skipped_overlap", "3 fired"])
  })

  it("cancel cancels only what still lives", () => {
    expect(decideTicks(state({ overlap: "cancel" }), everyMinute, true, t0 + minute).cancels).toBe(true)
    expect(decideTicks(state({ overlap: "cancel" }), everyMinute, false, t0 + minute).cancels).toBe(false)
  })
})

describe("ticks", () => {
  it("are each decided once, whenever it is looked, and nothing is left out up to the bound", () => {
    const lines = ["* * * * *", "*/7 * * * *", "0 9 * * MON", "0 0 1 * *", "30 2 * * *"]
    const take = fc.constantFrom("none" as const, "latest" as const, "all" as const)
    const overlap = fc.constantFrom<OverlapPolicy>("allow", "skip", "queue", "cancel")
    fc.assert(
      fc.property(
        fc.constantFrom(...lines),
        take,
        overlap,
        fc.nat(3_600_000),
        fc.array(fc.record({ gap: fc.nat(5 * 3_600_000), busy: fc.boolean(), paused: fc.boolean() }), { minLength: 1, maxLength: 8 }),
        (line, missed, policy, jitterMs, looks) => {
          const moments = cronMoments(readCron({ cron: line, timezone: "Europe/Paris" }, "t"), "t")
          const policies = readPolicies({ overlap: policy, missed, jitter: jitterMs }, "t")
          let now = Date.UTC(2026, 2, 28)
          const begin = now
          let current: TickState = { id: "s", policies, lastTickAt: null, nextTickAt: moments.next(now), waitingAt: null, paused: null }
          const seen = new Map<number, string>()
          for (const { gap, busy, paused } of looks) {
            now += gap
            const decision = decideTicks({ ...current, paused: paused ? "by hand" : null }, moments, busy, now)
            for (const { at, outcome } of decision.ticks) {
              expect(seen.has(at)).toBe(false)
              expect(fireAt("s", at, jitterMs)).toBeLessThanOrEqual(now)
              seen.set(at, outcome)
            }
            expect(decision.lastTickAt ?? 0).toBeGreaterThanOrEqual(current.lastTickAt ?? 0)
            expect(decision.nextTickAt ?? 0).toBeGreaterThan(decision.lastTickAt ?? 0)
            expect(decision.nextAt ?? 0).toBeGreaterThan(now)
            current = { ...current, ...decision }
          }
          for (let at = moments.next(begin); at !== null && at <= (current.lastTickAt ?? 0); at = moments.next(at)) {
            expect(seen.has(at) || at === current.waitingAt).toBe(true)
          }
        },
      ),
      { numRuns: 150 },
    )
  })

  it("of a long absence are the newest ones, and the oldest of them says so", () => {
    const seconds = momentsOf({ kind: "every", everyMs: 1_000, anchorAt: 0 }, { startAt: null, endAt: null })
    const now = t0 + 365 * 86_400_000
    const { ticks, nextTickAt } = decideTicks(state({ nextTickAt: t0 }), seconds, false, now)
    expect(ticks).toHaveLength(limits.ticksPerLook)
    expect(ticks[0]?.reason).toContain("earlier missed moments are not listed")
    expect(ticks.filter(({ outcome }) => outcome === "fired")).toHaveLength(11)
    expect(nextTickAt).toBe(now + 1_000)
  })
})

describe("rules and policies", () => {
  it("count an interval from its start, or from when it was made", () => {
    expect(readRule({ every: "15m" }, null, 7, "t")).toEqual({ kind: "every", everyMs: 900_000, anchorAt: 7 })
    const anchored = readRule({ every: "1h" }, t0, 7, "t")
    const policies = { ...readPolicies({ start: t0, end: t0 + 7_200_000 }, "t") }
    const moments = momentsOf(anchored, policies)
    const found: number[] = []
    for (let at = moments.next(0); at !== null; at = moments.next(at)) found.push((at - t0) / 3_600_000)
    expect(found).toEqual([0, 1, 2])
  })

  it("spread moments by the same jitter each time, below the bound", () => {
    const late = Array.from({ length: 1_000 }, (_, i) => fireAt(`user-${i}`, t0, 60_000) - t0)
    expect(Math.max(...late)).toBeLessThan(60_000)
    expect(new Set(late).size).toBeGreaterThan(900)
    expect(Array.from({ length: 1_000 }, (_, i) => fireAt(`user-${i}`, t0, 60_000) - t0)).toEqual(late)
  })

  it.each([
    [{ every: "0s" }, "t.every"],
    [{ every: 500 }, "t.every"],
    [{ every: "400d" }, "t.every"],
    [{ every: "1h", cron: "* * * * *" }, "t"],
    [{}, "t"],
    [{ at: "soon" }, "t.at"],
    [{ at: 5 }, "t.at"],
    [{ every: "1h", timezone: "UTC" }, "t.timezone"],
  ])("refuse the rule %j", (input, field) => {
    expect(() => readRule(input as never, null, 0, "t")).toThrow(expect.objectContaining({ field }))
  })

  it.each([
    [{ overlap: "never" }, "t.overlap"],
    [{ missed: "some" }, "t.missed"],
    [{ missed: { take: "all", cap: 0 } }, "t.missed.cap"],
    [{ missed: { take: "all", cap: 5_000 } }, "t.missed.cap"],
    [{ missed: { take: "all", until: 1 } }, "t.missed.until"],
    [{ jitter: "2h" }, "t.jitter"],
    [{ start: "2026-02-01", end: "2026-01-01" }, "t.end"],
  ])("refuse the policies %j", (input, field) => {
    expect(() => readPolicies(input as never, "t")).toThrow(expect.objectContaining({ field }))
  })

  it("say what changes of the clocks do to the next moments", () => {
    const preview = (cron: string, from: string): unknown[] => {
      const rule = { kind: "cron", ...readCron({ cron, timezone: "Europe/Paris", dst: { repeat: "both" } }, "t") } as const
      const policies = readPolicies({}, "t")
      const now = Date.parse(from)
      return upcoming({ id: "s", rule, policies, nextTickAt: momentsOf(rule, policies).next(now) }, now, 3).map(({ local, note }) => [
        local,
        note,
      ])
    }
    expect(preview("30 2 * * *", "2026-03-28T00:00:00Z")).toEqual([
      ["2026-03-28T02:30:00+01:00", null],
      ["2026-03-29T03:30:00+02:00", expect.stringContaining("what they skip at 02:30:00 fires now")],
      ["2026-03-30T02:30:00+02:00", null],
    ])
    expect(preview("30 2 * * *", "2026-10-24T12:00:00Z")).toEqual([
      ["2026-10-25T02:30:00+02:00", expect.stringContaining("comes once more")],
      ["2026-10-25T02:30:00+01:00", expect.stringContaining("a second time")],
      ["2026-10-26T02:30:00+01:00", null],
    ])
  })
})

describe("the load of the next 24 h", () => {
  const policies = readPolicies({}, "t")
  const now = t0 + 5 * minute
  const cron = (line: string): Due["rule"] => ({ kind: "cron", ...readCron({ cron: line }, "t") })
  const ticksOf = (due: readonly Due[]): number[] => loadOf(due, now, true).buckets.map(({ ticks }) => ticks)

  it("counts what comes, from now on, by the quarter of an hour", () => {
    const daily = Array.from({ length: 7 }, (_, i) => ({ id: `d${i}`, rule: cron("0 3 * * *"), policies, weight: 1 }))
    const load = loadOf([...daily, { id: "five", rule: cron("*/5 * * * *"), policies, weight: 1 }], now, true)
    expect(load).toMatchObject({ from: t0, exact: true })
    expect(load.buckets.map(({ ticks }) => ticks)).toEqual(Array.from({ length: 96 }, (_, i) => (i === 0 ? 2 : i === 12 ? 10 : 3)))
    expect(load.buckets[12]?.schedules).toEqual(["d0", "d1", "d2"])
  })

  it("spreads what a jitter spreads", () => {
    const some = Array.from({ length: 400 }, (_, i) => ({
      id: `j${i}`,
      rule: cron("0 3 * * *"),
      policies: { ...policies, jitterMs: 60 * minute },
      weight: 1,
    }))
    const ticks = ticksOf(some)
    expect(ticks.slice(12, 16).every((n) => n > 60 && n < 140)).toBe(true)
    expect(ticks.reduce((a, b) => a + b)).toBe(400)
  })

  it("takes a rule with more moments than it works out to go on as before, however many there are", () => {
    const seconds = Array.from({ length: 5_000 }, (_, i) => ({
      id: `s${i}`,
      rule: { kind: "every" as const, everyMs: 1_000, anchorAt: t0 + i },
      policies,
      weight: 1,
    }))
    const one = loadOf(seconds.slice(0, 1), now, true)
    expect(one.exact).toBe(false)
    expect(one.buckets.slice(1).every(({ ticks }) => ticks === 900)).toBe(true)
    const began = performance.now()
    loadOf(seconds, now, true)
    expect(performance.now() - began).toBeLessThan(2_000)
  })
})

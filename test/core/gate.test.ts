import fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  checkRules,
  decideGate,
  entered,
  type Gate,
  gateClaims,
  gatedBy,
  gateRoom,
  left,
  placesOf,
  settleRules,
} from "../../src/core/gate.ts"
import { progressOf } from "../../src/core/progress.ts"
import { shareOf } from "../../src/core/share.ts"

const counts = (completed: number, failed: number, cancelled = 0, total = 100, sealed = true) => ({
  completed,
  failed,
  cancelled,
  total,
  sealed,
})
const gate = (over: Partial<Gate> = {}): Gate => ({
  rules: { canary: 10, breaker: { share: 0.1, count: null, min: 20 } },
  phase: "canary",
  paused: false,
  base: { ended: 0, failed: 0 },
  ...over,
})
const open = (over: Partial<Gate> = {}): Gate => gate({ phase: "open", ...over })

describe("a gate", () => {
  it.each([
    ["waits for its first runs", gate(), counts(9, 0), null],
    ["opens when they have completed", gate(), counts(10, 0), { to: "open" }],
    ["opens when they have ended without a failure", gate(), counts(9, 0, 1), { to: "open" }],
    ["is shut by the first failure", gate(), counts(3, 1), { to: "paused", reason: "canary: 1 of the first 10 runs failed" }],
    ["needs no more first runs than there are", gate(), counts(5, 0, 0, 6), null],
    ["knows that more may come", gate(), counts(5, 0, 0, 5, false), null],
    ["leaves a fan-out that has ended alone", gate(), counts(5, 1, 0, 6), null],
    ["does not move while it is paused", gate({ paused: true }), counts(10, 0), null],
    ["lets a breaker wait for its minimum", open(), counts(0, 19), null],
    ["is shut above the share", open(), counts(17, 3), { to: "paused", reason: "breaker: 3 of 20 runs failed" }],
    ["stays open at the share", open(), counts(18, 2), null],
    ["counts from its base", open({ base: { ended: 30, failed: 30 } }), counts(19, 31), null],
    [
      "counts from its base on",
      open({ base: { ended: 30, failed: 30 } }),
      counts(17, 33),
      { to: "paused", reason: "breaker: 3 of 20 runs failed" },
    ],
    ["without a breaker stays open", open({ rules: { canary: 1, breaker: null } }), counts(1, 90), null],
    [
      "counts failures one by one",
      open({ rules: { canary: 0, breaker: { share: null, count: 2, min: 1 } } }),
      counts(50, 2),
      { to: "paused", reason: "breaker: 2 of 52 runs failed" },
    ],
  ])("%s", (_, before, now, move) => {
    expect(decideGate(before, now)).toEqual(move)
  })

  it("has room for its window while a breaker watches, for all without one, for none while it is shut", () => {
    const [outside, inside] = gateClaims("fan_1")
    expect([gatedBy(outside.key), gatedBy(inside.key), gatedBy("fn:x")]).toEqual(["fan_1", "fan_1", null])
    expect(gateRoom(outside.key, open())).toBe(500)
    expect(gateRoom(inside.key, open())).toBe(Number.POSITIVE_INFINITY)
    expect(gateRoom(outside.key, open({ rules: { canary: 1, breaker: null } }))).toBe(Number.POSITIVE_INFINITY)
    for (const shut of [gate(), open({ paused: true })]) for (const { key } of [outside, inside]) expect(gateRoom(key, shut)).toBe(0)
  })

  it("gives each run one place, from its first start to its end", () => {
    const own = { key: "fn:x", max: 3 }
    const [outside, inside] = gateClaims("fan_1")
    expect(placesOf([outside, own])).toEqual([outside, own])
    expect(entered([outside, own])).toEqual([inside, own])
    expect(entered(entered([outside, own]))).toEqual([inside, own])
    expect(placesOf([inside, own])).toEqual([own])
    expect(left([inside, own])).toEqual([outside, own])
    for (const plain of [[], [own]]) for (const map of [placesOf, entered, left]) expect(map(plain)).toBe(plain)
  })

  it("never lets more fail than the breaker allows, its minimum and what is under way", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.boolean(), { maxLength: 300 }),
        (share, min, ends) => {
          const rules = { canary: 0, breaker: { share, count: null, min } }
          let completed = 0
          let failed = 0
          for (const good of ends) {
            if (good) completed++
            else failed++
            if (decideGate(open({ rules }), counts(completed, failed, 0, 1_000)) !== null) break
            expect(failed).toBeLessThanOrEqual(Math.max(min - 1, share * (completed + failed)))
          }
        },
      ),
    )
  })
})

describe("rules", () => {
  it("become numbers when the number of events is known", () => {
    const checked = checkRules({ canary: "1%", breaker: { failures: "5%" }, spread: "10s" })
    expect(checked).toMatchObject({ canary: { share: 0.01 }, breaker: { share: 0.05, count: null, min: 100 }, spreadMs: 10_000 })
    if (checked === null) throw new Error("rules expected")
    expect(settleRules(checked, 1_000)).toMatchObject({ gate: { canary: 10 }, eventGapMs: 10, runGapMs: 0 })
    expect(settleRules(checked, 5).gate).toMatchObject({ canary: 1 })
    expect(() => settleRules(checked, null)).toThrow(/canary/)
    expect(checkRules({})).toBeNull()
    expect(() => checkRules({ canari: 5 } as never)).toThrow(/no rule "canari"/)
  })

  it.each([
    ["5%", 0.05],
    ["0%", 0],
    ["100%", 1],
    ["0.5%", 0.005],
    ["101%", null],
    ["-1%", null],
    ["%", null],
    ["5", null],
    [5, null],
  ])("read the share %j as %j", (text, share) => {
    expect(shareOf(text)).toEqual(share)
  })
})

describe("progress", () => {
  const pace = { firstStartAt: 1_000, lastEndAt: 5_000, paused: false, cancelling: false, since: null, endedBefore: 0 }
  it.each([
    [
      "nothing has begun",
      { ...pace, ...counts(0, 0), firstStartAt: null, lastEndAt: null },
      { state: "running", ratePerSecond: 0, etaMs: null },
    ],
    ["half has ended", { ...pace, ...counts(40, 10) }, { state: "running", ratePerSecond: 10, etaMs: 5_000 }],
    ["it is paused", { ...pace, ...counts(40, 10), paused: true }, { state: "paused", ratePerSecond: 10, etaMs: null }],
    ["more is to come", { ...pace, ...counts(40, 10, 0, 100, false) }, { state: "running", ratePerSecond: 10, etaMs: null }],
    ["it is being cancelled", { ...pace, ...counts(40, 0, 10), cancelling: true }, { state: "cancelling", etaMs: 5_000 }],
    ["all has ended", { ...pace, ...counts(100, 0), cancelling: true }, { state: "ended", ratePerSecond: 25, etaMs: 0 }],
    ["it was retried", { ...pace, ...counts(90, 0), since: 5_000, endedBefore: 80 }, { state: "running", ratePerSecond: 10, etaMs: 1_000 }],
    [
      "there is nothing",
      { ...pace, ...counts(0, 0, 0, 0), firstStartAt: null, lastEndAt: null },
      { state: "ended", ratePerSecond: 0, etaMs: 0 },
    ],
  ])("when %s", (_, stands, told) => {
    expect(progressOf(stands, 6_000)).toMatchObject(told)
  })
})

import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { advance, type AttemptFacts } from "../../src/core/advance.ts"
import { limits } from "../../src/core/limits.ts"
import type { Outcome } from "../../src/core/outcome.ts"
import { finalStates, moves, type ClaimedRun, type RunState } from "../../src/core/run.ts"

const run: ClaimedRun = {
  id: "run_1",
  functionId: "app-f",
  attempt: 1,
  fence: 1,
  losses: 0,
  rank: 0,
  fanoutId: null,
  createdAt: 0,
  claimedAt: 0,
  event: { id: "evt_1", name: "app/go", data: "{}", ts: 0 },
  limits: [],
  logLines: 0,
}
const facts: AttemptFacts = { startedAt: 1_000, endedAt: 2_000, progressed: false, random: 0 }
const failure = { name: "Error", message: "no" }

const arbitraryOutcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({ kind: fc.constant("completed" as const), output: fc.json() }),
  fc.record({
    kind: fc.constant("parked" as const),
    dueAt: fc.nat(10_000),
    for: fc.constantFrom("wait" as const, "retry" as const),
    joins: fc.constant([]),
  }),
  fc.record({
    kind: fc.constant("failed" as const),
    failure: fc.constant(failure),
    retry: fc.oneof(fc.constant("policy" as const), fc.constant("never" as const), fc.record({ at: fc.nat(10_000) })),
  }),
  fc.record({ kind: fc.constant("lost" as const), reason: fc.string() }),
  fc.constant({ kind: "returned" as const }),
)
const arbitraryRun = fc.record({ attempt: fc.integer({ min: 1, max: 25 }), losses: fc.nat(10), fence: fc.integer({ min: 1, max: 100 }) })
const arbitraryFacts = fc.record({ progressed: fc.boolean(), random: fc.double({ min: 0, max: 0.999, noNaN: true }) })

function settlementOf(outcome: Outcome, over: Partial<ClaimedRun> = {}, retries = 4, more: Partial<AttemptFacts> = {}) {
  const settle = advance({ ...run, ...over }, outcome, { retries }, { ...facts, ...more }).find((change) => change.kind === "run.settle")
  if (settle === undefined) throw new Error("no settlement")
  return { ...settle.settlement, attempt: settle.attempt }
}

describe("advance", () => {
  const table: readonly [string, Outcome, Partial<ClaimedRun>, Partial<AttemptFacts>, object][] = [
    ["completed", { kind: "completed", output: "1" }, {}, {}, { to: "completed", output: "1", attempt: 1 }],
    ["failed first", { kind: "failed", failure, retry: "policy" }, {}, {}, { to: "scheduled", dueAt: 3_000, attempt: 1 }],
    ["failed third", { kind: "failed", failure, retry: "policy" }, { attempt: 3 }, {}, { to: "scheduled", dueAt: 32_000, attempt: 3 }],
    [
      "failed after progress",
      { kind: "failed", failure, retry: "policy" },
      { attempt: 5 },
      { progressed: true },
      { to: "scheduled", dueAt: 3_000, attempt: 1 },
    ],
    ["failed last", { kind: "failed", failure, retry: "policy" }, { attempt: 5 }, {}, { to: "failed", attempt: 5 }],
    ["failed for good", { kind: "failed", failure, retry: "never" }, {}, {}, { to: "failed", attempt: 1 }],
    ["failed with a wish", { kind: "failed", failure, retry: { at: 9_000 } }, {}, {}, { to: "scheduled", dueAt: 9_000 }],
    ["failed with a wish in the past", { kind: "failed", failure, retry: { at: 1 } }, {}, {}, { to: "ready", dueAt: 2_000 }],
    ["sleeps", { kind: "parked", dueAt: 9_000, for: "wait", joins: [] }, { attempt: 3 }, {}, { to: "waiting", dueAt: 9_000, attempt: 0 }],
    [
      "waits for a step's retry",
      { kind: "parked", dueAt: 9_000, for: "retry", joins: [] },
      { attempt: 3 },
      {},
      { to: "scheduled", dueAt: 9_000, attempt: 2 },
    ],
    ["parked, and due by now", { kind: "parked", dueAt: 5, for: "wait", joins: [] }, {}, {}, { to: "ready", dueAt: 2_000 }],
    ["lost once", { kind: "lost", reason: "x" }, {}, {}, { to: "ready", attempt: 0, losses: 1, limits: [] }],
    [
      "lost twice",
      { kind: "lost", reason: "x" },
      { losses: 1 },
      {},
      { to: "ready", attempt: 1, losses: 2, limits: [{ key: "suspects:16", max: 16 }] },
    ],
    [
      "lost with one attempt left after this one",
      { kind: "lost", reason: "x" },
      {
        losses: 2,
        attempt: 3,
        limits: [
          { key: "mine", max: 9 },
          { key: "suspects:16", max: 16 },
        ],
      },
      {},
      {
        to: "ready",
        attempt: 3,
        losses: 3,
        limits: [
          { key: "mine", max: 9 },
          { key: "suspects:4", max: 4 },
        ],
      },
    ],
    [
      "lost with its last attempt left: that one runs alone",
      { kind: "lost", reason: "x" },
      { losses: 3, attempt: 4 },
      {},
      { to: "ready", attempt: 4, losses: 4, limits: [{ key: "suspects:1", max: 1 }] },
    ],
    [
      "lost after progress",
      { kind: "lost", reason: "x" },
      { losses: 5, attempt: 5 },
      { progressed: true },
      { to: "ready", attempt: 0, losses: 1 },
    ],
    ["lost too often", { kind: "lost", reason: "x" }, { losses: 3, attempt: 5 }, {}, { to: "failed" }],
    ["returned", { kind: "returned" }, { attempt: 2, losses: 1 }, {}, { to: "ready", attempt: 1, losses: 1 }],
    [
      "returned as a suspect",
      { kind: "returned" },
      { attempt: 2, losses: 2, limits: [{ key: "suspects:4", max: 4 }] },
      {},
      { to: "ready", attempt: 1, losses: 2, limits: [{ key: "suspects:4", max: 4 }] },
    ],
    [
      "failed as a suspect: it is none any more",
      { kind: "failed", failure, retry: { at: 9_000 } },
      { limits: [{ key: "suspects:4", max: 4 }] },
      {},
      { to: "scheduled", limits: [] },
    ],
  ]
  it.each(table)("%s", (_, outcome, over, more, expected) => {
    expect(settlementOf(outcome, over, 4, more)).toMatchObject(expected)
  })

  it("writes nothing for a run that another claim took over", () => {
    expect(advance(run, { kind: "superseded" }, { retries: 4 }, facts)).toEqual([])
  })

  it("only makes moves that the table of states allows", () => {
    fc.assert(
      fc.property(arbitraryOutcome, arbitraryRun, arbitraryFacts, fc.nat(20), (outcome, over, more, retries) => {
        expect(moves.running).toContain(settlementOf(outcome, over, retries, more).to)
      }),
    )
  })

  it("ends every run: one that always fails or always loses its node is tried a bounded number of times", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("failed", "lost"), { minLength: 60, maxLength: 60 }), fc.nat(20), (kinds, retries) => {
        let state: RunState = "ready"
        let current = { ...run, attempt: 0 }
        let claims = 0
        for (const kind of kinds) {
          claims++
          current = { ...current, attempt: current.attempt + 1, fence: current.fence + 1 }
          const outcome: Outcome = kind === "lost" ? { kind: "lost", reason: "x" } : { kind: "failed", failure, retry: "policy" }
          const next = settlementOf(outcome, current, retries)
          state = next.to
          if (state === "failed") break
          current = { ...current, attempt: next.attempt, losses: "losses" in next ? next.losses : 0 }
        }
        expect(state).toBe("failed")
        // Each loss that follows a failure is the first in its row: free again.
        expect(claims).toBeLessThanOrEqual(2 * (retries + 2))
      }),
    )
  })

  it("never retries before the table says, nor later than with all its jitter", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
        const settled = settlementOf({ kind: "failed", failure, retry: "policy" }, { attempt }, 20, { random })
        const base = limits.retryDelaysMs[Math.min(attempt, limits.retryDelaysMs.length) - 1] ?? 0
        const delay = "dueAt" in settled ? settled.dueAt - facts.endedAt : 0
        expect(delay).toBeGreaterThanOrEqual(base)
        expect(delay).toBeLessThanOrEqual(base * (1 + limits.retryJitter))
      }),
    )
  })

  it("leads from no final state back by itself", () => {
    for (const state of finalStates) expect(moves[state].filter((to) => to !== "ready")).toEqual([])
  })
})

import { describe, expect, it } from "vitest"
import type { Unit } from "../../src/core/change.ts"
import type { Store } from "../../src/store/store.ts"
import { simulate } from "./simulate.ts"

/** Seeds that found a bug once. They stay. */
const regressions = [7, 16, 48, 59, 61, 233]

describe("simulation", () => {
  it("keeps every promise over 400 seeds, and meets every fault at every command", { timeout: 120_000 }, async () => {
    const coverage = new Set<string>()
    let deaths = 0
    for (let seed = 1; seed <= 400; seed++) {
      const result = await simulate(seed)
      expect(result.violations, `seed ${seed}: npm run simulate -- --replay ${seed}`).toEqual([])
      deaths += result.crashes
      for (const pair of result.coverage.keys()) coverage.add(pair)
    }
    expect(deaths).toBeGreaterThan(500)
    for (const command of ["turn", "wake", "lost", "pulse", "dueSchedules", "releaseMissed"]) {
      for (const fault of ["none", "slow", "refused", "crash-before", "crash-after"]) expect(coverage).toContain(`${command} ${fault}`)
    }
  })

  it("keeps every promise on the seeds that once broke one", { timeout: 60_000 }, async () => {
    for (const seed of regressions) expect((await simulate(seed)).violations, `seed ${seed}`).toEqual([])
  })

  it("replays a seed exactly", { timeout: 60_000 }, async () => {
    for (let seed = 1; seed <= 10; seed++) expect((await simulate(seed)).trace).toEqual((await simulate(seed)).trace)
  })
})

/** Deliberate bugs. One that no seed finds would mean that a check is missing. */
const mutants: Readonly<Record<string, (store: Store) => Store>> = {
  "writes of an old claim are let through": (store) => changeUnits(store, (unit) => ({ ...unit, guard: null })),
  "an event's id is forgotten": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) => (change.kind === "event.add" ? { ...change, event: { ...change.event, key: null } } : change)),
    })),
  "a send is not kept with its events": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.filter((change) => !(change.kind === "step.save" && change.step.kind === "send")),
    })),
  "a finished step is not kept": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.filter((change) => !(change.kind === "step.save" && change.step.kind === "run")),
    })),
  "a moment of a schedule is not recorded": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.filter(({ kind }) => kind !== "tick.add" && kind !== "schedule.move"),
    })),
  "a send is acknowledged before it is durable": (store) => ({
    ...store,
    turn: async (request) => {
      const sends = request.units.every(({ guard }) => guard === null)
      if (!sends || request.units.length === 0 || request.claim !== null) return store.turn(request)
      return {
        results: request.units.map(() => ({ kind: "applied", duplicates: null })),
        claim: null,
        timerAt: null,
        left: 0,
        ended: 0,
        cancelled: [],
        now: Number.NaN,
      }
    },
  }),
  "runs of dead nodes are not taken over": (store) => ({ ...store, lost: async () => [] }),
  "an ended run is not counted in its fan-out": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) =>
        change.kind === "run.settle" ? { ...change, run: { ...change.run, fanoutId: null } } : change,
      ),
    })),
  "what holds a run back is forgotten": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) => (change.kind === "run.add" ? { ...change, run: { ...change.run, limits: [] } } : change)),
    })),
  "a gate is left open": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) => {
        if (change.kind !== "run.add") return change
        const { gates: _, ...run } = change.run
        return { ...change, run }
      }),
    })),
  "a retry does not wait": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) =>
        change.kind === "run.settle" && change.settlement.to === "scheduled"
          ? { ...change, settlement: { ...change.settlement, to: "ready" as const, dueAt: change.endedAt } }
          : change,
      ),
    })),
}

describe("simulation finds", () => {
  it.each(Object.entries(mutants))("%s", { timeout: 120_000 }, async (_, mutate) => {
    let found = 0
    for (let seed = 1; seed <= 150 && found === 0; seed++) if ((await simulate(seed, mutate)).violations.length > 0) found = seed
    expect(found).toBeGreaterThan(0)
  })
})

function changeUnits(store: Store, change: (unit: Unit) => Unit): Store {
  return { ...store, turn: (request) => store.turn({ ...request, units: request.units.map(change) }) }
}

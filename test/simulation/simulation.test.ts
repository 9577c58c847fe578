import { describe, expect, it } from "vitest"
import { findMutant, mutants } from "./mutants.ts"
import { simulate } from "./simulate.ts"

describe("simulation", () => {
  it("keeps every promise over 600 seeds, and meets every fault at every command", { timeout: 120_000 }, async () => {
    const coverage = new Set<string>()
    let deaths = 0
    for (let seed = 1; seed <= 600; seed++) {
      const result = await simulate(seed)
      expect(result.violations, `seed ${seed}: npm run simulate -- --replay ${seed}`).toEqual([])
      deaths += result.crashes
      for (const pair of result.coverage.keys()) coverage.add(pair)
    }
    expect(deaths).toBeGreaterThan(600)
    for (const command of ["turn", "wake", "lost", "pulse", "tick", "releaseMissed"]) {
      for (const fault of ["none", "slow", "refused", "crash-before", "crash-after"]) expect(coverage).toContain(`${command} ${fault}`)
    }
    // What people ask is asked less often.
    for (const command of ["upsertSchedules", "backfill"]) {
      expect([...coverage].filter((pair) => pair.startsWith(`${command} `)).length, command).toBeGreaterThanOrEqual(3)
    }
  })

  it("replays a seed exactly", { timeout: 60_000 }, async () => {
    for (let seed = 1; seed <= 10; seed++) expect((await simulate(seed)).trace).toEqual((await simulate(seed)).trace)
  })
})

describe("simulation finds", () => {
  it.each(Object.entries(mutants))("%s", { timeout: 240_000 }, async (_, mutate) => {
    expect(await findMutant(mutate, 300)).not.toBeNull()
  })
})

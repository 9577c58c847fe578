import { describe, expect, it } from "vitest"
import { fuzz } from "./fuzz.ts"

describe("a server that gets whatever anybody sends", () => {
  it("answers none of it with a fault of ours, and lives", { timeout: 60_000 }, async () => {
    // The long form is npm run fuzz:http: a million inputs, any seed.
    const { inputs, answers, faults } = await fuzz(20_261_125, 3_000)
    expect(faults).toEqual([])
    expect(inputs).toBeGreaterThanOrEqual(3_000)
    // It gets far enough for the fuzzing to mean something.
    for (const status of ["200", "400", "401", "403", "404"]) expect([status, (answers[status] ?? 0) > 20]).toEqual([status, true])
  })
})

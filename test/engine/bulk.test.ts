import { describe, expect, it } from "vitest"
import { harness, start } from "./started.ts"

const go = [{ event: "t/go" }] as const

describe("bulk operations", () => {
  it("retry what failed like this, across functions, and stop where somebody says so", async () => {
    let broken = true
    const app = await start((app) => {
      for (const id of ["f", "g"]) {
        app.createFunction({ id, triggers: go, retries: 0 }, ({ event }) => {
          if (broken) throw new Error(Number(event.data["i"]) % 2 === 0 ? "even" : "odd")
        })
      }
    })
    const { fanoutId } = await app.send(Array.from({ length: 1_200 }, (_, i) => ({ name: "t/go", data: { i } })))
    await harness.advance("1m")
    const failed = await app.runs.list({ state: "failed", limit: 1 })
    expect(failed.items).toHaveLength(1)
    const groups = await app.fanouts.failures(fanoutId ?? "")
    const even = groups.find(({ fingerprint }) => fingerprint.startsWith("Error: even"))?.fingerprint ?? ""
    const filter = { state: "failed", fingerprint: even } as const
    expect(await app.runs.count(filter)).toBe(1_200)
    expect(await app.runs.count({ ...filter, functionId: "f", fanoutId: fanoutId ?? "" })).toBe(600)
    expect(await app.runs.count({ ...filter, fanoutId: "fan_none" })).toBe(0)
    const stopped = await app.runs.bulk("retry", { ...filter, functionId: "f" })
    expect(await app.runs.stop(stopped.id)).toMatchObject({ state: "stopped", filter: { ...filter, functionId: "t-f" } })
    broken = false
    await harness.advance("1m")
    const { affected } = await app.fanouts.operation(stopped.id)
    expect(affected).toBeLessThan(600)
    const retried = await app.runs.bulk("retry", filter)
    await harness.advance("1m")
    expect(await app.fanouts.operation(retried.id)).toMatchObject({ state: "done", affected: 1_200 - affected })
    expect(await app.runs.count({ state: "failed" })).toBe(1_200)
    await expect(app.runs.bulk("retry", { fingerprint: even })).rejects.toMatchObject({ field: "fingerprint" })
  })
})

import { describe, expect, it } from "vitest"
import type { Tally } from "../../src/core/activity.ts"
import type { Unit } from "../../src/core/change.ts"
import { createTallier } from "../../src/engine/tallier.ts"
import { Telemetry } from "../../src/engine/telemetry.ts"
import { Fanfare } from "../../src/index.ts"
import { createHarness } from "../../src/testing/harness.ts"

describe("the tallier", () => {
  it("writes what has changed, anew for each minute, and keeps what could not be written", async () => {
    let now = 60_000
    let broken = false
    const written: Tally[][] = []
    const telemetry = new Telemetry()
    const submit = async ({ changes }: Unit): Promise<{ kind: "applied"; duplicates: null }> => {
      if (broken) throw new Error("the store is away")
      written.push(changes.flatMap((change) => (change.kind === "tally.put" ? change.tallies : [])))
      return { kind: "applied", duplicates: null }
    }
    const agent = createTallier({ committer: { submit }, telemetry, clock: { now: () => now }, nodeId: "node_a", restMs: 2_000 })
    const end = (state: "completed" | "failed"): void =>
      telemetry.emit({
        name: "run.ended",
        runId: "r",
        functionId: "f",
        state,
        attempt: 1,
        ms: 5,
        delayMs: 3,
        failure: null,
        fanoutId: null,
      })
    expect(await agent.tick()).toBe(2_000)
    expect(written).toEqual([])
    end("completed")
    end("failed")
    await agent.tick()
    expect(written.at(-1)).toMatchObject([
      { functionId: "", at: 60_000, completed: 1, failed: 1 },
      { functionId: "f", at: 60_000, completed: 1, failed: 1, nodeId: "node_a" },
    ])
    end("completed")
    broken = true
    await expect(agent.tick()).rejects.toThrow("away")
    broken = false
    now = 125_000
    end("completed")
    await agent.tick()
    expect(
      written
        .at(-1)
        ?.map(({ functionId, at, completed }) => [functionId, at, completed])
        .toSorted((a, b) => Number(a[1]) - Number(b[1])),
    ).toEqual([
      ["", 60_000, 2],
      ["f", 60_000, 2],
      ["", 120_000, 1],
      ["f", 120_000, 1],
    ])
    await agent.tick()
    expect(written).toHaveLength(2)
  })

  it("is told how long a run waited for its first attempt, and of no other", async () => {
    const app = new Fanfare({ id: "app" })
    app.createFunction({ id: "f", triggers: [{ event: "go" }] }, ({ attempt }) => {
      if (attempt === 0) throw new Error("once")
    })
    app.createFunction({ id: "g", triggers: [{ event: "go" }] }, () => null)
    const harness = await createHarness({ client: app })
    const delays: (number | null)[] = []
    harness.listen((fact) => fact.name === "run.ended" && delays.push(fact.delayMs))
    await app.send({ name: "go" })
    await harness.advance("10s")
    expect(delays).toEqual([0, null])
    await harness.close()
  })
})

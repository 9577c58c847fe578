import { afterEach, describe, expect, it } from "vitest"
import { Fanfare, RetryAfterError } from "../../src/index.ts"
import { createHarness, type Harness } from "../../src/testing/harness.ts"

let harness: Harness
afterEach(() => harness.close())

describe("back-off", () => {
  it.each([
    [
      ["1s", "1m"],
      [1_000, 60_000, 60_000],
    ],
    [{ type: "fixed", base: "10s" }, [10_000, 10_000, 10_000]],
    [{ type: "exponential", base: "1s", max: "3s" }, [1_000, 2_000, 3_000]],
  ] as const)("%j", async (backoff, delays) => {
    const app = new Fanfare({ id: "app" })
    const at: number[] = []
    app.createFunction({ id: "f", triggers: [{ event: "f/go" }], retries: 3, backoff }, () => {
      at.push(harness.now())
      throw new Error("no")
    })
    harness = await createHarness({ client: app })
    await app.send({ name: "f/go" })
    await harness.advance("10m")
    expect(at).toHaveLength(4)
    for (const [i, delay] of delays.entries()) {
      const took = (at[i + 1] ?? 0) - (at[i] ?? 0)
      expect(took).toBeGreaterThanOrEqual(delay)
      expect(took).toBeLessThanOrEqual(delay * 1.5 + 1)
    }
  })

  it.each([false, true])("of one run is one for all that share the limit it names (from a step: %s)", async (inStep) => {
    const app = new Fanfare({ id: "app" })
    const seen: [string, number][] = []
    let asked = 0
    for (const id of ["f", "g"]) {
      app.createFunction({ id, triggers: [{ event: `${id}/go` }], concurrency: { limit: 5, scope: "env", key: "'chat'" } }, ({ step }) => {
        seen.push([id, harness.now()])
        // Once from a step, once from the handler.
        const slow = (): never => {
          throw new RetryAfterError("slow down", "30s", { limit: "chat" })
        }
        const ask = (): string => (id === "f" && asked++ === 0 ? slow() : "answer")
        return inStep ? step.run("ask", ask) : ask()
      })
    }
    harness = await createHarness({ client: app })
    const from = harness.now()
    await app.send({ name: "f/go" })
    await harness.settle()
    await app.send({ name: "g/go" })
    await harness.settle()
    expect((await harness.runs({ state: "waiting" }))[0]?.reason).toBe(
      "the limit env:chat is at rest until 2026-01-01T00:00:30.000Z, as one of its runs asked",
    )
    await harness.advance("1m")
    expect(seen.map(([id, at]) => [id, at - from])).toEqual([
      ["f", 0],
      ["g", 30_000],
      ["f", 30_000],
    ])
  })
})

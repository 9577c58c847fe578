import { afterEach, describe, expect, it } from "vitest"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
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

  it("of a service that answers 429 to step.fetch is one for all that share the limit it is given", async () => {
    const asked: string[] = []
    const service = createServer((request, response) => {
      asked.push(request.url ?? "")
      const busy = asked.length === 1
      response.writeHead(busy ? 429 : 200, busy ? { "retry-after": "30" } : {}).end("tea")
    })
    await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve))
    const { port } = service.address() as AddressInfo
    const app = new Fanfare({ id: "app" })
    const concurrency = { limit: 5, scope: "env", key: "'tea'" } as const
    for (const id of ["f", "g"]) {
      app.createFunction({ id, triggers: [{ event: `${id}/go` }], concurrency }, async ({ step }) => {
        const { status } = await step.fetch("tea", `http://127.0.0.1:${port}/${id}`, { limit: "tea" })
        return status
      })
    }
    harness = await createHarness({ client: app })
    await app.send({ name: "f/go" })
    await harness.settle()
    await app.send({ name: "g/go" })
    await harness.settle()
    expect((await harness.runs({ state: "waiting" })).map(({ reason }) => reason)).toEqual([
      "the limit env:tea is at rest until 2026-01-01T00:00:30.000Z, as one of its runs asked",
    ])
    expect(asked).toEqual(["/f"])
    await harness.advance("31s")
    expect((await harness.runs()).map(({ state }) => state)).toEqual(["completed", "completed"])
    expect(asked.toSorted()).toEqual(["/f", "/f", "/g"])
    service.close()
  })

  it("of a Fanfare server that is busy holds a step as long as it says", async () => {
    const at: number[] = []
    const service = createServer((_, response) => {
      response.writeHead(503, { "retry-after": "40" }).end("{}")
    })
    await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve))
    const { port } = service.address() as AddressInfo
    const elsewhere = new Fanfare({ id: "elsewhere", url: `http://127.0.0.1:${port}` })
    const app = new Fanfare({ id: "app" })
    app.createFunction({ id: "f", triggers: [{ event: "f/go" }], retries: 1 }, ({ step }) =>
      step.run("ask", () => {
        at.push(harness.now())
        return elsewhere.runs.list()
      }),
    )
    harness = await createHarness({ client: app })
    await app.send({ name: "f/go" })
    await harness.advance("1m")
    expect(at).toHaveLength(2)
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBe(40_000)
    service.close()
  })
})

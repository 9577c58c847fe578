import { afterEach, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { createHarness, type Harness } from "../../src/testing.ts"

let harness: Harness | null = null
afterEach(async () => {
  await harness?.close()
  harness = null
})

const items = (n: number): { name: string; data: { i: number }; id: string }[] =>
  Array.from({ length: n }, (_, i) => ({ name: "f/item", data: { i }, id: `item ${i}` }))

function createApp(
  child: (i: number, attempt: number) => unknown,
  join: Record<string, unknown> = {},
  n = 10,
): { app: Fanfare; results: unknown[]; entered: () => number } {
  const app = new Fanfare({ id: "f" })
  const results: unknown[] = []
  let entries = 0
  app.createFunction({ id: "parent", triggers: [{ event: "f/go" }] }, async ({ step }) => {
    entries++
    const result = await step.fanOut("all items", items(n), join)
    results.push(result)
    return result.completed
  })
  app.createFunction({ id: "child", triggers: [{ event: "f/item" }], retries: 1 }, async ({ event, attempt, step }) => {
    await step.sleep("a while", 1_000 + Number(event.data["i"]) * 100)
    return child(Number(event.data["i"]), attempt)
  })
  return { app, results, entered: () => entries }
}

describe("step.fanOut", () => {
  it("goes on when all runs have ended, once, with what became of them", async () => {
    const { app, results } = createApp(
      (i) => {
        if (i === 3) throw new Error("bad item")
        return i * 2
      },
      { outputs: true },
    )
    harness = await createHarness({ client: app })
    const run = await harness.trigger("parent")
    expect(await harness.run(run.id)).toMatchObject({ state: "waiting", reason: expect.stringContaining("fan-out") })
    await harness.advance("1m")
    expect(await harness.run(run.id)).toMatchObject({ state: "completed", output: "9" })
    expect(results).toHaveLength(1)
    expect(results[0]).toMatchObject({
      total: 10,
      completed: 9,
      failed: 1,
      cancelled: 0,
      timedOut: false,
      failures: [{ eventId: "item 3", error: { name: "Error", message: "bad item" } }],
    })
    const { outputs, slowest } = results[0] as { outputs: { eventId: string; output: number }[]; slowest: unknown[] }
    expect(outputs.map(({ eventId, output }) => [eventId, output])).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9].map((i) => [`item ${i}`, i * 2]))
    expect(slowest).toHaveLength(5)
  })

  it("is over at once without events, and works with a single one", async () => {
    for (const n of [0, 1]) {
      const { app, results } = createApp(() => null, {}, n)
      harness = await createHarness({ client: app })
      await harness.trigger("parent")
      await harness.advance("1m")
      expect(results).toMatchObject([{ total: n, completed: n, failed: 0, timedOut: false }])
      await harness.close()
      harness = null
    }
  })

  it.each([
    [{ until: { first: 2 } }, 2, false],
    [{ until: { succeeded: "50%" } }, 5, false],
    [{ until: { succeeded: 7 } }, 7, false],
    [{ timeout: "1250ms" }, 3, true],
    [{ until: { first: 50 } }, 10, false],
  ] as const)("with %j goes on after %i have completed", async (options, completed, timedOut) => {
    const { app, results } = createApp(() => null, options)
    harness = await createHarness({ client: app })
    await harness.trigger("parent")
    await harness.advance("1m")
    expect(results).toMatchObject([{ total: 10, completed, timedOut }])
    // The others run on to their end.
    expect(await harness.fanouts()).toMatchObject([{ completed: 10 }])
  })

  it("survives the death of its node at any moment", async () => {
    const { app, results } = createApp((i) => i)
    harness = await createHarness({ client: app })
    await harness.trigger("parent")
    for (let i = 0; i < 5; i++) {
      await harness.advance(300)
      await harness.crash()
    }
    await harness.advance("5m")
    expect(results).toMatchObject([{ total: 10, completed: 10 }])
    expect(await harness.fanouts()).toHaveLength(1)
  })

  it("can be nested, and side by side with others", async () => {
    const app = new Fanfare({ id: "n" })
    app.createFunction({ id: "top", triggers: [{ event: "n/top" }] }, async ({ step }) => {
      const [a, b] = await Promise.all([
        step.fanOut(
          "a",
          [1, 2, 3].map((i) => ({ name: "n/middle", data: { i } })),
        ),
        step.fanOut(
          "b",
          [4, 5].map((i) => ({ name: "n/leaf", data: { i } })),
        ),
      ])
      return [a.completed, b.completed]
    })
    app.createFunction({ id: "middle", triggers: [{ event: "n/middle" }] }, async ({ step }) => {
      const { completed } = await step.fanOut(
        "leaves",
        Array.from({ length: 4 }, (_, i) => ({ name: "n/leaf", data: { i } })),
      )
      return completed
    })
    app.createFunction({ id: "leaf", triggers: [{ event: "n/leaf" }] }, async ({ step }) => step.sleep("z", 500))
    harness = await createHarness({ client: app })
    const run = await harness.trigger("top")
    await harness.advance("10s")
    expect(await harness.run(run.id)).toMatchObject({ state: "completed", output: "[3,2]" })
    expect(await harness.runs({ functionId: "n-leaf", state: "completed" })).toHaveLength(14)
  })

  it("refuses a wish that is none", async () => {
    const { app } = createApp(() => null, { until: { succeeded: "many" } })
    harness = await createHarness({ client: app })
    const run = await harness.trigger("parent")
    await harness.advance("10m")
    expect(await harness.run(run.id)).toMatchObject({ state: "failed", failure: { message: expect.stringContaining("until") } })
  })
})

describe("the end of a fan-out", () => {
  it("is an event that functions can hear, once for each", async () => {
    const app = new Fanfare({ id: "e" })
    const heard: unknown[] = []
    app.createFunction({ id: "item", triggers: [{ event: "e/item" }], retries: 0 }, ({ event }) => {
      if (event.data["i"] === 2) throw new Error("no")
    })
    app.createFunction({ id: "done", triggers: [{ event: "fanfare/fanout.completed" }] }, ({ event }) => void heard.push(event.data))
    harness = await createHarness({ client: app })
    const { fanoutId } = await app.send([0, 1, 2].map((i) => ({ name: "e/item", data: { i } })))
    await harness.advance("5s")
    await harness.crash()
    await harness.advance("1m")
    expect(heard).toMatchObject([{ fanoutId, total: 3, completed: 2, failed: 1, cancelled: 0, name: "e/item" }])
  })
})

describe("a fan-out that went wrong", () => {
  function breakable(): { app: Fanfare; broken: { now: boolean }; sent: number[] } {
    const broken = { now: true }
    const sent: number[] = []
    const app = new Fanfare({ id: "b" })
    app.createFunction(
      { id: "notify", triggers: [{ event: "b/notify" }], retries: 0, concurrency: { limit: 4 } },
      async ({ event, step }) => {
        const i = Number(event.data["i"])
        await step.run("send", () => void sent.push(i))
        await step.run("record", () => {
          if (broken.now && i % 3 === 0) throw new Error(`cannot record ${i}`)
          if (broken.now && i === 4) throw new TypeError("another cause")
        })
        return i
      },
    )
    return { app, broken, sent }
  }

  it("shows its failures by their cause, and runs only what failed again, steps kept", async () => {
    const { app, broken, sent } = breakable()
    harness = await createHarness({ client: app })
    const { fanoutId } = await app.send(Array.from({ length: 30 }, (_, i) => ({ name: "b/notify", data: { i } })))
    await harness.advance("1m")
    const id = fanoutId ?? ""
    expect(await app.fanouts.get(id)).toMatchObject({ total: 30, completed: 19, failed: 11 })
    const groups = await app.fanouts.failures(id)
    expect(groups.map(({ count }) => count)).toEqual([10, 1])
    expect(groups[0]?.fingerprint).toMatch(/^Error: cannot record #/)
    expect(groups[1]?.fingerprint).toMatch(/^TypeError: another cause/)

    broken.now = false
    const one = await app.fanouts.retry(id, { fingerprint: groups[1]?.fingerprint ?? "" })
    await harness.advance("10s")
    expect(await app.fanouts.operation(one.id)).toMatchObject({ state: "done", affected: 1 })
    expect(await app.fanouts.get(id)).toMatchObject({ completed: 20, failed: 10 })
    const rest = await app.fanouts.retry(id)
    await harness.crash()
    await harness.advance("20s")
    expect(await app.fanouts.operation(rest.id)).toMatchObject({ state: "done", affected: 10 })
    expect(await app.fanouts.get(id)).toMatchObject({ total: 30, completed: 30, failed: 0, queued: 0, running: 0 })
    // What was sent before the failure was not sent again.
    expect(sent.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i))
  })

  it("can be cancelled: what waits is, what runs may end, and the counts are the truth", async () => {
    const app = new Fanfare({ id: "c" })
    const ended: number[] = []
    app.createFunction({ id: "slow", triggers: [{ event: "c/slow" }], concurrency: { limit: 3 } }, async ({ event, step }) => {
      await step.sleep("long", Number(event.data["i"]) === 0 ? 1 : 600_000)
      ended.push(Number(event.data["i"]))
    })
    app.createFunction({ id: "other", triggers: [{ event: "c/other" }] }, ({ event }) => void ended.push(Number(event.data["i"])))
    harness = await createHarness({ client: app })
    const { fanoutId } = await app.send(Array.from({ length: 20 }, (_, i) => ({ name: "c/slow", data: { i } })))
    await harness.advance("1s")
    const operation = await app.fanouts.cancel(fanoutId ?? "")
    await harness.advance("10s")
    expect(await app.fanouts.operation(operation.id)).toMatchObject({ state: "done", affected: 19 })
    expect(await app.fanouts.get(fanoutId ?? "")).toMatchObject({ completed: 1, cancelled: 19, queued: 0, running: 0 })
    expect(ended).toEqual([0])
    await app.send({ name: "c/other", data: { i: 99 } })
    await harness.advance("1s")
    expect(ended).toEqual([0, 99])
  })

  it("is waited for by whoever sent it", async () => {
    const { app } = breakable()
    harness = await createHarness({ client: app })
    const { fanoutId } = await app.send([1, 2].map((i) => ({ name: "b/notify", data: { i } })))
    const end = app.fanouts.wait(fanoutId ?? "")
    await harness.advance("5s")
    expect(await end).toMatchObject({ completed: 2 })
    await expect(app.fanouts.get("fan_unknown")).rejects.toMatchObject({ code: "not_found" })
  })
})

import { afterEach, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import type { FanOutRules } from "../../src/index.ts"
import { createHarness, type Harness } from "../../src/testing.ts"

let harness: Harness | null = null
afterEach(async () => {
  await harness?.close()
  harness = null
})

const items = (n: number, from = 0): { name: string; data: { i: number } }[] =>
  Array.from({ length: n }, (_, i) => ({ name: "r/item", data: { i: from + i } }))

/** An app whose runs fail as `fails` says, and what has begun when. */
function createApp(fails: (i: number) => boolean, options: { concurrency?: number | { limit: number; mode: "run" }; ms?: number } = {}) {
  const app = new Fanfare({ id: "r" })
  const begun: { i: number; at: number }[] = []
  const clock = { now: (): number => 0 }
  const { concurrency, ms = 100 } = options
  app.createFunction(
    { id: "item", triggers: [{ event: "r/item" }], retries: 0, ...(concurrency === undefined ? {} : { concurrency }) },
    async ({ event, step }) => {
      const i = Number(event.data["i"])
      begun.push({ i, at: clock.now() })
      await step.sleep("work", ms)
      await step.run("end", () => {
        if (fails(i)) throw new Error(`item ${i} fails`)
      })
    },
  )
  app.createFunction({ id: "parent", triggers: [{ event: "r/go" }] }, async ({ step, event }) =>
    step.fanOut("all", items(Number(event.data["n"])), event.data["rules"] as FanOutRules),
  )
  const open = async (): Promise<Harness> => {
    harness = await createHarness({ client: app })
    clock.now = harness.now
    return harness
  }
  /** How often an item's code began: twice per run, since it sleeps once. */
  const started = (): number[] => [...new Set(begun.map(({ i }) => i))].toSorted((a, b) => a - b)
  return { app, begun, started, open }
}

describe("a canary", () => {
  it("lets the first runs go alone, and the others when these have completed", async () => {
    const { app, started, open } = createApp(() => false)
    const h = await open()
    const { fanoutId } = await app.send(items(1_000), { canary: 10 })
    await h.settle()
    expect(started()).toEqual(Array.from({ length: 10 }, (_, i) => i))
    expect(await app.fanouts.get(fanoutId ?? "")).toMatchObject({
      state: "running",
      reason: expect.stringContaining("canary"),
      total: 1_000,
    })
    await h.advance(150)
    expect(started()).toHaveLength(1_000)
    await h.advance("1m")
    expect(await app.fanouts.get(fanoutId ?? "")).toMatchObject({ state: "ended", completed: 1_000, reason: null, etaMs: 0 })
  })

  it("stops a fan-out whose first runs fail; once it is repaired, one retry lets all of it go", async () => {
    const broken = { now: true }
    const { app, started, open } = createApp((i) => broken.now && i % 3 === 0)
    const h = await open()
    const { fanoutId } = await app.send(items(300), { canary: "5%" })
    const id = fanoutId ?? ""
    await h.advance("10m")
    expect(started()).toHaveLength(15)
    expect(await app.fanouts.get(id)).toMatchObject({
      state: "paused",
      reason: expect.stringMatching(/^canary: \d of the first 15 runs failed$/),
      failed: 5,
      completed: 10,
      queued: 285,
      etaMs: null,
    })
    // Whatever happens to the node meanwhile.
    await h.crash()
    await h.advance("1h")
    expect(started()).toHaveLength(15)
    broken.now = false
    await app.fanouts.retry(id)
    await h.advance("1m")
    expect(await app.fanouts.get(id)).toMatchObject({ state: "ended", completed: 300, failed: 0 })
    expect(await app.fanouts.failures(id)).toEqual([])
  })

  it("goes on as it is when it is resumed, and can be cancelled instead", async () => {
    for (const way of ["resume", "cancel"] as const) {
      const { app, open } = createApp((i) => i === 0)
      const h = await open()
      const { fanoutId } = await app.send(items(40), { canary: 2 })
      const id = fanoutId ?? ""
      await h.advance("1m")
      expect(await app.fanouts.get(id)).toMatchObject({ state: "paused" })
      if (way === "resume") expect(await app.fanouts.resume(id)).toMatchObject({ state: "running", reason: null })
      else await app.fanouts.cancel(id)
      await h.advance("5m")
      const expected = way === "resume" ? { completed: 39, failed: 1 } : { completed: 1, failed: 1, cancelled: 38 }
      expect(await app.fanouts.get(id)).toMatchObject({ state: "ended", ...expected })
      await h.close()
      harness = null
    }
  })

  it("of more runs than there are lets all go, and of a join waits like any other", async () => {
    const { open } = createApp((i) => i === 1)
    const h = await open()
    const all = await h.trigger("parent", { n: 5, rules: { canary: 50 } })
    const gated = await h.trigger("parent", { n: 20, rules: { canary: 1 } })
    const none = await h.trigger("parent", { n: 0, rules: { canary: "1%" } })
    const single = await h.trigger("parent", { n: 1, rules: { canary: 1, breaker: { failures: "0%" } } })
    await h.advance("1m")
    const outputs = await Promise.all([all, gated, none, single].map(async ({ id }) => JSON.parse((await h.run(id)).output ?? "null")))
    expect(outputs).toMatchObject([
      { total: 5, completed: 4, failed: 1 },
      { total: 20, completed: 19, failed: 1 },
      { total: 0, fanoutId: null },
      { total: 1, completed: 1 },
    ])
  })

  it("counts the first runs that there are when events were sent before", async () => {
    const { app, started, open } = createApp(() => false)
    const h = await open()
    const keyed = items(30).map((event) => ({ ...event, id: `k ${event.data.i}` }))
    await app.send(keyed.slice(0, 10))
    await h.advance("1m")
    const { fanoutId } = await app.send(keyed, { canary: 5 })
    await h.settle()
    expect(started()).toEqual(Array.from({ length: 15 }, (_, i) => i))
    await h.advance("1m")
    expect(await app.fanouts.get(fanoutId ?? "")).toMatchObject({ total: 20, completed: 20, events: 20 })
  })

  it("holds a limit of the function besides", async () => {
    const { app, begun, open } = createApp(() => false, { concurrency: 3 })
    const h = await open()
    const { fanoutId } = await app.send(items(60), { canary: 4, breaker: { failures: 1 } })
    await h.advance("1h")
    expect(await app.fanouts.get(fanoutId ?? "")).toMatchObject({ state: "ended", completed: 60 })
    expect(begun.length).toBeGreaterThanOrEqual(60)
  })
})

describe("a breaker", () => {
  it("pauses its fan-out and nothing else, with a bounded number under way", async () => {
    const { app, started, open } = createApp((i) => i < 3_000)
    const h = await open()
    const { fanoutId } = await app.send(items(3_000), { breaker: { failures: "5%", min: 100 } })
    const id = fanoutId ?? ""
    await h.advance("1h")
    const stopped = await app.fanouts.get(id)
    expect(stopped).toMatchObject({ state: "paused", reason: expect.stringMatching(/^breaker: \d+ of \d+ runs failed$/), running: 0 })
    expect(stopped.failed).toBeGreaterThanOrEqual(100)
    expect(stopped.failed).toBeLessThanOrEqual(100 + 2 * 500)
    // What had begun and slept stops too.
    const begun = started().length
    expect(begun).toBeLessThanOrEqual(stopped.failed + 500)
    await h.advance("1h")
    expect(started()).toHaveLength(begun)
    const other = await app.send(items(10, 3_000))
    await h.advance("1m")
    expect(await app.fanouts.get(other.fanoutId ?? "")).toMatchObject({ completed: 10 })
    expect(await app.fanouts.get(id)).toMatchObject({ state: "paused", failed: stopped.failed })
  })

  it("counts from where it was resumed or retried", async () => {
    const broken = { now: true }
    const { app, open } = createApp(() => broken.now)
    const h = await open()
    const { fanoutId } = await app.send(items(2_000), { breaker: { failures: "50%", min: 10 } })
    const id = fanoutId ?? ""
    await h.advance("1m")
    const first = (await app.fanouts.get(id)).failed
    await app.fanouts.resume(id)
    await h.advance("1m")
    const second = await app.fanouts.get(id)
    expect(second).toMatchObject({ state: "paused", completed: 0 })
    expect(second.failed).toBeGreaterThan(first)
    broken.now = false
    await app.fanouts.retry(id)
    await h.advance("10m")
    expect(await app.fanouts.get(id)).toMatchObject({ state: "ended", completed: 2_000, failed: 0 })
  })

  it.each([
    [{ failures: "0%", min: 5 } as const, 4, "running"],
    [{ failures: "0%", min: 5 } as const, 5, "paused"],
    [{ failures: 3 } as const, 2, "running"],
    [{ failures: 3 } as const, 3, "paused"],
    [{ failures: "100%" } as const, 900, "running"],
  ])("of %j after %i failures leaves it %s", async (breaker, failures, state) => {
    const { app, open } = createApp((i) => i < failures)
    const h = await open()
    // The last one never ends by itself, so that the fan-out is not over.
    const { fanoutId } = await app.send([...items(failures), { name: "r/item", data: { i: 9_999 }, ts: h.now() + 86_400_000 }], { breaker })
    await h.advance("1m")
    expect(await app.fanouts.get(fanoutId ?? "")).toMatchObject({ state, failed: failures })
  })
})

describe("a pause by hand", () => {
  const settled = async (h: Harness, app: Fanfare, id: string) => {
    await h.advance("2s")
    return app.fanouts.get(id)
  }

  it("stops a fan-out without any rules, wherever its runs stand, and nothing else; resumed, all of them run once", async () => {
    const { app, started, open } = createApp(() => false, { concurrency: { limit: 5, mode: "run" }, ms: 1_000 })
    const h = await open()
    const later = items(100, 1_000).map((event) => ({ ...event, ts: h.now() + 60_000 }))
    const { fanoutId } = await app.send([...items(1_200), ...later])
    const id = fanoutId ?? ""
    await h.advance("100ms")
    expect(await app.fanouts.pause(id)).toMatchObject({ state: "paused", reason: "paused by hand" })
    await expect(app.fanouts.pause(id)).rejects.toMatchObject({ code: "invalid_option", field: "id" })
    const stopped = await settled(h, app, id)
    const begun = started().length
    expect(stopped.queued).toBeGreaterThan(1_000)
    await app.send(items(1, 5_000))
    await h.crash()
    await h.advance("10m")
    expect(started()).toHaveLength(begun + 1)
    expect(await app.fanouts.get(id)).toMatchObject({ state: "paused", completed: begun })
    expect(await app.fanouts.resume(id)).toMatchObject({ state: "running", reason: null })
    await h.advance("30m")
    expect(await app.fanouts.get(id)).toMatchObject({ state: "ended", completed: 1_300 })
    await expect(app.fanouts.pause(id)).rejects.toMatchObject({ code: "invalid_option" })
    await expect(app.fanouts.pause("fan_none")).rejects.toMatchObject({ code: "not_found" })
  })

  it("also holds what its source adds meanwhile", async () => {
    const { app, started, open } = createApp(() => false)
    const h = await open()
    const gate = Promise.withResolvers<void>()
    const sent = app.fanOut({
      id: "s",
      source: async (cursor: string | null) => {
        if (cursor !== null) await gate.promise
        return { items: items(10, cursor === null ? 0 : 10), next: cursor === null ? "more" : null }
      },
    })
    await h.advance("1m")
    const [{ id } = { id: "" }] = (await app.fanouts.list()).items
    expect(started()).toHaveLength(10)
    await app.fanouts.pause(id)
    gate.resolve()
    await sent
    await h.advance("1m")
    expect(started()).toHaveLength(10)
    expect(await app.fanouts.get(id)).toMatchObject({ state: "paused", completed: 10, queued: 10, sealed: true })
    await app.fanouts.resume(id)
    await h.advance("1m")
    expect(await app.fanouts.get(id)).toMatchObject({ state: "ended", completed: 20 })
  })

  it("while the first runs of a canary are under way lets these end, and the others wait until it is resumed", async () => {
    const { app, started, open } = createApp(() => false)
    const h = await open()
    const { fanoutId } = await app.send(items(50), { canary: 5 })
    const id = fanoutId ?? ""
    await h.advance("10ms")
    await app.fanouts.pause(id)
    await h.advance("1m")
    expect(started()).toHaveLength(5)
    expect(await app.fanouts.get(id)).toMatchObject({ state: "paused", reason: "paused by hand", completed: 5 })
    await app.fanouts.resume(id)
    await h.advance("1m")
    expect(await app.fanouts.get(id)).toMatchObject({ state: "ended", completed: 50 })
  })

  it("of one with a breaker, that is cancelled then, ends all that has not begun", async () => {
    const { app, open } = createApp(() => false)
    const h = await open()
    const { fanoutId } = await app.send(items(2_000), { breaker: { failures: "50%" } })
    const id = fanoutId ?? ""
    await h.advance("10ms")
    await app.fanouts.pause(id)
    expect(await settled(h, app, id)).toMatchObject({ state: "paused", completed: 0, queued: 2_000 })
    await app.fanouts.cancel(id)
    const end = await settled(h, app, id)
    expect(end).toMatchObject({ state: "ended", total: 2_000 })
    expect(end.cancelled).toBeGreaterThanOrEqual(1_500)
  })
})

describe("spread and rate", () => {
  it.each([
    [{ spread: "10m" }, [0, 60_000, 120_000, 180_000]],
    [{ spread: 0 }, [0, 0, 0, 0]],
    [{ rate: 2 }, [0, 500, 1_000, 1_500]],
    [{ rate: "30/m" }, [0, 2_000, 4_000, 6_000]],
  ] as const)("%j starts runs one after the other", async (rules, first) => {
    const { app, begun, open } = createApp(() => false, { ms: 1 })
    const h = await open()
    const began = h.now()
    await app.send(items(10), rules)
    await h.advance("1h")
    const starts = Array.from({ length: 4 }, (_, i) => (begun.find((each) => each.i === i)?.at ?? 0) - began)
    expect(starts).toEqual(first)
    expect((await h.fanouts())[0]).toMatchObject({ completed: 10 })
  })

  it("goes through a canary too", async () => {
    const { app, open } = createApp(() => false, { ms: 1 })
    const h = await open()
    await app.send(items(20), { rate: 10, canary: 3 })
    await h.advance("1m")
    expect((await h.fanouts())[0]).toMatchObject({ state: "ended", completed: 20 })
  })
})

describe("rules that are none", () => {
  it.each([
    [{ canary: 0 }, "canary"],
    [{ canary: -1 }, "canary"],
    [{ canary: 1.5 }, "canary"],
    [{ canary: "0%" }, "canary"],
    [{ canary: "150%" }, "canary"],
    [{ canary: "many" }, "canary"],
    [{ breaker: { failures: "x" } }, "breaker.failures"],
    [{ breaker: { failures: -1 } }, "breaker.failures"],
    [{ breaker: { failures: 1, min: 0 } }, "breaker.min"],
    [{ breaker: { failures: 1, most: 2 } }, "breaker.most"],
    [{ rate: 0 }, "rate"],
    [{ rate: "0/s" }, "rate"],
    [{ rate: "5/d" }, "rate"],
    [{ rate: Number.NaN }, "rate"],
    [{ rate: 1, spread: "1m" }, "rate"],
    [{ spread: "soon" }, "spread"],
    [{ spread: "367d" }, "spread"],
  ])("%j are refused, and nothing is sent", async (rules, field) => {
    const { app, open } = createApp(() => false)
    const h = await open()
    await expect(app.send(items(2), rules as FanOutRules)).rejects.toMatchObject({ code: "invalid_option", field })
    expect(await h.fanouts()).toEqual([])
  })
})

describe("a plan", () => {
  it("says what a send would do, and does nothing", async () => {
    const { app, open } = createApp(() => false)
    const h = await open()
    await app.send([{ name: "r/item", data: { i: 1 }, id: "known" }])
    const plan = await app.fanouts.plan([
      { name: "r/item", data: { i: 1 }, id: "known" },
      { name: "r/item", data: { i: 2 }, id: "twice" },
      { name: "r/item", data: { i: 2 }, id: "twice" },
      ...items(7),
      { name: "r/nobody", data: {} },
    ])
    expect(plan).toMatchObject({ events: 11, duplicates: 2, runs: 8, functions: [{ functionId: "r-item", runs: 8 }] })
    expect(plan.sample).toHaveLength(5)
    expect(plan.sample[0]).toEqual({ name: "r/item", data: { i: 2 }, id: "twice" })
    await expect(app.fanouts.plan([{ name: "" }])).rejects.toMatchObject({ code: "invalid_event" })
    expect(await h.fanouts()).toEqual([])
  })
})

describe("one failed item", () => {
  it("can be run again alone, with other data, from its beginning", async () => {
    const app = new Fanfare({ id: "e" })
    const seen: unknown[] = []
    app.createFunction({ id: "mail", triggers: [{ event: "e/mail" }], retries: 0 }, async ({ event, step }) => {
      await step.run("look", () => void seen.push([event.id, event.data["to"]]))
      if (event.data["to"] === "nobody") throw new Error("no such address")
    })
    harness = await createHarness({ client: app })
    const { fanoutId } = await app.send(["a", "nobody", "nobody"].map((to, i) => ({ name: "e/mail", data: { to }, id: `m${i}` })))
    const id = fanoutId ?? ""
    await harness.advance("1m")
    const failed = await harness.runs({ state: "failed" })
    const one = failed.find(({ eventName }) => eventName === "e/mail")?.id ?? ""
    const before = await harness.run(one)
    const operation = await app.fanouts.retry(id, { runId: one, data: { to: "b" } })
    await harness.advance("1m")
    expect(await app.fanouts.operation(operation.id)).toMatchObject({ state: "done", affected: 1, runId: one })
    expect(await app.fanouts.get(id)).toMatchObject({ completed: 2, failed: 1 })
    expect(await harness.run(one)).toMatchObject({ state: "completed", data: '{"to":"b"}' })
    // For the receiver it is the same event.
    expect(seen.at(-1)).toEqual([
      (seen as [string, string][]).find(([, to]) => to === "nobody" && before.data.includes(to))?.[0] && (seen.at(-1) as [string])[0],
      "b",
    ])
    expect((seen.at(-1) as [string])[0]).toMatch(/^m[12]$/)
    await expect(app.fanouts.retry(id, { runId: one })).rejects.toMatchObject({ code: "invalid_option", field: "runId" })
    await expect(app.fanouts.retry(id, { runId: "run_unknown" })).rejects.toMatchObject({ code: "not_found" })
    await expect(app.fanouts.retry(id, { data: {} })).rejects.toMatchObject({ code: "invalid_option", field: "data" })
    await expect(app.fanouts.retry("fan_unknown")).rejects.toMatchObject({ code: "not_found" })
    await expect(app.fanouts.resume(id)).rejects.toMatchObject({ code: "invalid_option" })
  })
})

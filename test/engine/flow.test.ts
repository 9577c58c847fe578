import { afterEach, describe, expect, it } from "vitest"
import type { FlowOptions } from "../../src/core/flow.ts"
import type { RunSummary } from "../../src/core/views.ts"
import { Fanfare } from "../../src/index.ts"
import { createHarness, type Harness } from "../../src/testing/harness.ts"

const go = [{ event: "f/go" }] as const
let harness: Harness
afterEach(() => harness.close())

interface Seen {
  readonly at: number
  readonly data: Record<string, unknown>
  readonly events: readonly Record<string, unknown>[]
}

interface Setting {
  readonly app: Fanfare
  readonly seen: Seen[]
  /** The most runs that were ever under way, by tenant. */
  readonly most: Map<string, number>
  send(...data: Record<string, unknown>[]): Promise<void>
  runs(state: RunSummary["state"]): Promise<readonly RunSummary[]>
}

/** One function with these rules; its runs wait for `until`. */
async function setting(flow: FlowOptions, until?: Promise<void>): Promise<Setting> {
  const app = new Fanfare({ id: "app" })
  const seen: Seen[] = []
  const now = new Map<string, number>()
  const most = new Map<string, number>()
  app.createFunction({ id: "f", triggers: go, ...flow }, async ({ event, events, step }) => {
    const tenant = String(event.data["tenant"])
    seen.push({ at: harness.now(), data: event.data, events: events.map(({ data }) => data) })
    now.set(tenant, (now.get(tenant) ?? 0) + 1)
    most.set(tenant, Math.max(most.get(tenant) ?? 0, now.get(tenant) ?? 0))
    await until
    now.set(tenant, (now.get(tenant) ?? 1) - 1)
    if (event.data["sleep"] !== undefined) await step.sleep("nap", String(event.data["sleep"]))
    return event.data
  })
  harness = await createHarness({ client: app })
  return {
    app,
    seen,
    most,
    send: async (...data) => {
      for (const each of data) await app.send({ name: "f/go", data: each })
      await harness.settle()
    },
    runs: (state) => harness.runs({ state }),
  }
}

/** When they were seen, from a moment on. */
const times = (seen: readonly Seen[], from: number): number[] => seen.map(({ at }) => at - from)

describe("throttle", () => {
  it("spaces starts evenly, drops none, and says until when", async () => {
    const { seen, send, runs } = await setting({ throttle: { limit: 6, period: "1m" } })
    const from = harness.now()
    await send(...Array.from({ length: 4 }, (_, i) => ({ i })))
    expect(times(seen, from)).toEqual([0])
    expect((await runs("waiting"))[0]?.reason).toBe(
      "the throttle throttle:app-f lets the next run start at 2026-01-01T00:00:10.000Z (6 per 60 s)",
    )
    await harness.advance("1m")
    expect(times(seen, from)).toEqual([0, 10_000, 20_000, 30_000])
    expect(seen.map(({ data }) => data["i"])).toEqual([0, 1, 2, 3])
  })

  it("lets a burst through at once, per key, and remembers it over a crash", async () => {
    const { seen, send } = await setting({ throttle: { limit: 1, period: "10s", burst: 2, key: "event.data.tenant" } })
    const from = harness.now()
    await send(...Array.from({ length: 5 }, () => ({ tenant: "a" })), { tenant: "b" })
    expect(seen.map(({ data }) => data["tenant"])).toEqual(["a", "a", "a", "b"])
    await harness.crash()
    await harness.advance("1m")
    expect(times(seen, from).slice(4)).toEqual([10_000, 20_000])
  })

  it("gives a fast throttle its full rate, and counts neither retries nor sleeps", async () => {
    const { seen, send } = await setting({ throttle: { limit: 500, period: "1s" } })
    await send(...Array.from({ length: 300 }, () => ({ sleep: "1s" })))
    await harness.advance("600ms")
    expect(seen).toHaveLength(300)
    await harness.advance("1s")
    // Each run was called once more, after its sleep.
    expect(seen).toHaveLength(600)
    expect(await harness.runs({ state: "completed" })).toHaveLength(300)
  })
})

describe("rateLimit", () => {
  it("starts as many as its limit at once, skips the rest with the reason, and lets one more through each period ÷ limit", async () => {
    const { seen, send, runs } = await setting({ rateLimit: { limit: 2, period: "1h", key: "event.data.tenant" } })
    await send(...Array.from({ length: 4 }, () => ({ tenant: "a" })), { tenant: "b" })
    expect(seen).toHaveLength(3)
    const skipped = await runs("skipped")
    expect(skipped).toHaveLength(2)
    expect(skipped[0]).toMatchObject({
      reason: "rateLimit: 2 per 3600 s (rate:app-f:a); the next may start at 2026-01-01T00:30:00.000Z",
      error: null,
    })
    await harness.advance("30m")
    await send({ tenant: "a" }, { tenant: "a" })
    expect(seen).toHaveLength(4)
  })

  it("does not apply where its key is false, and counts what is skipped in its fan-out", async () => {
    const { app, seen } = await setting({ rateLimit: { limit: 1, period: "1h", key: "event.data.vip ? false : 'all'" } })
    await app.send([{ vip: true }, { vip: true }, { vip: false }, { vip: false }].map((data) => ({ name: "f/go", data })))
    await harness.settle()
    expect(seen).toHaveLength(3)
    expect(await harness.fanouts()).toMatchObject([{ total: 4, completed: 3, cancelled: 1, queued: 0 }])
  })

  it("as idempotency: one run per value in 24 h, also within one send", async () => {
    const { app, seen, runs } = await setting({ idempotency: "event.data.order" })
    await app.send([1, 1, 2].map((order) => ({ name: "f/go", data: { order } })))
    await harness.settle()
    expect(seen.map(({ data }) => data["order"])).toEqual([1, 2])
    expect((await runs("skipped"))[0]?.reason).toMatch(/^idempotency: a run with this value was started within 24 h \(once:app-f:1\)/)
    await harness.advance("24h")
    await app.send({ name: "f/go", data: { order: 1 } })
    await harness.settle()
    expect(seen).toHaveLength(3)
  })
})

describe("debounce", () => {
  it("runs once with the latest event when no other came for the period; the ones before are skipped", async () => {
    const { seen, send, runs } = await setting({ debounce: { period: "10s", key: "event.data.tenant" } })
    const from = harness.now()
    await send({ tenant: "a", i: 1 })
    expect((await runs("scheduled"))[0]?.reason).toBe(
      "debounce: it starts at 2026-01-01T00:00:10.000Z if no other event comes before (debounce:app-f:a)",
    )
    await harness.advance("6s")
    await send({ tenant: "a", i: 2 }, { tenant: "b", i: 9 })
    await harness.crash()
    await harness.advance("6s")
    expect(seen).toEqual([])
    await harness.advance("1m")
    expect(seen.map(({ at, data }) => [at - from, data["i"]])).toEqual([
      [16_000, 2],
      [16_000, 9],
    ])
    const skipped = await runs("skipped")
    expect(skipped).toHaveLength(1)
    expect(skipped[0]?.reason).toMatch(/^debounce: an event that came later replaced it, see run run_/)
    await send({ tenant: "a", i: 3 })
    await harness.advance("10s")
    expect(seen).toHaveLength(3)
  })

  it("waits no longer than its timeout, and is not moved by an event that is older", async () => {
    const { app, seen, send, runs } = await setting({ debounce: { period: "10s", timeout: "25s" } })
    const from = harness.now()
    for (let i = 0; i < 6; i++) {
      await send({ i })
      await harness.advance("6s")
    }
    expect(seen.map(({ at, data }) => [at - from, data["i"]])).toEqual([[25_000, 4]])
    await app.send({ name: "f/go", data: { i: "old" }, ts: harness.now() - 60_000 })
    await harness.advance("1m")
    expect(seen.map(({ data }) => data["i"])).toEqual([4, 5])
    expect((await runs("skipped"))[0]?.reason).toMatch(/^debounce: run run_.* waits with an event that is newer/)
  })

  it("keeps one of many events of one send", async () => {
    const { app, seen } = await setting({ debounce: { period: "1s" } })
    await app.send(Array.from({ length: 500 }, (_, i) => ({ name: "f/go", data: { i } })))
    await harness.advance("2s")
    expect(seen.map(({ data }) => data["i"])).toEqual([499])
    expect(await harness.fanouts()).toMatchObject([{ total: 500, completed: 1, cancelled: 499 }])
  })
})

describe("batchEvents", () => {
  it("starts one run for as many events as fit, in their order, and another for the rest when the timeout is over", async () => {
    const { app, seen, runs } = await setting({ batchEvents: { maxSize: 3, timeout: "10s", key: "event.data.tenant" } })
    await app.send(Array.from({ length: 8 }, (_, i) => ({ name: "f/go", data: { tenant: "a", i } })))
    await harness.settle()
    expect(seen.map(({ events }) => events.map(({ i }) => i))).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ])
    expect((await runs("scheduled"))[0]?.reason).toBe(
      "batch: 2 of 3 events; it starts at 2026-01-01T00:00:10.000Z at the latest (batch:app-f:a)",
    )
    await harness.crash()
    await harness.advance("10s")
    expect(seen.at(-1)?.events.map(({ i }) => i)).toEqual([6, 7])
    expect(await harness.fanouts()).toMatchObject([{ events: 8, total: 3, completed: 3 }])
  })

  it("fills over several sends, apart by key, and leaves out what its condition does not take", async () => {
    const { seen, send } = await setting({ batchEvents: { maxSize: 2, timeout: "10s", key: "event.data.tenant", if: "event.data.i != 7" } })
    await send({ tenant: "a", i: 1 }, { tenant: "b", i: 2 }, { tenant: "a", i: 7 }, { tenant: "a", i: 3 }, { tenant: "a", i: 4 })
    expect(seen.map(({ events }) => events.map(({ i }) => i))).toEqual([[7], [1, 3]])
    await harness.advance("10s")
    expect(seen.slice(2).map(({ events }) => events.map(({ i }) => i))).toEqual([[2], [4]])
  })

  it("leaves alone what is started by hand", async () => {
    const { seen, send } = await setting({ batchEvents: { maxSize: 2, timeout: "10s" } })
    await send({ i: 1 })
    await harness.trigger("f", { i: 2 })
    expect(seen.map(({ events }) => events.map(({ i }) => i))).toEqual([[2]])
    await harness.advance("10s")
    expect(seen.map(({ events }) => events.map(({ i }) => i))).toEqual([[2], [1]])
  })

  it("gives a retry the same events", async () => {
    const app = new Fanfare({ id: "app" })
    const seen: unknown[] = []
    app.createFunction({ id: "f", triggers: go, batchEvents: { maxSize: 2, timeout: "10s" } }, async ({ events, attempt, step }) => {
      seen.push(events.map(({ data }) => data["i"]))
      await step.sleep("nap", "1s")
      if (attempt === 0) throw new Error("once more")
    })
    harness = await createHarness({ client: app })
    await app.send([1, 2].map((i) => ({ name: "f/go", data: { i } })))
    await harness.advance("1m")
    expect(seen).toEqual([
      [1, 2],
      [1, 2],
      [1, 2],
    ])
    expect(await harness.runs({ state: "completed" })).toHaveLength(1)
  })
})

describe("priority", () => {
  it("moves a run by its seconds in the line, at most 600, and not at all when it cannot be had", async () => {
    const { app, seen } = await setting({ concurrency: 1, priority: { run: "event.data.p" } })
    const data = [{ p: 0, n: 0 }, { p: 0, n: 1 }, { p: -10, n: 2 }, { p: 600, n: 3 }, { p: 99_999, n: 4 }, { n: 5 }, { p: "no", n: 6 }]
    await app.send(data.map((each) => ({ name: "f/go", data: each })))
    await harness.settle()
    expect(seen.map((each) => each.data["n"])).toEqual([3, 4, 0, 1, 5, 6, 2])
  })
})

describe("singleton", () => {
  it("skips a new run while one of its key has not ended, also while that one sleeps", async () => {
    const { seen, send, runs } = await setting({ singleton: { mode: "skip", key: "event.data.tenant" } })
    await send({ tenant: "a", sleep: "1h" }, { tenant: "a" }, { tenant: "b" })
    expect(seen.map(({ data }) => data["tenant"])).toEqual(["a", "b"])
    expect((await runs("skipped"))[0]?.reason).toMatch(/^singleton: run run_.* has not ended \(singleton:app-f:a\)/)
    await harness.crash()
    await send({ tenant: "a" })
    expect(await runs("skipped")).toHaveLength(2)
    await harness.advance("1h")
    await send({ tenant: "a" })
    expect(seen.map(({ data }) => data["tenant"])).toEqual(["a", "b", "a", "a"])
  })

  it("cancels the run before: its signal aborts, and nothing that it still does is kept", async () => {
    const app = new Fanfare({ id: "app" })
    const aborted: number[] = []
    const after: number[] = []
    app.createFunction({ id: "f", triggers: go, singleton: { mode: "cancel" } }, async ({ event, signal, step }) => {
      const n = Number(event.data["n"])
      if (n === 3) return n
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => (aborted.push(n), resolve())))
      await step.run("late", () => after.push(n))
      return n
    })
    harness = await createHarness({ client: app })
    for (const n of [1, 2, 3]) {
      await app.send({ name: "f/go", data: { n } })
      await harness.settle()
    }
    expect(aborted).toEqual([1, 2])
    const cancelled = await harness.runs({ state: "cancelled" })
    expect(cancelled.map(({ error }) => error?.message.replace(/run_\w+/, "R"))).toEqual([
      "the run was cancelled: singleton: run R took its place (singleton:app-f)",
      "the run was cancelled: singleton: run R took its place (singleton:app-f)",
    ])
    expect(await harness.runs({ state: "completed" })).toHaveLength(1)
    for (const { id } of cancelled) expect((await harness.run(id)).steps).toEqual([])
  })

  it("cancels one that sleeps, and keeps the last of several in one send", async () => {
    const { app, runs } = await setting({ singleton: { mode: "cancel" } })
    await app.send(["1h", "2h", "3h"].map((sleep) => ({ name: "f/go", data: { sleep } })))
    await harness.settle()
    expect(await runs("skipped")).toHaveLength(2)
    await app.send({ name: "f/go", data: {} })
    await harness.advance("4h")
    expect(await runs("cancelled")).toHaveLength(1)
    expect(await runs("completed")).toHaveLength(1)
    expect(await harness.fanouts()).toMatchObject([{ total: 3, cancelled: 3, queued: 0 }])
  })
})

describe("concurrency", () => {
  it("gives every key its own room, whatever stands before it", async () => {
    const block = Promise.withResolvers<void>()
    const { app, seen, most } = await setting({ concurrency: [{ limit: 3 }, { limit: 1, key: "event.data.tenant" }] }, block.promise)
    await app.send(["a", "a", "a", "a", "a", "b", "c", "d"].map((tenant) => ({ name: "f/go", data: { tenant } })))
    await harness.settle()
    expect(seen.map(({ data }) => data["tenant"])).toEqual(["a", "b", "c"])
    const waiting = await harness.runs({ state: "waiting" })
    expect(waiting.map(({ reason }) => reason)).toContain("the limit fn:app-f#2:a is full: 1 of 1 places taken")
    expect(waiting.map(({ reason }) => reason)).toContain("the limit fn:app-f is full: 3 of 3 places taken")
    block.resolve()
    await harness.settle()
    expect(seen).toHaveLength(8)
    expect([...most.values()]).toEqual([1, 1, 1, 1])
  })

  it("is shared by functions whose keys have the same value", async () => {
    const app = new Fanfare({ id: "app" })
    let now = 0
    let most = 0
    for (const id of ["f", "g"]) {
      app.createFunction({ id, triggers: go, concurrency: { limit: 2, scope: "env", key: "'openai'" } }, async () => {
        most = Math.max(most, ++now)
        await new Promise((resolve) => setTimeout(resolve, 2))
        now--
      })
    }
    harness = await createHarness({ client: app })
    await app.send([1, 2, 3].map((i) => ({ name: "f/go", data: { i } })))
    await harness.settle()
    expect(most).toBe(2)
    expect(await harness.runs({ state: "completed" })).toHaveLength(6)
  })

  it("counts whole runs when asked to: who sleeps keeps its place, over retries and crashes", async () => {
    const { seen, send } = await setting({ concurrency: { limit: 1, mode: "run" } })
    await send({ n: 1, sleep: "1h" }, { n: 2 })
    await harness.advance("30m")
    await harness.crash()
    expect(seen.map(({ data }) => data["n"])).toEqual([1])
    await harness.advance("31m")
    expect(seen.map(({ data }) => data["n"])).toEqual([1, 1, 2])
  })

  it("records a run whose key cannot be had as failed, with what to change", async () => {
    const { send, runs } = await setting({ concurrency: { limit: 1, key: "event.data.tenant" } })
    await send({ tenant: "x".repeat(300) })
    expect((await runs("failed"))[0]?.error).toEqual({
      name: "FlowError",
      message:
        "concurrency.key: `event.data.tenant` gives 300 characters for this event; the most is 256. Use a shorter value, such as an id.",
    })
  })
})

import { afterEach, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { createHarness, type Harness } from "../../src/testing.ts"

let harness: Harness | null = null
afterEach(async () => {
  await harness?.close()
  harness = null
})

function createApp() {
  const app = new Fanfare({ id: "s" })
  const done: number[] = []
  const item = app.createFunction({ id: "item", triggers: [{ event: "s/item" }], retries: 0 }, ({ event }) => {
    done.push(Number(event.data["i"]))
    return event.data["i"]
  })
  return { app, done, item, sorted: (): number[] => done.toSorted((a, b) => a - b) }
}

const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

async function* generated(n: number, failAt = Number.POSITIVE_INFINITY): AsyncGenerator<{ name: string; data: { i: number } }> {
  for (let i = 0; i < n; i++) {
    if (i === failAt) throw new Error("the source broke")
    yield { name: "s/item", data: { i } }
  }
}

const page =
  (size: number, n: number, asked: (string | null)[] = []) =>
  (cursor: string | null) => {
    asked.push(cursor)
    const from = Number(cursor ?? 0)
    const to = Math.min(from + size, n)
    return { items: numbers(to - from).map((i) => ({ name: "s/item", data: { i: from + i } })), next: to === n ? null : String(to) }
  }

describe("a fan-out from a source", () => {
  it.each([
    ["an array", () => numbers(6_000).map((i) => ({ name: "s/item", data: { i } }))],
    ["an asynchronous iterator", () => generated(6_000)],
    ["a generator function", () => () => generated(6_000)],
    ["a page function", () => page(1_000, 6_000)],
    ["one page", () => page(6_000, 6_000)],
  ])("takes %s, a part at a time", async (_, source) => {
    const { app, sorted } = createApp()
    harness = await createHarness({ client: app })
    const sent = await app.fanOut({ id: "all", source: source() })
    expect(sent).toMatchObject({ items: 6_000, events: 6_000, runs: 6_000, cancelled: false })
    await harness.advance("1m")
    expect(sorted()).toEqual(numbers(6_000))
    expect(await app.fanouts.get(sent.fanoutId)).toMatchObject({ state: "ended", total: 6_000, completed: 6_000, sealed: true })
    // The same once more is the same.
    expect(await app.fanOut({ id: "all", source: source() })).toEqual(sent)
    await harness.advance("1m")
    expect(sorted()).toHaveLength(6_000)
  })

  it("starts runs before the source ends, and gives what has come when it is slow", async () => {
    const { app, done } = createApp()
    harness = await createHarness({ client: app })
    let go = (): void => undefined
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    const sending = app.fanOut({
      id: "slow",
      source: (async function* () {
        for (let i = 0; i < 5; i++) yield { name: "s/item", data: { i } }
        await gate
        yield { name: "s/item", data: { i: 5 } }
      })(),
    })
    await harness.advance("1s")
    expect(done).toHaveLength(5)
    expect((await harness.fanouts())[0]).toMatchObject({ total: 5, completed: 5, sealed: false, state: "running" })
    go()
    await harness.advance("1s")
    expect(await sending).toMatchObject({ items: 6 })
    expect(done).toHaveLength(6)
  })

  it("goes on where it stopped when the source breaks half-way, and after a crash", async () => {
    const { app, sorted } = createApp()
    harness = await createHarness({ client: app })
    await expect(app.fanOut({ id: "broken", source: generated(9_000, 7_000) })).rejects.toThrow("the source broke")
    await harness.advance("1m")
    const [half] = await harness.fanouts()
    expect(half).toMatchObject({ sealed: false, state: "running", total: 5_000, completed: 5_000 })
    await harness.crash()
    const asked: (string | null)[] = []
    const sent = await app.fanOut({ id: "broken", source: generated(9_000) })
    expect(sent).toMatchObject({ fanoutId: half?.id, items: 9_000 })

    const broken = page(2_500, 9_000, asked)
    await expect(
      app.fanOut({
        id: "pages",
        source: (cursor) => {
          if (cursor === "7500" && asked.length < 4) {
            asked.push("broken")
            throw new Error("no page")
          }
          return broken(cursor)
        },
      }),
    ).rejects.toThrow("no page")
    await harness.crash()
    expect(await app.fanOut({ id: "pages", source: broken })).toMatchObject({ items: 9_000 })
    expect(asked).toEqual([null, "2500", "5000", "broken", "7500"])
    await harness.advance("1m")
    // A node that dies may have begun runs that another one begins again; no run is missing and none is there twice.
    expect([...new Set(sorted())]).toEqual(numbers(9_000))
    expect(await harness.fanouts()).toMatchObject([
      { total: 9_000, completed: 9_000 },
      { total: 9_000, completed: 9_000 },
    ])
  })

  it("is a canary's too, with items of one function told apart by their keys", async () => {
    const { app, item, sorted, done } = createApp()
    app.createFunction({ id: "hears-all", triggers: [] }, () => null)
    harness = await createHarness({ client: app })
    const source = [...numbers(50), ...numbers(20)].map((i) => ({ i }))
    const sent = await app.fanOut({ id: "keyed", function: item, source, key: ({ i }) => `item ${String(i)}`, rate: 100, canary: 10 })
    expect(sent).toMatchObject({ items: 70, events: 50, runs: 50 })
    expect(done.length).toBeLessThanOrEqual(10)
    await harness.advance("1m")
    expect(sorted()).toEqual(numbers(50))
  })

  it("may be empty, and is then over at once", async () => {
    const { app } = createApp()
    harness = await createHarness({ client: app })
    const sent = await app.fanOut({ id: "empty", source: [] })
    expect(sent).toMatchObject({ items: 0, runs: 0 })
    expect(await app.fanouts.wait(sent.fanoutId)).toMatchObject({ state: "ended", total: 0 })
  })

  it("refuses what is none", async () => {
    const { app, item } = createApp()
    harness = await createHarness({ client: app })
    await expect(app.fanOut({ id: "", source: [] })).rejects.toMatchObject({ field: "id" })
    await expect(app.fanOut({ id: "x", source: [{ name: "s/item", data: 3 as unknown as object }] })).rejects.toMatchObject({
      code: "invalid_event",
      field: "events[0].data",
    })
    await expect(app.fanOut({ id: "y", source: [], canary: "1%" })).rejects.toMatchObject({ field: "canary" })
    await expect(app.fanOut({ id: "y", source: [], spread: "1m" })).rejects.toMatchObject({ field: "spread" })
    await expect(app.fanOut({ id: "z", function: item, source: (() => 3) as never })).rejects.toMatchObject({ field: "source" })
    await expect(app.fanOut({ id: "v", source: page(10_001, 20_000) })).rejects.toMatchObject({ code: "too_many" })
    const unknown = { ...item, definition: { ...item.definition, id: "s-unknown" } }
    await expect(app.fanOut({ id: "w", function: unknown, source: [{ i: 1 }] })).rejects.toMatchObject({ code: "not_found" })
    await expect(app.fanOut({ id: "u", function: item, source: [{ i: 1 }, { i: 2 }], key: () => "same" })).rejects.toMatchObject({
      code: "event_conflict",
    })
    expect((await harness.fanouts()).every(({ total }) => total === 0)).toBe(true)
  })

  it("is stopped by its cancellation, and sealed when nobody goes on with it", async () => {
    const { app, done } = createApp()
    harness = await createHarness({ client: app })
    let more = (): void => undefined
    const sending = app.fanOut({
      id: "endless",
      source: (async function* () {
        for (let i = 0; ; i++) {
          yield { name: "s/item", data: { i } }
          if (i % 100 === 99) await new Promise<void>((resolve) => void (more = resolve))
        }
      })(),
    })
    await harness.advance("1s")
    const [fanout] = await harness.fanouts()
    await app.fanouts.cancel(fanout?.id ?? "")
    await harness.advance("1s")
    more()
    await harness.advance("1s")
    expect(await sending).toMatchObject({ cancelled: true, items: 100 })
    expect(await app.fanouts.get(fanout?.id ?? "")).toMatchObject({ state: "ended", completed: 100, sealed: true })
    expect(done).toHaveLength(100)

    await expect(app.fanOut({ id: "left", source: generated(5_000, 3_000) })).rejects.toThrow("the source broke")
    await harness.advance("26h")
    expect((await harness.fanouts())[0]).toMatchObject({ total: 2_500, sealed: true, state: "ended" })
    expect(await app.fanOut({ id: "left", source: generated(5_000) })).toMatchObject({ items: 2_500 })
  })
})

describe("step.fanOut from a source", () => {
  it("goes on where it stopped when its node dies, and joins all of it", async () => {
    const { app, item, sorted } = createApp()
    const asked: (string | null)[] = []
    const results: unknown[] = []
    let crash = (): Promise<void> | void => undefined
    app.createFunction({ id: "parent", triggers: [] }, async ({ step }) => {
      const pages = page(2_500, 8_000, asked)
      const result = await step.fanOut("all", item, async (cursor) => {
        if (cursor === "5000" && asked.length === 2) await crash()
        const { items, next } = pages(cursor)
        return { items: items.map(({ data }) => data), next }
      })
      results.push(result)
      return result.completed
    })
    harness = await createHarness({ client: app })
    const h = harness
    let died = false
    crash = () => {
      died = true
      return new Promise<void>(() => undefined)
    }
    const trigger = h.trigger("parent")
    const run = await trigger
    expect(died).toBe(true)
    crash = () => undefined
    await h.crash()
    await h.advance("1h")
    expect(await h.run(run.id)).toMatchObject({ state: "completed", output: "8000" })
    expect([...new Set(sorted())]).toEqual(numbers(8_000))
    expect(results).toMatchObject([{ total: 8_000, completed: 8_000 }])
    expect(asked).toEqual([null, "2500", "5000", "7500"])
    expect(await h.fanouts()).toHaveLength(1)
  })

  it("runs one function for each item, whoever else hears its events", async () => {
    const { app, item, sorted } = createApp()
    const others: unknown[] = []
    app.createFunction({ id: "other", triggers: [{ event: "s/item" }, { event: "s/*" }] }, ({ event }) => void others.push(event))
    app.createFunction({ id: "parent", triggers: [] }, async ({ step }) => {
      const { completed, outputs } = await step.fanOut("all", item, [{ i: 1 }, { i: 2 }, { i: 2 }], {
        outputs: true,
        key: ({ i }) => String(i),
      })
      return { completed, outputs: outputs?.map(({ output }) => output) }
    })
    harness = await createHarness({ client: app })
    const run = await harness.trigger("parent")
    await harness.advance("1m")
    expect(await harness.run(run.id)).toMatchObject({ state: "completed", output: '{"completed":2,"outputs":[1,2]}' })
    expect([sorted(), others]).toEqual([[1, 2], []])
  })
})

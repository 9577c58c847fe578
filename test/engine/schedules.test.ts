import { afterEach, describe, expect, it } from "vitest"
import { z } from "zod"
import { Fanfare } from "../../src/index.ts"
import { createHarness, type Harness } from "../../src/testing.ts"

let harness: Harness
afterEach(() => harness.close())

interface Seen {
  readonly at: string
  readonly data: unknown
}

/** An app whose function takes `workMs` of sleep, and says what it saw. */
async function start(workMs = 0, now = "2026-01-01T00:00:00Z"): Promise<{ app: Fanfare; seen: Seen[]; aborted: () => number }> {
  const app = new Fanfare({ id: "app" })
  const seen: Seen[] = []
  let aborted = 0
  app.createFunction({ id: "work", triggers: [{ event: "app/due" }], retries: 0 }, async ({ event, step }) => {
    seen.push({ at: new Date(event.ts).toISOString().slice(11, 19), data: event.data })
    if (workMs > 0) await step.sleep("work", workMs)
  })
  app.createFunction({ id: "long", triggers: [], retries: 0 }, async ({ event, signal }) => {
    seen.push({ at: new Date(event.ts).toISOString().slice(11, 19), data: event.data })
    signal.addEventListener("abort", () => aborted++)
    await new Promise(() => {})
  })
  app.createFunction({ id: "nightly", triggers: [{ cron: "0 2 * * *", timezone: "Europe/Paris", overlap: "skip" }] }, () => null)
  harness = await createHarness({ client: app, now })
  return { app, seen, aborted: () => aborted }
}

const times = (seen: readonly Seen[]): string[] => seen.map(({ at }) => at)
const outcomes = async (app: Fanfare, id: string): Promise<string[]> =>
  (await app.schedules.ticks(id)).items.map(({ at, outcome }) => `${new Date(at).toISOString().slice(11, 16)} ${outcome}`).toReversed()

describe("a function that is paused", () => {
  const nights = async (app: Fanfare): Promise<string[]> =>
    (await app.schedules.ticks("nightly")).items
      .map(({ at, outcome, runId }) => `${new Date(at).getUTCDate()} ${outcome}${runId === null ? "" : " run"}`)
      .toReversed()

  it("and skips new runs lets the moments of its schedule pass, says so of each, and takes none that are backfilled", async () => {
    const { app } = await start()
    await harness.advance("1d")
    await app.functions.pause("nightly", { newRuns: "skip" })
    await harness.advance("2d")
    expect(await nights(app)).toEqual(["1 fired run", "2 paused", "3 paused"])
    expect((await app.schedules.ticks("nightly")).items[0]?.reason).toBe("its function is paused, and new runs are skipped meanwhile")
    expect(await harness.runs({ functionId: "app-nightly" })).toHaveLength(1)
    await expect(app.schedules.backfill("nightly", "2025-12-01T00:00:00Z", "2025-12-05T00:00:00Z")).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("is paused"),
    })
    await expect(app.schedules.run("nightly")).rejects.toMatchObject({ message: expect.stringContaining("is paused") })
    await app.functions.resume("nightly")
    await harness.advance("1d")
    expect(await nights(app)).toEqual(["1 fired run", "2 paused", "3 paused", "4 fired run"])
  })

  it("and keeps them has the moments fire, whose runs wait", async () => {
    const { app } = await start()
    await app.functions.pause("nightly")
    await harness.advance("1d")
    expect(await nights(app)).toEqual(["1 fired run"])
    expect(await harness.runs({ functionId: "app-nightly" })).toMatchObject([{ reason: "its function is paused" }])
    await app.functions.resume("nightly")
    await harness.settle()
    expect(await harness.runs({ functionId: "app-nightly" })).toMatchObject([{ state: "completed" }])
  })

  it("or a limit is named as it is, with bounds", async () => {
    const { app } = await start()
    await expect(app.functions.pause("none")).rejects.toMatchObject({ code: "not_found", field: "function" })
    await expect(app.functions.pause("nightly", { newRuns: "drop" as "skip" })).rejects.toMatchObject({ field: "newRuns" })
    expect((await app.functions.list()).items.map(({ localId }) => localId)).toContain("nightly")
    for (const max of [-1, 1.5, 100_001]) await expect(app.limits.set("env:x", max)).rejects.toMatchObject({ field: "max", bound: 100_000 })
    await app.limits.set("env:x", 3)
    expect((await app.limits.list()).items).toMatchObject([{ id: "env:x", max: 3, setByHand: true }])
    await app.limits.reset("env:x")
    expect((await app.limits.list()).items).toEqual([])
  })
})

describe("a schedule made at run time", () => {
  it("sends its event at its moments, in its zone, over deaths of its node", async () => {
    const { app, seen } = await start()
    const made = await app.schedules.upsert({
      id: "user-42",
      cron: "30 9 * * *",
      timezone: "Asia/Kolkata",
      event: "app/due",
      data: { user: 42 },
    })
    expect(made).toMatchObject({ id: "app-user-42", nextTickAt: Date.parse("2026-01-01T04:00:00Z") })
    await harness.advance("20h")
    await harness.crash()
    await harness.advance("28h")
    expect(seen).toEqual([
      { at: "04:00:00", data: { user: 42 } },
      { at: "04:00:00", data: { user: 42 } },
    ])
    expect(await app.schedules.ticks("user-42")).toMatchObject({
      items: [{ outcome: "fired" }, { outcome: "fired", runId: expect.any(String) }],
    })
  })

  it("starts a function with its data, at an interval or once", async () => {
    const { app, seen } = await start()
    await app.schedules.upsert({ id: "often", every: "15m", function: "work", data: { a: 1 } })
    await app.schedules.upsert({ id: "once", at: "2026-01-01T00:20:00Z", function: "work" })
    await harness.advance("1h")
    expect(times(seen)).toEqual(["00:15:00", "00:20:00", "00:30:00", "00:45:00", "01:00:00"])
    expect(seen[0]?.data).toMatchObject({
      everyMs: 900_000,
      scheduledAt: "2026-01-01T00:15:00.000Z",
      scheduleId: "app-often",
      data: { a: 1 },
    })
    expect(await app.schedules.get("once")).toMatchObject({ nextTickAt: null, nextAt: null })
    expect(await app.schedules.next("once")).toEqual([])
  })

  it("is left alone by the same upsert, and begins anew with another rule", async () => {
    const { app, seen } = await start()
    const wish = { id: "s", every: "1h", event: "app/due" } as const
    await app.schedules.upsert(wish)
    await harness.advance("40m")
    expect(await app.schedules.upsertMany([wish])).toEqual({ created: 0, changed: 0, unchanged: 1 })
    await harness.advance("40m")
    expect(times(seen)).toEqual(["01:00:00"])
    await app.schedules.update("s", { data: { b: 2 } })
    expect(await app.schedules.get("s")).toMatchObject({ nextTickAt: Date.parse("2026-01-01T02:00:00Z"), data: '{"b":2}' })
    await app.schedules.update("s", { every: "30m" })
    await harness.advance("1h")
    expect(times(seen)).toEqual(["01:00:00", "01:50:00", "02:20:00"])
    await app.schedules.delete("s")
    await harness.advance("5h")
    expect(seen).toHaveLength(3)
    await expect(app.schedules.get("s")).rejects.toMatchObject({ code: "not_found" })
  })

  it("fires late by its jitter, the same each time, and says so beforehand", async () => {
    const { app, seen } = await start()
    await app.schedules.upsert({ id: "s", every: "1h", event: "app/due", jitter: "30m" })
    const [first] = await app.schedules.next("s", 1)
    if (first === undefined) throw new Error("a moment expected")
    expect(first.firesAt).toBeGreaterThan(first.at)
    await harness.advance(first.firesAt - harness.now() - 1)
    expect(seen).toEqual([])
    await harness.advance(2)
    expect(times(seen)).toEqual(["01:00:00"])
  })

  it("has its own pause, with a note that everybody sees; what passes is recorded", async () => {
    const { app, seen } = await start()
    await app.schedules.upsert({ id: "s", every: "1h", event: "app/due" })
    await app.schedules.pause("s", { note: "too loud" })
    expect(await app.schedules.get("s")).toMatchObject({ note: "too loud", pausedAt: harness.now() })
    await harness.advance("2h30m")
    await app.schedules.upsert({ id: "s", every: "1h", event: "app/due", tag: "t" })
    await harness.advance("1h")
    await app.schedules.resume("s")
    await harness.advance("1h")
    expect(await outcomes(app, "s")).toEqual(["01:00 paused", "02:00 paused", "03:00 paused", "04:00 fired"])
    expect(times(seen)).toEqual(["04:00:00"])
  })

  it("can be run now, without a trace in the ledger", async () => {
    const { app, seen } = await start()
    await app.schedules.upsert({ id: "s", every: "1h", event: "app/due" })
    const { runIds } = await app.schedules.run("s")
    await harness.settle()
    expect(await harness.run(runIds[0] ?? "")).toMatchObject({ state: "completed" })
    expect([seen.length, (await app.schedules.ticks("s")).items.length]).toEqual([1, 0])
  })
})

describe("overlap", () => {
  it.each([
    ["allow", ["01:00 fired", "02:00 fired", "03:00 fired", "04:00 fired"]],
    ["skip", ["01:00 fired", "02:00 skipped_overlap", "03:00 skipped_overlap", "04:00 fired"]],
    ["queue", ["01:00 fired", "02:00 fired", "03:00 skipped_overlap"]],
    ["cancel", ["01:00 fired", "02:00 fired", "03:00 fired", "04:00 fired"]],
  ] as const)("%s, of runs that sleep for two and a half hours", async (overlap, expected) => {
    const { app } = await start(2.5 * 3_600_000)
    await app.schedules.upsert({ id: "s", every: "1h", event: "app/due", overlap })
    await harness.advance("4h30m")
    expect(await outcomes(app, "s")).toEqual(expected)
    const states = (await harness.runs({ functionId: "app-work" })).map(({ state }) => state).toReversed()
    if (overlap === "cancel") expect(states).toEqual(["cancelled", "cancelled", "cancelled", "waiting"])
    if (overlap !== "queue") return
    expect(states).toEqual(["completed", "waiting"])
    expect(await app.schedules.get("s")).toMatchObject({ waitingAt: Date.parse("2026-01-01T04:00:00Z") })
  })

  it("cancel aborts the signal of what is running, and nothing that it still does is kept", async () => {
    const { app, seen, aborted } = await start()
    await app.schedules.upsert({ id: "s", every: "1h", function: "long", overlap: "cancel" })
    await harness.advance("2h30m")
    expect([seen.length, aborted()]).toEqual([2, 1])
    expect((await harness.runs({ functionId: "app-long" })).map(({ state }) => state)).toEqual(["running", "cancelled"])
  })
})

describe("a machine that slept for six hours", () => {
  it.each([
    ["none", ["skipped_late", "skipped_late", "skipped_late", "skipped_late", "skipped_late", "skipped_late"], 0],
    ["latest", ["skipped_late", "skipped_late", "skipped_late", "skipped_late", "skipped_late", "caught_up"], 1],
    ["all", ["caught_up", "caught_up", "caught_up", "caught_up", "caught_up", "caught_up"], 6],
    [{ take: "all", within: "3h", cap: 100 }, ["skipped_late", "skipped_late", "skipped_late", "caught_up", "caught_up", "caught_up"], 3],
  ] as const)("does what the policy says: %j", async (missed, expected, runs) => {
    const { app, seen } = await start()
    await app.schedules.upsert({ id: "s", every: "1h", event: "app/due", missed })
    await harness.jump("6h30m")
    expect((await outcomes(app, "s")).map((each) => each.slice(6))).toEqual(expected)
    expect(seen).toHaveLength(runs)
    await harness.advance("1h")
    expect(seen).toHaveLength(runs + 1)
  })
})

describe("backfill", () => {
  it("starts what the ledger does not have, once, over several parts", async () => {
    const { app, seen } = await start(0, "2026-01-03T00:00:00Z")
    await app.schedules.upsert({ id: "s", cron: "* * * * *", event: "app/due" })
    await harness.advance("10m")
    const day = ["2026-01-02T00:00:00Z", "2026-01-03T00:10:00Z"] as const
    expect(await app.schedules.backfill("s", ...day, { dryRun: true })).toEqual({ started: 1_441, known: 10 })
    expect(await app.schedules.backfill("s", ...day)).toEqual({ started: 1_441, known: 10 })
    await harness.settle()
    expect(seen).toHaveLength(1_451)
    expect(await app.schedules.backfill("s", ...day)).toEqual({ started: 0, known: 1_451 })
  })

  it.each([
    [["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"], { code: "invalid_option", field: "from" }],
    [["2026-01-02T00:00:00Z", "2030-01-01T00:00:00Z"], { code: "invalid_option", field: "to" }],
    [["soon", "2026-01-02T00:00:00Z"], { code: "invalid_option", field: "from" }],
    [["2015-01-02T00:00:00Z", "2026-01-02T00:00:00Z"], { code: "too_many", bound: 10_000 }],
  ])("refuses %j before anything is written", async ([from = "", to = ""], error) => {
    const { app } = await start(0, "2026-02-01T00:00:00Z")
    await app.schedules.upsert({ id: "s", cron: "* * * * * *", event: "app/due" })
    await expect(app.schedules.backfill("s", from, to)).rejects.toMatchObject(error)
    expect((await app.schedules.ticks("s")).items).toEqual([])
  })
})

describe("schedules of cron triggers", () => {
  it("are there too, keep a pause over restarts, and belong to the code", async () => {
    const { app } = await start()
    expect(await app.schedules.get("nightly")).toMatchObject({ id: "app-nightly", appId: "app", policies: { overlap: "skip" } })
    await app.schedules.pause("nightly", { note: "holidays" })
    await harness.crash()
    await harness.advance("26h")
    expect(await outcomes(app, "nightly")).toEqual(["01:00 paused", "01:00 paused"])
    await expect(app.schedules.upsert({ id: "nightly", every: "1h", event: "app/due" })).rejects.toMatchObject({ code: "invalid_option" })
    await expect(app.schedules.delete("nightly")).rejects.toMatchObject({
      code: "invalid_option",
      message: expect.stringContaining("code"),
    })
  })
})

describe("lists", () => {
  it("are by tag, page by page, of the app that asks", async () => {
    const { app } = await start()
    const many = Array.from(
      { length: 25 },
      (_, i) => ({ id: `u${i}`, every: "1h", event: "app/due", tag: i % 2 === 0 ? "even" : "odd" }) as const,
    )
    expect(await app.schedules.upsertMany(many)).toEqual({ created: 25, changed: 0, unchanged: 0 })
    const first = await app.schedules.list({ tag: "even", limit: 10 })
    const rest = await app.schedules.list({ tag: "even", limit: 10, after: first.next ?? "" })
    expect([first.items.length, rest.items.length, rest.next]).toEqual([10, 3, null])
    expect((await app.schedules.list({ limit: 500 })).items).toHaveLength(26)
  })
})

describe("what is no schedule", () => {
  it.each<[object, object]>([
    [
      { id: "s", cron: "0 0 30 2 *", event: "app/due" },
      { code: "invalid_trigger", field: "schedule.cron" },
    ],
    [
      { id: "s", cron: "0 9 * * *", timezone: "Mars/Base", event: "app/due" },
      { code: "invalid_trigger", field: "schedule.timezone" },
    ],
    [
      { id: "s", at: "2020-01-01T00:00:00Z", event: "app/due" },
      { code: "invalid_option", field: "at" },
    ],
    [
      { id: "s", every: "1h", function: "unknown" },
      { code: "not_found", field: "schedule.function" },
    ],
    [
      { id: "s", every: "1h" },
      { code: "invalid_option", field: "schedule" },
    ],
    [
      { id: "s", every: "1h", event: "app/due", function: "work" },
      { code: "invalid_option", field: "schedule" },
    ],
    [
      { id: "s", every: "1h", cron: "@daily", event: "app/due" },
      { code: "invalid_trigger", field: "schedule" },
    ],
    [{ id: "s", every: "1h", event: "fanfare/mine" }, { code: "invalid_event" }],
    [{ id: "s", every: "1h", event: "app/due", data: [1] }, { code: "invalid_event" }],
    [
      { id: "", every: "1h", event: "app/due" },
      { code: "invalid_option", field: "schedule.id", bound: 256 },
    ],
    [
      { id: "s", every: "1h", event: "app/due", tag: "x".repeat(129) },
      { code: "invalid_option", field: "schedule.tag", bound: 128 },
    ],
    [
      { id: "s", every: "1h", event: "app/due", colour: "red" },
      { code: "invalid_option", field: "schedule.colour" },
    ],
  ])("is refused: %j", async (wish, error) => {
    const { app } = await start()
    await expect(app.schedules.upsert(wish as never)).rejects.toMatchObject(error)
    expect((await app.schedules.list()).items).toHaveLength(1)
  })

  it("nor are too many at once, or the same one twice", async () => {
    const { app } = await start()
    const one = { id: "s", every: "1h", event: "app/due" } as const
    const many = Array.from({ length: 10_001 }, () => one)
    await expect(app.schedules.upsertMany(many)).rejects.toMatchObject({ code: "too_many", bound: 10_000 })
    await expect(app.schedules.upsertMany([one, one])).rejects.toMatchObject({ code: "invalid_option", field: "schedules[1].id" })
  })

  it("is data that the schema of its event does not take", async () => {
    const typed = new Fanfare({ id: "typed", schemas: { "typed/due": z.object({ user: z.number() }) } })
    harness = await createHarness({ client: typed })
    const wrong = { id: "s", every: "1h", event: "typed/due", data: { user: "x" } } as never
    await expect(typed.schedules.upsert(wrong)).rejects.toMatchObject({ code: "schema_mismatch", field: "schedule.data.user" })
    await typed.schedules.upsert({ id: "s", every: "1h", event: "typed/due", data: { user: 1 } })
  })
})

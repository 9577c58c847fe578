import { beforeEach, describe, expect, it } from "vitest"
import { defineFunction, type FunctionOptions } from "../../src/core/definition.ts"
import type { ClaimedRun } from "../../src/core/run.ts"
import { loadBegin, loadStepMs } from "../../src/core/load.ts"
import { defaultPolicies, type OverlapPolicy, type Schedule, type Tick } from "../../src/core/schedule.ts"
import type { CheckedSchedule } from "../../src/core/schedules.ts"
import { claim as claimRuns, openEach, store, type StoreUnderTest, under } from "./opened.ts"

const hour = 3_600_000
let drawn = 0
const chance = (): [number, number] => [(++drawn * 0.618) % 1, (drawn * 0.414) % 1]

/** What a store does with schedules: on every database exactly this. */
export function scheduleConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`schedules in a store on ${name}`, () => {
    openEach(open)
    let now: number
    const claim = (functionIds = ["app-f"]): Promise<readonly ClaimedRun[]> => claimRuns(5_000, functionIds)
    const register = async (options: Partial<FunctionOptions> = {}): Promise<void> => {
      const definition = defineFunction("app", { id: "f", triggers: [{ event: "app/due" }], ...options })
      const changes = [
        { kind: "app.put", appId: "app", functionIds: [definition.id], at: 1 },
        { kind: "function.put", definition, at: 1 },
      ] as const
      await store.turn({ units: [{ changes, guard: null, registry: null }], claim: null })
    }
    /** A schedule one of whose moments, `at`, is due and not decided. */
    const put = async (at: number, over: Partial<Schedule> = {}, overlap: OverlapPolicy = "allow"): Promise<void> => {
      const schedule: Schedule = {
        id: "app-s",
        appId: null,
        functionId: "app-f",
        event: null,
        rule: { kind: "every", everyMs: hour, anchorAt: at },
        policies: { ...defaultPolicies, overlap },
        data: null,
        tag: null,
        createdAt: 1,
        updatedAt: 1,
        lastTickAt: null,
        nextTickAt: at,
        nextAt: at,
        waitingAt: null,
        lastEventId: null,
        pausedAt: null,
        note: null,
        ...over,
      }
      await store.turn({ units: [{ changes: [{ kind: "schedule.put", schedule }], guard: null, registry: null }], claim: null })
    }
    /** Another moment of the same schedule is due. */
    const again = async (at: number, overlap: OverlapPolicy): Promise<void> => {
      const old = await under.opened.reader.schedule(["app-s"])
      await put(at, { lastEventId: old?.lastEventId ?? null, waitingAt: old?.waitingAt ?? null }, overlap)
    }
    const ledger = async (id = "app-s"): Promise<readonly Tick[]> => (await under.opened.reader.ticks(id, null, 100)).items
    const outcomes = async (): Promise<string[]> => (await ledger()).map(({ outcome }) => outcome).toReversed()
    const settle = (run: ClaimedRun, to: "completed" | "waiting"): ReturnType<typeof store.turn> => {
      const settlement =
        to === "completed" ? { to, output: "1", failure: null } : { to, dueAt: Date.now() + 3 * hour, limits: run.limits, losses: 0 }
      const changes = [{ kind: "run.settle", run, attempt: run.attempt, startedAt: 1, endedAt: 2, settlement }] as const
      return store.turn({ units: [{ changes, guard: { runId: run.id, fence: run.fence }, registry: null }], claim: null })
    }
    const wish = (id: string, over: Partial<CheckedSchedule> = {}): CheckedSchedule => ({
      id,
      functionId: "app-f",
      event: null,
      rule: { kind: "every", everyMs: hour, anchorAt: now },
      policies: defaultPolicies,
      data: null,
      tag: null,
      ...over,
    })

    beforeEach(() => {
      now = under.clock?.now() ?? Date.now()
    })

    it("writes a moment and the run that it starts in one, and looks at the schedule again when the next one comes", async () => {
      await register()
      await put(now - 100, { data: '{"user":1}' })
      const ticked = await store.tick(chance())
      expect(ticked).toMatchObject({
        more: false,
        nextAt: now - 100 + hour,
        ticks: [{ scheduleId: "app-s", at: now - 100, outcome: "fired" }],
      })
      const [run] = await claim()
      expect(run?.id).toBe(ticked.ticks[0]?.runId)
      expect(JSON.parse(run?.event.data ?? "")).toMatchObject({ scheduledAt: new Date(now - 100).toISOString(), data: { user: 1 } })
      expect((await store.tick(chance())).ticks).toEqual([])
      expect(await ledger()).toMatchObject([{ at: now - 100, runId: run?.id, reason: null }])
      expect(await under.opened.reader.schedule(["app-s"])).toMatchObject({ lastTickAt: now - 100, nextTickAt: now - 100 + hour })
    })

    it("decides each moment once, however many nodes look at the same time", async () => {
      await register()
      const ids = Array.from({ length: 60 }, (_, i) => `app-s${i}`)
      for (const id of ids) await put(now - 100, { id })
      const all = (await Promise.all(Array.from({ length: 12 }, () => store.tick(chance())))).flatMap(({ ticks }) => ticks)
      expect(all.map(({ scheduleId }) => scheduleId).toSorted()).toEqual(ids.toSorted())
      expect(await claim()).toHaveLength(60)
    })

    it("never decides a moment again, also when its schedule is put back or its row was forgotten", async () => {
      await register()
      await put(now - 100)
      await store.tick(chance())
      await put(now - 100)
      expect((await store.tick(chance())).ticks).toEqual([])
      expect(await claim()).toHaveLength(1)
      expect(await store.prune(Date.now() + hour, 10)).toBe(1)
      expect(await ledger()).toEqual([])
      expect(await under.opened.reader.schedule(["app-s"])).toMatchObject({ lastTickAt: now - 100 })
    })

    it("decides the others when one cannot be read, and looks at that one again later", async () => {
      await register()
      const rule = { kind: "cron", cron: "* * * * *", timezone: "Mars/Base", dst: { gap: "shift", repeat: "both" } } as const
      await put(now - 200, { id: "app-mars", rule })
      await put(now - 100)
      expect(await store.tick(chance())).toMatchObject({
        ticks: [{ scheduleId: "app-s" }],
        unfit: [{ scheduleId: "app-mars", why: expect.stringContaining("Mars/Base") }],
      })
      expect(await under.opened.reader.schedule(["app-mars"])).toMatchObject({ nextTickAt: now - 200, lastTickAt: null })
      expect((await store.tick(chance())).unfit).toEqual([])
    })

    it("sends an event to all functions that hear it, and says when none does", async () => {
      await register()
      await put(now - 100, { functionId: null, event: "app/due", data: '{"a":1}' })
      await put(now - 100, { id: "app-t", functionId: null, event: "app/unheard" })
      await put(now - 100, { id: "app-u", functionId: "app-gone" })
      await store.tick(chance())
      expect(await claim()).toMatchObject([{ functionId: "app-f", event: { name: "app/due", data: '{"a":1}', ts: now - 100 } }])
      expect(await ledger("app-t")).toMatchObject([
        { outcome: "fired", runId: null, eventId: null, reason: 'no function hears "app/unheard"' },
      ])
      expect(await ledger("app-u")).toMatchObject([{ outcome: "fired", runId: null, reason: expect.stringContaining("app-gone") }])
    })

    it("skips while what the last moment started lives: in line, running or asleep", async () => {
      await register()
      await put(now - 100, {}, "skip")
      await store.tick(chance())
      await again(now - 90, "skip")
      await store.tick(chance())
      const [run] = await claim()
      if (run === undefined) throw new Error("a run expected")
      await again(now - 80, "skip")
      await store.tick(chance())
      await settle(run, "waiting")
      await again(now - 70, "skip")
      await store.tick(chance())
      expect(await outcomes()).toEqual(["fired", "skipped_overlap", "skipped_overlap", "skipped_overlap"])
      expect(await claim()).toEqual([])
    })

    it("lets one moment wait under queue, and starts it when the one before has ended", async () => {
      await register()
      await put(now - 100, {}, "queue")
      await store.tick(chance())
      const [run] = await claim()
      if (run === undefined) throw new Error("a run expected")
      for (const at of [now - 90, now - 80]) {
        await again(at, "queue")
        await store.tick(chance())
      }
      expect(await outcomes()).toEqual(["fired", "skipped_overlap"])
      expect(await under.opened.reader.schedule(["app-s"])).toMatchObject({ waitingAt: now - 90 })
      await settle(run, "completed")
      await again(now + 2 * hour, "queue")
      await put(now + 2 * hour, { nextAt: now - 1, waitingAt: now - 90, lastEventId: run.event.id }, "queue")
      await store.tick(chance())
      expect((await ledger()).find(({ at }) => at === now - 90)).toMatchObject({
        outcome: "fired",
        reason: expect.stringContaining("waited"),
      })
      expect(await claim()).toHaveLength(1)
      expect(await under.opened.reader.schedule(["app-s"])).toMatchObject({ waitingAt: null })
    })

    it.each(["in line", "held", "running", "asleep"] as const)("cancels what is %s, and starts the next", async (where) => {
      await register({ concurrency: 1 })
      if (where === "held") {
        await put(now - 100, { id: "app-other" })
        await store.tick(chance())
      }
      await put(now - 100, {}, "cancel")
      await store.tick(chance())
      const [run] = where === "in line" ? [] : await claim()
      if (where === "asleep" && run !== undefined) await settle(run, "waiting")
      const [first] = await ledger()
      await again(now - 50, "cancel")
      const { cancelled } = await store.tick(chance())
      expect(await under.opened.reader.run(first?.runId ?? "")).toMatchObject({ state: "cancelled" })
      expect(cancelled).toEqual(where === "running" ? [[first?.runId, 1]] : [])
      if (where === "running" && run !== undefined) {
        expect(await store.gone([[run.id, run.fence]])).toEqual([[run.id, run.fence]])
        const { results } = await settle(run, "completed")
        expect(results).toMatchObject([{ kind: "fenced" }])
      }
      const [latest] = await ledger()
      if (where === "held") {
        expect(await claim()).toEqual([])
        if (run !== undefined) await settle(run, "completed")
      }
      expect((await claim()).map(({ id }) => id)).toEqual([latest?.runId])
    })

    it("makes schedules, changes what is different and leaves what is the same", async () => {
      await register()
      const wanted = Array.from({ length: 300 }, (_, i) =>
        wish(`app-u${String(i).padStart(3, "0")}`, { tag: i % 3 === 0 ? "third" : null }),
      )
      expect(await store.upsertSchedules(wanted)).toEqual({ created: 300, changed: 0, unchanged: 0 })
      const next = wanted.map((each, i) =>
        i === 7 ? { ...each, data: '{"b":2}' } : { ...each, rule: { ...each.rule, anchorAt: now + 5 } },
      )
      expect(await store.upsertSchedules(next as CheckedSchedule[])).toEqual({ created: 0, changed: 1, unchanged: 299 })
      expect(await under.opened.reader.schedule(["app-u008"])).toMatchObject({ rule: { anchorAt: now }, nextTickAt: now + hour })
      const found = await under.opened.reader.schedules({ tag: "third", limit: 60 })
      const rest = await under.opened.reader.schedules({ tag: "third", limit: 60, after: found.next ?? "" })
      expect([found.items.length, rest.items.length, rest.next]).toEqual([60, 40, null])
      expect((await under.opened.reader.schedules({ app: "app", limit: 500 })).items).toHaveLength(300)
      expect((await under.opened.reader.schedules({ app: "ap", limit: 500 })).items).toHaveLength(0)
    })

    it("tells what comes in the next 24 h, and of very many schedules about how much", async () => {
      const pileAt = loadBegin(now) + 12 * hour
      const [minutes, hours] = [new Date(pileAt).getUTCMinutes(), new Date(pileAt).getUTCHours()]
      const daily = { kind: "cron", cron: `${minutes} ${hours} * * *`, timezone: "UTC", dst: { gap: "shift", repeat: "first" } } as const
      const piled = Array.from({ length: 40 }, (_, i) => wish(`app-n${i}`, { rule: daily }))
      // At the end of a quarter of an hour: the 24 h begin with the quarter that is under way, and what it had before now is over.
      const anchorAt = loadBegin(now) + loadStepMs - 1 - 24 * hour
      await store.upsertSchedules([...piled, wish("app-each", { rule: { kind: "every", everyMs: hour, anchorAt } })])
      await store.pauseSchedule("app-n7", null)
      const few = await under.opened.reader.scheduleLoad()
      expect([few.exact, few.buckets.length]).toEqual([true, 96])
      const pile = few.buckets.find(({ at }) => at === pileAt)
      // One of them is paused, and the hourly one has a moment in each fourth quarter: in this one too.
      expect(pile?.ticks).toBe(39 + 1)
      expect(pile?.schedules).toHaveLength(3)
      expect(few.buckets.reduce((sum, { ticks }) => sum + ticks, 0)).toBe(39 + 24)
      expect(few.next[0]).toMatchObject({ scheduleId: "app-each", timezone: null })
      const many = Array.from({ length: 2_500 }, (_, i) => wish(`app-m${i}`, { rule: daily }))
      for (let i = 0; i < many.length; i += 500) await store.upsertSchedules(many.slice(i, i + 500))
      const about = await under.opened.reader.scheduleLoad()
      expect(about.exact).toBe(false)
      expect(Math.abs((about.buckets.find(({ at }) => at === pileAt)?.ticks ?? 0) - 2_540)).toBeLessThan(60)
      expect(about.buckets.filter(({ ticks }) => ticks > 100)).toHaveLength(1)
    })

    it("makes one schedule of a storm of the same upsert", async () => {
      const done = await Promise.all(Array.from({ length: 10 }, () => store.upsertSchedules([wish("app-a"), wish("app-b")])))
      expect(done.every((each) => !("kind" in each))).toBe(true)
      expect((await under.opened.reader.schedules({})).items.map(({ id }) => id)).toEqual(["app-a", "app-b"])
    })

    it("refuses what belongs to code, and a moment of the past, whole", async () => {
      await put(now + hour, { appId: "app" })
      expect(await store.upsertSchedules([wish("app-a"), wish("app-s")])).toEqual({ kind: "owned", id: "app-s", appId: "app" })
      const past = wish("app-p", { rule: { kind: "at", at: now - hour } })
      expect(await store.upsertSchedules([wish("app-a"), past])).toMatchObject({ kind: "past", id: "app-p" })
      expect((await under.opened.reader.schedules({})).items).toHaveLength(1)
      expect(await store.removeSchedule("app-s")).toBe(false)
    })

    it("fires a single moment once, keeps the schedule as ended, and forgets it with the retention", async () => {
      await register()
      await store.upsertSchedules([wish("app-once", { rule: { kind: "at", at: now - 1 } })])
      await store.tick(chance())
      expect(await claim()).toHaveLength(1)
      expect(await under.opened.reader.schedule(["app-once"])).toMatchObject({ nextTickAt: null, nextAt: null })
      expect(await store.upsertSchedules([wish("app-once", { rule: { kind: "at", at: now - 1 } })])).toMatchObject({ unchanged: 1 })
      expect((await store.tick(chance())).ticks).toEqual([])
      await store.prune(Date.now() + hour, 10)
      expect(await under.opened.reader.schedule(["app-once"])).toBeNull()
    })

    it("pauses with a note; what comes meanwhile is recorded and passes", async () => {
      await register()
      await put(now - 100)
      expect(await store.pauseSchedule("app-s", "too loud")).toMatchObject({ note: "too loud", pausedAt: expect.any(Number) })
      await store.tick(chance())
      await again(now - 50, "allow")
      expect(await store.resumeSchedule("app-s")).toMatchObject({ pausedAt: null, note: null })
      expect(await outcomes()).toEqual(["paused", "paused"])
      expect(await claim()).toEqual([])
      expect(await store.pauseSchedule("app-unknown", null)).toBeNull()
    })

    it("backfills what the ledger does not have, once, and one at a time if asked to", async () => {
      await register()
      const begin = now - 100 - 4 * hour
      await put(now - 100, { rule: { kind: "every", everyMs: hour, anchorAt: begin } })
      await store.tick(chance())
      const range = { id: "app-s", from: begin, to: now, overlap: "queue" as const }
      expect(await store.backfill(chance(), range)).toEqual({ started: 4, known: 1, rest: null, nobody: null })
      expect(await store.backfill(chance(), range)).toEqual({ started: 0, known: 5, rest: null, nobody: null })
      expect((await outcomes()).filter((outcome) => outcome === "backfilled")).toHaveLength(4)
      const first = await claim()
      expect(first).toHaveLength(2)
      for (const run of first) await settle(run, "completed")
      expect(await claim()).toHaveLength(1)
    })

    it("takes no moment for a backfill that would start nothing", async () => {
      await put(now + hour, { rule: { kind: "every", everyMs: hour, anchorAt: now - 4 * hour } })
      const range = { id: "app-s", from: now - 4 * hour, to: now, overlap: "allow" as const }
      const nobody = expect.stringContaining("no app offers the function")
      expect(await store.backfill(chance(), range)).toEqual({ started: 0, known: 0, rest: null, nobody })
      await register()
      expect(await store.backfill(chance(), range)).toMatchObject({ started: 5, known: 0 })
    })

    it("starts a run now and leaves ledger and moments alone", async () => {
      await register()
      await put(now + hour)
      const run = await store.runSchedule(chance(), "app-s")
      expect((await claim()).map(({ id }) => id)).toEqual(run?.runIds)
      expect(await ledger()).toEqual([])
      expect(await under.opened.reader.schedule(["app-s"])).toMatchObject({ nextTickAt: now + hour, lastTickAt: null })
    })
  })
}

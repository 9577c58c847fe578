import { describe, expect, it } from "vitest"
import type { Change } from "../../src/core/change.ts"
import { limits } from "../../src/core/limits.ts"
import type { Login } from "../../src/core/login.ts"
import { completed, event, guardOf, pair, part, run, settle, step, unit } from "./conformance.ts"
import { claim, commit, openEach, store, type StoreUnderTest, under } from "./opened.ts"

let n = 0
const id = (kind: string): string => `${kind}_l${String(++n).padStart(21, "0")}`

function idOf(changes: readonly Change[]): string {
  return changes.flatMap((change) => (change.kind === "run.add" ? [change.run.id] : []))[0] ?? ""
}

/** What a store tells people who look at it: on every database exactly this. */
export function lookConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`looking at a store on ${name}`, () => {
    openEach(open)

    it("keeps counts of each node and minute as they were written last, and gives them by function and time", async () => {
      const tally = {
        functionId: "app-f",
        at: 60_000,
        nodeId: "node_a",
        completed: 1,
        failed: 0,
        retried: 2,
        durations: { 4: 1 },
        delays: {},
      }
      const put = (...tallies: (typeof tally)[]): ReturnType<typeof commit> => commit(unit([{ kind: "tally.put", tallies }]))
      await put(tally, { ...tally, at: 120_000 }, { ...tally, functionId: "" })
      await put({ ...tally, completed: 5 }, { ...tally, nodeId: "node_b" })
      const { reader } = under.opened
      expect(await reader.tallies("app-f", 0)).toMatchObject([
        { at: 60_000, nodeId: "node_a", completed: 5, durations: { 4: 1 } },
        { at: 60_000, nodeId: "node_b", completed: 1 },
        { at: 120_000, completed: 1 },
      ])
      expect(await reader.tallies("app-f", 60_001)).toHaveLength(1)
      expect(await reader.tallies("", 0)).toHaveLength(1)
      await store.prune(0, 10)
      expect(await reader.tallies("app-f", 0)).toEqual([])
    })

    it("remembers which logins have ended, of each key so many, until their cookies end", async () => {
      const { reader } = under.opened
      const { now } = await store.schedules([], [])
      const login = (i: number, keyId = "k", beganAt = now): Login => ({ id: `login ${i}`, keyId, beganAt })
      await store.logOut(login(0))
      await store.logOut(login(0))
      expect(await Promise.all([login(0), login(1), login(0, "other")].map((each) => reader.isLoggedOut(each)))).toEqual([
        true,
        false,
        false,
      ])
      await Promise.all(Array.from({ length: limits.logoutsPerKey - 1 }, (_, i) => store.logOut(login(i + 1))))
      expect(await reader.isLoggedOut(login(limits.logoutsPerKey))).toBe(false)
      await store.logOut(login(-1))
      const later = now + 60_000
      expect(
        await Promise.all([login(0), login(7_000), login(0, "other"), login(7_001, "k", later)].map((each) => reader.isLoggedOut(each))),
      ).toEqual([true, true, false, false])
      await store.logOut(login(0, "old", now - limits.sessionMs - 1))
      expect(await reader.isLoggedOut(login(0, "old"))).toBe(true)
      await store.logOut(login(1, "old"))
      expect(await reader.isLoggedOut(login(0, "old"))).toBe(false)
    })

    it("maps the runs of a fan-out by how each stands, in the order in which they were sent", async () => {
      const fanoutId = id("fan")
      const units = Array.from({ length: 6 }, () => unit(pair({ fanoutId })))
      await commit(...units, unit(pair()))
      const ids = units.flatMap(({ changes }) => changes.flatMap((change) => (change.kind === "run.add" ? [change.run.id] : [])))
      const [a, b, c, d] = await claim(4)
      if (a === undefined || b === undefined || c === undefined || d === undefined) throw new Error("four runs expected")
      const later = { dueAt: 4_000_000_000_000, limits: [], losses: 0 }
      await commit(
        settle(a, completed),
        settle(b, { to: "failed", output: null, failure: { name: "E", message: "m" } }),
        settle(c, { to: "scheduled", ...later }),
      )
      const { reader } = under.opened
      expect(await reader.fanoutCells(fanoutId)).toBe("cfarqq")
      expect(await reader.fanoutCell(fanoutId, 5)).toBe(ids[5])
      expect(await reader.fanoutCell(fanoutId, 6)).toBe(null)
      expect(await reader.fanoutCells("fan_none")).toBe("")
    })

    it("tells what led to a run, what it started one by one, and its neighbours in a fan-out", async () => {
      const { reader } = under.opened
      const [cron, sender, fanoutId] = [pair(), id("run"), id("fan")]
      const cronId = idOf(cron)
      const asked = pair({ id: sender, parentId: cronId })
      const [one, two] = [pair({ parentId: sender }), pair({ parentId: sender })]
      const sent = Array.from({ length: 5 }, () => pair({ fanoutId, parentId: sender }))
      for (const changes of [cron, asked, one, two, ...sent]) await commit(unit(changes))
      const around = async (of: string): Promise<unknown> => {
        const { causes = [], children = [], siblings = null } = (await reader.runFamily(of)) ?? {}
        return { causes: causes.map((run) => run.id), children: children.map((run) => run.id), siblings }
      }
      const ids = sent.map(idOf)
      for (const run of await claim()) {
        const failed = { to: "failed", output: null, failure: { name: "E", message: "m" } } as const
        if ([ids[0], ids[3], idOf(one)].includes(run.id)) await commit(settle(run, failed))
      }
      expect(await around(cronId)).toEqual({ causes: [], children: [sender], siblings: null })
      expect(await around(sender)).toEqual({ causes: [cronId], children: [idOf(one), idOf(two)], siblings: null })
      const between = { previous: ids[1], next: ids[3], previousFailed: ids[0], nextFailed: ids[3] }
      expect(await around(ids[2] ?? "")).toEqual({ causes: [sender, cronId], children: [], siblings: between })
      const first = { previous: null, next: ids[1], previousFailed: null, nextFailed: ids[3] }
      expect(await around(ids[0] ?? "")).toMatchObject({ siblings: first })
      expect(await around(ids[4] ?? "")).toMatchObject({ siblings: { next: null, previousFailed: ids[3], nextFailed: null } })
      expect(await reader.runFamily("run_none")).toBeNull()
    })

    it("shows by comparison what has moved: runs, fan-outs, what ended, functions", async () => {
      const { reader } = under.opened
      const fanoutId = id("fan")
      const before = await reader.standing()
      expect(before).toEqual(await reader.standing())
      await commit(unit([...pair({ fanoutId }), part({ id: fanoutId, taken: 1, events: 1, runs: 1 })]), unit(pair()))
      const begun = await reader.standing()
      expect(begun.counts.ready).toBe(before.counts.ready + 2)
      expect(begun.newestRun > before.newestRun).toBe(true)
      const [first] = await claim(1)
      if (first === undefined) throw new Error("a run expected")
      await commit(settle(first, completed))
      const ended = await reader.standing()
      expect(ended.counts).toMatchObject({ ready: begun.counts.ready - 1, running: begun.counts.running })
      expect(ended.fanouts[fanoutId]).not.toBe(begun.fanouts[fanoutId])
      const at = Math.floor(Date.now() / 60_000) * 60_000
      const tally = { functionId: "", at, nodeId: "node_a", completed: 1, failed: 2, retried: 3, durations: {}, delays: {} }
      await commit(unit([{ kind: "tally.put", tallies: [tally] }]))
      await store.pause("app-f", "keep")
      const now = await reader.standing()
      expect(now.ended).toBe(6)
      expect(now.registry).toBeGreaterThan(before.registry)
    })

    it("says what waits and how late it is, and that each run stands in one place", async () => {
      const { reader } = under.opened
      const now = Date.now()
      const late = unit(pair({ createdAt: now - 60_000, dueAt: now - 50_000 }))
      await commit(late, ...Array.from({ length: 4 }, () => unit(pair({ createdAt: now - 1_000, dueAt: now - 1_000 }))))
      const { functions, counts, timerLateMs } = await reader.backlog()
      expect(functions).toMatchObject([{ functionId: "app-f", ready: 5 }])
      expect(functions[0]?.lateMs).toBeGreaterThan(49_000)
      expect(functions[0]?.lateMs).toBeLessThan(58_000)
      expect([counts.ready, timerLateMs]).toEqual([5, 0])
      const [first] = await claim(2)
      if (first === undefined) throw new Error("a run expected")
      await commit(settle(first, completed))
      const newest = await reader.placing(null, 3)
      expect(newest).toMatchObject({ looked: 3, orphans: 0 })
      expect(await reader.placing(newest.next, 3)).toEqual({ looked: 2, orphans: 0, next: null })
    })

    it("lists failed runs along with what they have in common, whatever the function, and pages through them", async () => {
      await commit(...Array.from({ length: 7 }, (_, i) => unit(pair({ functionId: i < 5 ? "app-f" : "app-g" }))))
      const claimed = await claim(100, ["app-f", "app-g"])
      await commit(
        ...claimed.map((each, i) =>
          settle(each, i === 0 ? completed : { to: "failed", output: null, failure: { name: "E", message: `no ${i}` } }),
        ),
      )
      const { reader } = under.opened
      const causes = await reader.failureCauses()
      expect(causes).toMatchObject({ looked: 6, more: false })
      expect(Object.fromEntries(causes.items.map(({ functionId, count }) => [functionId, count]))).toEqual({ "app-f": 4, "app-g": 2 })
      const seen: string[] = []
      let after: string | undefined
      do {
        const page = await reader.runs({ state: "failed", limit: 4, ...(after === undefined ? {} : { after }) })
        seen.push(...page.items.map((each) => each.id))
        after = page.next ?? undefined
      } while (after !== undefined)
      expect(seen).toEqual(
        claimed
          .slice(1)
          .map((each) => each.id)
          .toSorted()
          .toReversed(),
      )
      expect((await reader.runs({ state: "failed", functionId: "app-g" })).items).toHaveLength(2)
    })

    it("gives less of each step and log line, the more there are", async () => {
      await commit(unit(pair()))
      const [claimed] = await claim()
      if (claimed === undefined) throw new Error("a run expected")
      const long = "x".repeat(5_000)
      const lines = Array.from({ length: 1_000 }, () => ({ at: 1, level: "info", message: long, fields: `"${long}"` }) as const)
      const saved = Array.from({ length: 1_000 }, (_, i) => ({
        kind: "step.save" as const,
        runId: claimed.id,
        fence: 1,
        step: { ...step(`s${i}`), output: `"${long}"` },
      }))
      await commit(unit([...saved, { kind: "log.add", runId: claimed.id, fence: 1, from: 0, lines }], guardOf(claimed)))
      const { reader } = under.opened
      const preview = await reader.run(claimed.id, limits.previewChars)
      const chars = Math.floor(limits.previewAllChars / 1_000)
      expect(preview?.steps[999]).toMatchObject({ output: `"${long}`.slice(0, chars), outputChars: 5_002 })
      expect(preview?.logs[999]).toMatchObject({ message: long.slice(0, chars), messageChars: 5_000, fieldsChars: 5_002 })
      const whole = await reader.run(claimed.id)
      expect([whole?.steps[0]?.output, whole?.logs[0]?.message]).toEqual([`"${long}"`, long])
    })

    it("gives the beginnings of payloads, and how long they are", async () => {
      const cause = event({ data: '{"text":"äöü and more"}' })
      await commit(unit([cause, run(cause.event.id)]))
      const [claimed] = await claim()
      if (claimed === undefined) throw new Error("a run expected")
      await commit(settle(claimed, { to: "completed", output: '"a long output"', failure: null }))
      const { reader } = under.opened
      expect(await reader.run(claimed.id, 11)).toMatchObject({ data: '{"text":"äö', dataChars: 23, output: '"a long out', outputChars: 15 })
      expect(await reader.run(claimed.id)).toMatchObject({ data: '{"text":"äöü and more"}', output: '"a long output"' })
      expect(await reader.event(cause.event.id, 8)).toMatchObject({ name: "app/go", data: '{"text":', dataChars: 23 })
      expect((await reader.runs({ eventId: cause.event.id })).items.map((each) => each.id)).toEqual([claimed.id])
      await commit(unit([event()]))
      const events = await reader.events(null, 1)
      expect(events.items).toHaveLength(1)
      expect((await reader.events(events.next, 1)).items.map((each) => each.id)).toEqual([cause.event.id])
    })
  })
}

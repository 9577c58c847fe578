import { describe, expect, it } from "vitest"
import type { Change, Unit, UnitResult } from "../../src/core/change.ts"
import type { ClaimedRun, LimitClaim } from "../../src/core/run.ts"
import { scheduleConformance } from "./schedule-conformance.ts"
import { claim, commit, openEach, store, type StoreUnderTest, under } from "./opened.ts"

export const now = (): number => Date.now()
let n = 0
const id = (kind: string): string => `${kind}_${String(++n).padStart(22, "0")}`

export function event(over: Partial<Extract<Change, { kind: "event.add" }>["event"]> = {}): Extract<Change, { kind: "event.add" }> {
  return {
    kind: "event.add",
    event: { id: id("evt"), key: null, name: "app/go", data: '{"a":1}', ts: 1, receivedAt: 1, fanoutId: null, sourceRunId: null, ...over },
  }
}

export function run(
  eventId: string,
  over: Partial<Extract<Change, { kind: "run.add" }>["run"]> = {},
): Extract<Change, { kind: "run.add" }> {
  return {
    kind: "run.add",
    run: { id: id("run"), functionId: "app-f", eventId, fanoutId: null, parentId: null, createdAt: 1, dueAt: 1, limits: [], ...over },
  }
}

export function part(over: Partial<Extract<Change, { kind: "fanout.grow" }>> = {}): Extract<Change, { kind: "fanout.grow" }> {
  const rest = { key: null, runId: null, name: "app/go", cursor: null, at: 1, rules: null, runsBefore: 0 }
  return { kind: "fanout.grow", id: "fan_1", from: 0, taken: 2, events: 2, runs: 2, sealed: true, ...rest, ...over }
}

export function pair(over: Parameters<typeof run>[1] = {}): Change[] {
  const cause = event({ fanoutId: over.fanoutId ?? null })
  return [cause, run(cause.event.id, over)]
}

export const unit = (changes: readonly Change[], guard: Unit["guard"] = null, registry: number | null = null): Unit => ({
  changes,
  guard,
  registry,
})
export const guardOf = (claimed: ClaimedRun): Unit["guard"] => ({ runId: claimed.id, fence: claimed.fence })

export function settle(claimed: ClaimedRun, settlement: Extract<Change, { kind: "run.settle" }>["settlement"]): Unit {
  return unit([{ kind: "run.settle", run: claimed, attempt: claimed.attempt, startedAt: 5, endedAt: 9, settlement }], guardOf(claimed))
}

export const completed = { to: "completed", output: "1", failure: null } as const
export const kinds = (results: readonly UnitResult[]): string[] => results.map(({ kind }) => kind)

/** What a store is: every database that Fanfare runs on passes exactly this. */
export function storeConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  scheduleConformance(name, open)
  describe(`a store on ${name}`, () => {
    openEach(open)

    it("makes a unit durable and claims its run in the same turn", async () => {
      const turn = await store.turn({ units: [unit(pair())], claim: { nodeId: "node_a", functionIds: ["app-f"], limit: 10, after: "" } })
      expect(kinds(turn.results)).toEqual(["applied"])
      expect(turn.claim?.runs).toMatchObject([
        { functionId: "app-f", attempt: 1, fence: 1, losses: 0, event: { name: "app/go", data: '{"a":1}' } },
      ])
      expect(await claim()).toEqual([])
    })

    it("gives each run to one claim only, however many ask", async () => {
      await commit(...Array.from({ length: 50 }, () => unit(pair())))
      const all = (await Promise.all(Array.from({ length: 20 }, () => claim(5)))).flat()
      expect(new Set(all.map((each) => each.id)).size).toBe(50)
      expect(all).toHaveLength(50)
    })

    it("claims in the order in which runs were due", async () => {
      const due = [30, 10, 20]
      await commit(...due.map((dueAt) => unit(pair({ dueAt }))))
      expect((await claim()).map(({ rank }) => rank)).toEqual([10, 20, 30])
    })

    it("claims round robin over functions, and only what the node hosts", async () => {
      await commit(...["app-a", "app-b", "app-c"].flatMap((functionId) => Array.from({ length: 10 }, () => unit(pair({ functionId })))))
      const first = await claim(4, ["app-a", "app-b"])
      expect(first.map(({ functionId }) => functionId).toSorted()).toEqual(["app-a", "app-a", "app-b", "app-b"])
      const one = await store.turn({ units: [], claim: { nodeId: "node_a", functionIds: ["app-a", "app-b"], limit: 1, after: "app-a" } })
      expect(one.claim?.runs[0]?.functionId).toBe("app-b")
      expect(await claim(100, ["app-unknown"])).toEqual([])
    })

    it("claims no more of some functions, together, than a quota says", async () => {
      await commit(...["a", "a", "a", "b", "b", "c", "c"].map((name) => unit(pair({ functionId: `app-${name}` }))))
      const functionIds = ["app-a", "app-b", "app-c"]
      const quotas = [{ functionIds: ["app-a", "app-b"], most: 3 }]
      const request = { nodeId: "node_a", functionIds, limit: 10, after: "" }
      const first = (await store.turn({ units: [], claim: { ...request, quotas } })).claim?.runs ?? []
      expect(first.filter(({ functionId }) => functionId === "app-c")).toHaveLength(2)
      expect(first).toHaveLength(5)
      const none = quotas.map((quota) => ({ ...quota, most: 0 }))
      expect((await store.turn({ units: [], claim: { ...request, quotas: none } })).claim?.runs).toEqual([])
      expect((await store.turn({ units: [], claim: request })).claim?.runs).toHaveLength(2)
    })

    it("refuses every unit of an old fence, whole, and applies the others of the same turn", async () => {
      await commit(unit(pair()), unit(pair()))
      const [a, b] = await claim()
      if (a === undefined || b === undefined) throw new Error("two runs expected")
      const stale = { ...a, fence: a.fence - 1 }
      const child = event()
      const results = await commit(
        unit([child, { kind: "step.save", runId: a.id, fence: 0, step: step("s") }], guardOf(stale)),
        settle(b, completed),
        settle(stale, completed),
      )
      expect(kinds(results)).toEqual(["fenced", "applied", "fenced"])
      expect(await under.opened.reader.run(a.id)).toMatchObject({ state: "running", steps: [] })
      expect(kinds(await commit(settle(b, completed)))).toEqual(["fenced"])
    })

    it("keeps how a run ended, and never changes it", async () => {
      await commit(unit(pair()))
      const [claimed] = await claim()
      if (claimed === undefined) throw new Error("a run expected")
      await commit(settle(claimed, completed))
      expect(kinds(await commit(settle(claimed, { to: "failed", output: null, failure: { name: "E", message: "late" } })))).toEqual([
        "fenced",
      ])
      expect(await under.opened.reader.run(claimed.id)).toMatchObject({ state: "completed", output: "1", startedAt: 5, endedAt: 9 })
    })

    it("gives a run that comes back its next fence, its steps and the count of its log lines", async () => {
      await commit(unit(pair()))
      const [claimed] = await claim()
      if (claimed === undefined) throw new Error("a run expected")
      const line = { at: 1, level: "info", message: "hello", fields: null } as const
      await commit(
        unit(
          [
            { kind: "step.save", runId: claimed.id, fence: 1, step: step("s") },
            { kind: "log.add", runId: claimed.id, fence: 1, from: 0, lines: [line, line] },
          ],
          guardOf(claimed),
        ),
        settle(claimed, { to: "ready", dueAt: 1, limits: [], losses: 0 }),
      )
      const turn = await store.turn({ units: [], claim: { nodeId: "node_b", functionIds: ["app-f"], limit: 1, after: "" } })
      expect(turn.claim?.runs).toMatchObject([{ id: claimed.id, fence: 2, attempt: 2, logLines: 2 }])
      expect(turn.claim?.steps).toMatchObject([{ runId: claimed.id, key: "s", output: '"first"' }])
    })

    it("writes a step's result once, and replaces one that was not final", async () => {
      await commit(unit(pair()))
      const [claimed] = await claim()
      if (claimed === undefined) throw new Error("a run expected")
      const save = (output: string | null, state: "completed" | "retrying"): Unit =>
        unit([{ kind: "step.save", runId: claimed.id, fence: 1, step: { ...step("s"), output, state } }], guardOf(claimed))
      await commit(save(null, "retrying"))
      await commit(save('"first"', "completed"))
      await commit(save('"second"', "completed"))
      expect((await under.opened.reader.run(claimed.id))?.steps).toMatchObject([{ state: "completed", output: '"first"' }])
    })

    it("starts nothing twice for the same event id, says which event was first, and reports another body", async () => {
      const first = event({ key: "k" })
      const again = event({ key: "k" })
      const other = event({ key: "k", data: '{"a":2}' })
      const results = await commit(
        unit([first, run(first.event.id)]),
        unit([again, run(again.event.id)]),
        unit([other, run(other.event.id), ...pair()]),
      )
      expect(kinds(results)).toEqual(["applied", "applied", "conflict"])
      expect(results[1]).toMatchObject({ duplicates: { [again.event.id]: { id: first.event.id } } })
      expect(await commit(unit([event({ key: "k" })]))).toMatchObject([{ kind: "applied" }])
      expect(await claim()).toHaveLength(1)
    })

    it("takes an id for the event that was first, whatever the body, when it is told to", async () => {
      const first = event({ key: "k" })
      const second = event({ key: "k", data: '{"b":2}' })
      await commit(unit([first]))
      const [loose] = await commit({ ...unit([second, run(second.event.id)]), firstWins: true })
      expect(loose).toEqual({ kind: "applied", duplicates: { [second.event.id]: { id: first.event.id, fanoutId: null } } })
      expect(await claim()).toEqual([])
    })

    it("remembers apps that are called over HTTP, until they run in a node; each change has its version", async () => {
      const http = {
        id: "shop",
        url: "http://h/api",
        sdk: "js:v4",
        framework: null,
        calls: { "shop-a": "http://h/api?fnId=shop-a" },
        checksum: "1",
      }
      const put = (app?: typeof http): Unit =>
        unit([{ kind: "app.put", appId: "shop", functionIds: [], ...(app === undefined ? {} : { http: app }), at: 1 }])
      const version = async (): Promise<number> => (await store.functions()).version
      const versions = [await version()]
      await commit(put({ ...http, url: "http://old/", checksum: "0" }))
      versions.push(await version())
      await commit(put(http))
      versions.push(await version())
      expect(await store.functions()).toMatchObject({ version: versions[2], apps: [http] })
      await commit(put())
      expect((await store.functions()).apps).toEqual([])
      expect(versions).toEqual(versions.toSorted((a, b) => a - b))
      expect(new Set(versions).size).toBe(3)
    })

    it("counts a fan-out in the same turn as its runs", async () => {
      const grow = (sealed: boolean): Change => part({ id: "fan_1", from: sealed ? 2 : 0, taken: sealed ? 4 : 2, sealed })
      await commit(unit([...pair({ fanoutId: "fan_1" }), ...pair({ fanoutId: "fan_1" }), grow(false)]))
      await commit(unit([...pair({ fanoutId: "fan_1" }), ...pair({ fanoutId: "fan_1" }), grow(true)]))
      const [a, b, c] = await claim()
      if (a === undefined || b === undefined || c === undefined) throw new Error("runs expected")
      await commit(settle(a, completed), settle(b, { to: "failed", output: null, failure: { name: "E", message: "no" } }))
      expect(await under.opened.reader.fanout("fan_1")).toMatchObject({
        total: 4,
        completed: 1,
        failed: 1,
        running: 2,
        queued: 0,
        sealed: true,
      })
      await commit(settle(c, { to: "ready", dueAt: 1, limits: [], losses: 0 }))
      expect(await under.opened.reader.fanout("fan_1")).toMatchObject({ running: 1, queued: 1, firstStartAt: 5, lastEndAt: 9 })
    })

    it("parks runs until they are due, and says when the next one is", async () => {
      const far = now() + 3_600_000
      const turn = await store.turn({ units: [unit(pair({ dueAt: far })), unit(pair({ dueAt: far + 5 }))], claim: null })
      expect(turn.timerAt).toBe(far)
      expect(await store.wake(10)).toMatchObject({ count: 0, nextAt: far })
      if (under.clock === null) return
      under.clock.jump(far - under.clock.now())
      expect(await store.wake(10)).toMatchObject({ count: 1, nextAt: far + 5 })
      expect(await claim()).toHaveLength(1)
    })

    it("holds runs beyond a limit and releases them in order as the ones before settle", async () => {
      const limits: LimitClaim[] = [{ key: "l", max: 2 }]
      await commit(...[1, 2, 3, 4, 5].map((dueAt) => unit(pair({ dueAt, limits }))))
      const first = await claim()
      expect(first.map(({ rank }) => rank)).toEqual([1, 2])
      expect(await claim()).toEqual([])
      await commit(...first.map((each) => settle(each, completed)))
      expect((await claim()).map(({ rank }) => rank)).toEqual([3, 4])
    })

    it("lets a run through only when all of its limits have room", async () => {
      const own = (key: string, max: number): LimitClaim => ({ key, max })
      await commit(
        unit(pair({ dueAt: 1, limits: [own("a", 2), own("shared", 1)] })),
        unit(pair({ dueAt: 2, limits: [own("a", 2), own("shared", 1)] })),
        unit(pair({ dueAt: 3, limits: [own("b", 1)] })),
      )
      const first = await claim()
      expect(first.map(({ rank }) => rank)).toEqual([1, 3])
      for (const each of first.filter(({ rank }) => rank === 1)) await commit(settle(each, completed))
      expect((await claim()).map(({ rank }) => rank)).toEqual([2])
    })

    it("takes runs from nodes that are gone, never from the one that asks, and says whether they came further", async () => {
      await store.pulse({ id: "node_a", host: "h", pid: 1, functionIds: ["app-f"] }, false)
      await commit(unit(pair()), unit(pair()))
      const [a] = await claim()
      if (a === undefined) throw new Error("a run expected")
      await commit(unit([{ kind: "step.save", runId: a.id, fence: 1, step: step("s") }], guardOf(a)))
      expect(await store.lost("node_b", 10)).toEqual([])
      await store.leave("node_a")
      expect(await store.lost("node_a", 10)).toEqual([])
      const lost = await store.lost("node_b", 10)
      expect(lost).toHaveLength(2)
      expect(lost.filter(({ progressed }) => progressed).map((each) => each.run.id)).toEqual([a.id])
    })

    it("takes runs at once from nodes that are said to be dead, and from no other", async () => {
      await store.pulse({ id: "node_a", host: "h", pid: 1, functionIds: ["app-f"] }, false)
      await store.pulse({ id: "node_b", host: "h", pid: 2, functionIds: ["app-f"] }, false)
      await commit(unit(pair()))
      const [a] = await claim()
      expect(await store.others("node_b")).toEqual(["node_a"])
      await store.declareDead(["node_unknown"])
      expect(await store.lost("node_b", 10)).toEqual([])
      await store.declareDead(["node_a"])
      expect((await store.lost("node_b", 10)).map(({ run: { id } }) => id)).toEqual([a?.id])
      expect((await under.opened.reader.nodes()).map(({ id, alive }) => [id, alive])).toEqual([
        ["node_b", true],
        ["node_a", false],
      ])
      // Whoever said so was wrong: a heartbeat is believed.
      await store.pulse({ id: "node_a", host: "h", pid: 1, functionIds: ["app-f"] }, false)
      expect(await store.lost("node_b", 10)).toEqual([])
    })

    it("forgets runs that ended long ago with all that belongs to them, and nothing that lives", async () => {
      await commit(unit(pair()), unit(pair()), unit(pair({ functionId: "app-g" })))
      const claimed = await claim()
      await commit(...claimed.map((each) => settle(each, completed)))
      expect(await store.prune(5, 10)).toBe(0)
      expect(await store.prune(100, 1)).toBe(1)
      expect(await store.prune(100, 10)).toBe(1)
      expect((await under.opened.reader.runs({})).items).toMatchObject([{ functionId: "app-g", state: "ready" }])
    })

    it("keeps where an event stands in a trace, and the trace that a run begins by itself", async () => {
      const [trace, own] = [`00-${"a".repeat(32)}-${"b".repeat(16)}-01 vendor=1`, `00-${"c".repeat(32)}-${"d".repeat(16)}-01`]
      const traced = event({ trace })
      const packed = { kind: "rows.add", events: "[]", traced: true, runs: "[]", ready: "[]", limited: "[]", lines: [] } as const
      const row = ["evt_packed", null, "app/go", "{}", 1, 1, null, null, trace]
      await commit(
        unit([traced, run(traced.event.id, { dueAt: 1 })]),
        unit([{ ...packed, events: JSON.stringify([row]) }, run("evt_packed", { dueAt: 2 })]),
        unit(pair({ dueAt: 3 })),
      )
      const first = await claim()
      expect(first.map((each) => each.trace)).toEqual([trace, trace, undefined])
      const again = { to: "ready", dueAt: 1, limits: [], losses: 0 } as const
      const added = first.slice(2).map(({ id: runId }) => ({ kind: "trace.add", runId, trace: own }) as const)
      await commit(...first.map((each) => settle(each, again)), unit(added), unit(added.map((each) => ({ ...each, trace }))))
      const second = await claim()
      expect(second.map((each) => each.trace)).toEqual([trace, trace, own])
      const ids = await Promise.all(second.map(async ({ id: runId }) => (await under.opened.reader.run(runId))?.traceId))
      expect(ids).toEqual(["a".repeat(32), "a".repeat(32), "c".repeat(32)])
      await commit(...second.map((each) => settle(each, completed)))
      expect(await store.prune(100, 10)).toBe(3)
    })

    it("answers people page by page, with every filter", async () => {
      await commit(...Array.from({ length: 7 }, () => unit(pair({ fanoutId: "fan_2" }))), unit(pair({ functionId: "app-g" })))
      const [a] = await claim(1)
      if (a === undefined) throw new Error("a run expected")
      await commit(settle(a, { to: "failed", output: null, failure: { name: "E", message: "no" } }))
      const { reader } = under.opened
      const first = await reader.runs({ limit: 5 })
      const second = await reader.runs({ limit: 5, ...(first.next === null ? {} : { after: first.next }) })
      expect([first.items.length, second.items.length, second.next]).toEqual([5, 3, null])
      expect(new Set([...first.items, ...second.items].map((each) => each.id)).size).toBe(8)
      expect((await reader.runs({ state: "failed" })).items).toMatchObject([{ id: a.id, error: { message: "no" } }])
      expect((await reader.runs({ state: "ready" })).items).toHaveLength(7)
      expect((await reader.runs({ state: "ready", fanoutId: "fan_2" })).items).toHaveLength(6)
      expect((await reader.runs({ functionId: "app-g" })).items).toHaveLength(1)
      for (const state of ["scheduled", "running", "waiting", "completed", "cancelled", "skipped"] as const) {
        expect((await reader.runs({ state })).items).toEqual([])
      }
      expect(await reader.depth()).toEqual({ ready: 7, running: 0, scheduled: 0, waiting: 0 })
    })

    it("writes nothing of a turn that fails", async () => {
      const twice = event()
      await expect(commit(unit(pair()), unit([twice, twice]))).rejects.toThrow()
      expect((await under.opened.reader.runs({})).items).toEqual([])
    })
  })
}

export function step(key: string) {
  return {
    key,
    kind: "run",
    state: "completed",
    attempts: 1,
    output: '"first"',
    failure: null,
    dueAt: null,
    startedAt: 1,
    endedAt: 2,
  } as const
}

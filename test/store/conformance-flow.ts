import { describe, expect, it } from "vitest"
import type { Unit } from "../../src/core/change.ts"
import { defineFunction } from "../../src/core/definition.ts"
import type { Entry } from "../../src/core/entry.ts"
import type { ClaimedRun, LimitClaim } from "../../src/core/run.ts"
import { completed, guardOf, kinds, now, pair, settle, unit } from "./conformance.ts"
import { claim, commit, openEach, store, type StoreUnderTest, under } from "./opened.ts"

/** What a store does for flow control: every database that Fanfare runs on passes exactly this. */
export function flowConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`flow control on ${name}`, () => {
    openEach(open)

    it("changes the most of a limit while runs wait for it, and lets it be again", async () => {
      const limits: LimitClaim[] = [{ key: "fn:app-f", max: 1 }]
      await commit(...[1, 2, 3, 4].map((dueAt) => unit(pair({ dueAt, limits }))))
      expect(await claim()).toHaveLength(1)
      await store.setLimit("fn:app-f", 3)
      expect((await claim()).map(({ rank }) => rank)).toEqual([2, 3])
      expect((await under.opened.reader.limits(null, 10)).items).toEqual([
        { id: "fn:app-f", own: 1, max: 3, setByHand: true, used: 3, held: 1, heldUntil: null },
      ])
      const ofFunction = async (id: string): Promise<string[]> =>
        (await under.opened.reader.limits(null, 10, id)).items.map((each) => each.id)
      await store.setLimit("fn:app-f2", 3)
      await store.setLimit("fn:app-f#2:acme", 3)
      await store.setLimit("throttle:app-f:a b", 3)
      expect(await ofFunction("app-f")).toEqual(["fn:app-f", "fn:app-f#2:acme", "throttle:app-f:a b"])
      expect(await ofFunction("app-f2")).toEqual(["fn:app-f2"])
      for (const key of ["fn:app-f2", "fn:app-f#2:acme", "throttle:app-f:a b"]) await store.setLimit(key, null)
      await store.setLimit("fn:app-f", null)
      expect(await claim()).toEqual([])
      expect((await under.opened.reader.limits("fn:app-f", 10)).items).toEqual([])
    })

    it("claims what comes into line in the same turn, in its order with what was there, and leaves the rest in line", async () => {
      const limited = (...ranks: number[]): Unit[] =>
        ranks.map((dueAt) =>
          unit(
            pair({
              dueAt,
              limits: [
                { key: `own:${dueAt}`, max: 1 },
                { key: "all", max: 10 },
              ],
            }),
          ),
        )
      const turn = async (units: Unit[], limit: number): Promise<readonly ClaimedRun[]> => {
        const request = { nodeId: "node_a", functionIds: ["app-f"], limit, after: "" }
        return (await store.turn({ units, claim: request })).claim?.runs ?? []
      }
      const ranksOf = (runs: readonly ClaimedRun[]): number[] => runs.map(({ rank }) => rank)
      await commit(...limited(20, 40))
      const [first, ...others] = await turn(limited(10, 30, 50), 2)
      if (first === undefined) throw new Error("a run expected")
      expect(ranksOf([first, ...others])).toEqual([10, 20])
      expect(ranksOf(await turn([settle(first, completed), ...limited(35)], 2))).toEqual([30, 35])
      expect(ranksOf(await turn(limited(60), 10))).toEqual([40, 50, 60])
      expect(await claim()).toEqual([])
      const other = pair({ dueAt: 1, functionId: "app-g", limits: [{ key: "all", max: 10 }] })
      expect(await turn([unit(other)], 10)).toEqual([])
      expect(await claim(10, ["app-g"])).toHaveLength(1)
    })

    it("keeps the place of a whole run until it ends, and frees it for the next one then", async () => {
      const limits: LimitClaim[] = [{ key: "w", max: 1, hold: "run" }]
      await commit(unit(pair({ dueAt: 1, limits })), unit(pair({ dueAt: 2, limits })))
      const [first] = await claim()
      if (first === undefined) throw new Error("a run expected")
      await commit(settle(first, { to: "ready", dueAt: 1, limits: [{ key: "w", max: 1, hold: "taken" }], losses: 0 }))
      const [again, none] = await claim()
      if (again === undefined) throw new Error("a run expected")
      expect([again.id, none]).toEqual([first.id, undefined])
      await commit(settle(again, completed))
      expect((await claim()).map(({ rank }) => rank)).toEqual([2])
    })

    it("lets a throttle's runs start in time, wherever they wait, and none twice", async () => {
      const limits: LimitClaim[] = [{ key: "throttle:t", max: 2, throttle: { periodMs: 200, burst: 0 } }]
      await commit(...[1, 2, 3].map((dueAt) => unit(pair({ dueAt, limits }))))
      expect((await claim()).map(({ rank }) => rank)).toEqual([1])
      const ranks: number[] = []
      for (let i = 0; i < 50 && ranks.length < 2; i++) {
        const { nextAt } = await store.wake(10)
        if (under.clock !== null) under.clock.jump(Math.max(0, (nextAt ?? 0) - under.clock.now()))
        else await new Promise((resolve) => setTimeout(resolve, 20))
        ranks.push(...(await claim()).map(({ rank }) => rank))
      }
      expect(ranks).toEqual([2, 3])
    })

    it("starts nothing under a limit that a run asked to leave alone", async () => {
      const limits: LimitClaim[] = [{ key: "env:chat", max: 5 }]
      await commit(unit(pair({ dueAt: 1, limits })))
      const [first] = await claim()
      if (first === undefined) throw new Error("a run expected")
      const until = now() + 3_600_000
      await commit(unit([{ kind: "limit.hold", key: "env:chat", until }], guardOf(first)), unit(pair({ dueAt: 2, limits })))
      expect(await claim()).toEqual([])
      expect((await under.opened.reader.runs({ state: "waiting" })).items[0]?.reason).toBe(
        `the limit env:chat is at rest until ${new Date(until).toISOString()}, as one of its runs asked`,
      )
      expect(await store.wake(10)).toMatchObject({ count: 0, nextAt: until })
    })

    describe("of a rate, a singleton, a debounce or a batch", () => {
      const entering = (entries: readonly Entry[], limits: LimitClaim[] = []): Unit => unit(pair({ dueAt: 1, limits, entries }))
      const states = async (): Promise<string[]> =>
        (await under.opened.reader.runs({ limit: 500 })).items.map(({ state }) => state).toSorted()

      it("decides about many at once as about one after the other, from however many connections", async () => {
        const rate: Entry = { kind: "rate", key: "rate:a", limit: 3, periodMs: 3_600_000, name: "rateLimit" }
        await Promise.all(Array.from({ length: 10 }, () => commit(entering([rate]), entering([rate]))))
        expect(await states()).toEqual([...Array.from({ length: 3 }, () => "ready"), ...Array.from({ length: 17 }, () => "skipped")])
      })

      it("keeps one run of a key: the first, or the last", async () => {
        const one = (mode: "skip" | "cancel"): Unit =>
          entering([{ kind: "singleton", key: `singleton:${mode}`, mode }], [{ key: `singleton:${mode}`, max: 1, hold: "taken" }])
        await Promise.all(Array.from({ length: 6 }, () => commit(one("skip"))))
        const [first] = await claim()
        if (first === undefined) throw new Error("a run expected")
        expect(await states()).toEqual(["running", ...Array.from({ length: 5 }, () => "skipped")])
        await commit(settle(first, completed), one("skip"))
        const [next] = await claim()
        expect(next?.id).not.toBe(first.id)
        await Promise.all(Array.from({ length: 6 }, () => commit(one("cancel"))))
        const [before] = await claim()
        if (before === undefined) throw new Error("a run expected")
        expect(await claim()).toEqual([])
        const turn = await store.turn({ units: [one("cancel")], claim: null })
        expect(turn.doomed).toBeGreaterThan(0)
        for (let doomed = await store.doomed(10); doomed.length > 0; doomed = await store.doomed(10)) {
          await commit(...doomed.map((run) => unit([{ kind: "run.cancel", run, at: 1 }])))
        }
        expect(kinds(await commit(settle(before, completed)))).toEqual(["fenced"])
        expect((await states()).filter((state) => state === "cancelled")).toHaveLength(6)
        expect(await claim()).toHaveLength(1)
      })

      it("puts events together in batches of their size, each once", async () => {
        const entry: Entry = { kind: "batch", key: "batch:a", maxSize: 4, timeoutMs: 3_600_000, bytes: 7 }
        const units = Array.from({ length: 10 }, () => entering([entry], [{ key: "batch:a", max: 4, hold: "batch" }]))
        await Promise.all(units.map((each) => commit(each)))
        await store.wake(10)
        const claimed = await claim()
        expect(claimed.map(({ events }) => events?.length)).toEqual([4, 4])
        expect((await under.opened.reader.runs({ state: "scheduled" })).items[0]?.reason).toMatch(/^batch: 2 of 4 events/)
        await commit(...claimed.map((each) => settle(each, completed)))
        expect(await store.prune(100, 10)).toBe(2)
      })

      it("keeps the latest of many events that come together", async () => {
        const debounce = (ts: number): Unit =>
          entering(
            [{ kind: "debounce", key: "debounce:a", periodMs: 3_600_000, timeoutMs: null, ts }],
            [{ key: "debounce:a", max: 1, hold: "debounce" }],
          )
        await Promise.all([1, 2, 3, 4, 5].map((ts) => commit(debounce(ts), debounce(ts))))
        expect(await states()).toEqual(["scheduled", ...Array.from({ length: 9 }, () => "skipped")])
      })
    })

    it("claims nothing of a paused function, frees what it shares, and goes on where it was", async () => {
      const shared: LimitClaim[] = [{ key: "env:s", max: 1 }]
      const definition = defineFunction("app", { id: "f", triggers: [] })
      await commit(unit([{ kind: "function.put", definition, at: 1 }]))
      await commit(
        unit(pair({ dueAt: 1 })),
        unit(pair({ dueAt: 2, limits: shared })),
        unit(pair({ dueAt: 3, functionId: "app-g", limits: shared })),
      )
      await store.pause("app-f", "keep")
      expect((await claim(100, ["app-f", "app-g"])).map(({ rank }) => rank)).toEqual([3])
      await commit(unit(pair({ dueAt: 4 })))
      expect(await claim()).toEqual([])
      const { items } = await under.opened.reader.runs({ functionId: "app-f" })
      expect(items.map(({ reason }) => reason)).toEqual(["its function is paused", "its function is paused", "its function is paused"])
      expect((await store.functions()).functions[0]?.definition.paused).toBe("keep")
      await commit(unit([{ kind: "function.put", definition, at: 2 }]))
      await store.pause("app-f", null)
      expect((await claim()).map(({ rank }) => rank)).toEqual([1, 4])
    })
  })
}

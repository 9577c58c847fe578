import { describe, expect, it } from "vitest"
import { gated } from "../../src/core/admit.ts"
import type { Change, Unit } from "../../src/core/change.ts"
import type { GateRules } from "../../src/core/gate.ts"
import type { TurnResult } from "../../src/store/turn.ts"
import { completed, kinds, pair, part, settle, unit } from "./conformance.ts"
import { claim, commit, openEach, store, type StoreUnderTest, under } from "./opened.ts"

const failure = (message: string) => ({ to: "failed", output: null, failure: { name: "Error", message } }) as const
const canary: GateRules = { canary: 2, breaker: null }
const breaker: GateRules = { canary: 0, breaker: { share: null, count: 2, min: 1 } }

/** What a store is to fan-outs: every database that Fanfare runs on passes exactly this. */
export function fanoutConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`fan-outs in a store on ${name}`, () => {
    openEach(open)
    const turn = (...units: Unit[]): Promise<TurnResult> => store.turn({ units, claim: null })
    const fanout = async (id = "fan_1") => under.opened.reader.fanout(id)
    const operate = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) if ((await store.operate([0.1, 0.2])).restMs !== 0) return
    }
    const begin = (kind: "retry" | "cancel", over: object = {}) =>
      store.addOperation({
        id: `op_${kind}_${Math.random()}`,
        kind,
        fanoutId: "fan_1",
        fingerprint: null,
        runId: null,
        event: null,
        ...over,
      })

    /** A fan-out of n runs, with rules or without. */
    function send(n: number, rules: GateRules | null = null, over: Parameters<typeof part>[0] = {}): Unit {
      const before = over.runsBefore ?? 0
      const changes = Array.from({ length: n }, () => pair({ fanoutId: over.id ?? "fan_1" })).flat()
      let place = before
      const runs = changes.map(
        (change): Change => (change.kind === "run.add" ? { ...change, run: gated(change.run, rules, place++) } : change),
      )
      return unit([...runs, part({ taken: n, events: n, runs: n, rules, ...over })])
    }

    it("take a part only where the one before ended, and none once they are sealed", async () => {
      expect(kinds(await commit(send(2, null, { sealed: false, cursor: "c" })))).toEqual(["applied"])
      expect(await store.course("id", "fan_1")).toMatchObject({ taken: 2, total: 2, cursor: "c", sealed: false })
      const later = { from: 2, taken: 4, sealed: false } as const
      // Two senders at once: one is first.
      const both = await Promise.all([commit(send(2, null, later)), commit(send(2, null, later))])
      expect(kinds(both.flat()).toSorted()).toEqual(["applied", "closed"])
      expect(kinds(await commit(send(1, null, { from: 2, taken: 3 }), send(1, null, { from: 4, taken: 5 })))).toEqual(["closed", "applied"])
      expect(kinds(await commit(send(1, null, { from: 5, taken: 6 })))).toEqual(["closed"])
      expect(await fanout()).toMatchObject({ total: 5, sealed: true })
      expect(await claim()).toHaveLength(5)
    })

    it("are one for each name of a sender", async () => {
      const named = (id: string): Unit => send(1, null, { id, key: "app/import", sealed: false })
      expect(kinds(await commit(named("fan_1"), named("fan_2")))).toEqual(["applied", "closed"])
      const both = await Promise.all([commit(named("fan_3")), commit(named("fan_4"))])
      expect(kinds(both.flat())).toEqual(["closed", "closed"])
      expect(await store.course("key", "app/import")).toMatchObject({ id: "fan_1", taken: 1 })
      expect(await store.course("key", "app/other")).toBeNull()
      expect(await claim()).toHaveLength(1)
    })

    it("let the first runs of a canary go alone, and tell when the gate has opened", async () => {
      await commit(send(5, canary))
      const first = await claim()
      expect(first).toHaveLength(2)
      await store.releaseMissed()
      expect(await claim()).toEqual([])
      const [a, b] = first
      if (a === undefined || b === undefined) throw new Error("two runs expected")
      expect((await turn(settle(a, completed))).opened).toEqual([])
      expect((await turn(settle(b, completed))).opened).toEqual(["fan_1"])
      expect(await claim()).toEqual([])
      await store.releaseGate("fan_1")
      const rest = await claim()
      expect(rest).toHaveLength(3)
      await commit(...rest.map((each) => settle(each, completed)))
      expect(await fanout()).toMatchObject({ state: "ended", completed: 5 })
    })

    it("that are paused hold what comes, also what was on its way, until they are resumed", async () => {
      const { opened } = await turn(send(6, breaker))
      expect(opened).toEqual(["fan_1"])
      await store.releaseGate("fan_1")
      const [a, b, c] = await claim(4)
      if (a === undefined || b === undefined || c === undefined) throw new Error("runs expected")
      await commit(settle(a, failure("no 1")), settle(b, failure("no 2")))
      expect(await fanout()).toMatchObject({ state: "paused", failed: 2, reason: "breaker: 2 of 2 runs failed" })
      await commit(settle(c, { to: "ready", dueAt: 1, limits: c.limits, losses: 0 }))
      // Two were in line when it paused; the one that came back is held.
      expect(await claim()).toHaveLength(2)
      expect(await store.resume("fan_1")).toBe(true)
      expect(await claim()).toMatchObject([{ id: c.id, fence: 2 }])
      expect(await fanout()).toMatchObject({ state: "running", reason: null, running: 4 })
      expect(await store.resume("fan_unknown")).toBe(false)
    })

    it("count failures by their cause, and forget those that are retried", async () => {
      await commit(send(4))
      const runs = await claim()
      await commit(...runs.map((each, i) => settle(each, i === 3 ? failure("other") : failure(`item ${i} is bad`))))
      const { failureGroups } = under.opened.reader
      const [most, least] = await failureGroups("fan_1")
      expect([most, least]).toMatchObject([
        { fingerprint: "Error: item # is bad", count: 3, firstAt: 9, lastAt: 9 },
        { fingerprint: "Error: other", count: 1, runId: runs[3]?.id },
      ])
      const times = await under.opened.reader.failureTimes("fan_1")
      expect(times?.causes.map(({ fingerprint, counts }) => [fingerprint, counts.length]).toSorted()).toEqual([
        ["Error: item # is bad", 24],
        ["Error: other", 24],
      ])
      expect(await under.opened.reader.failureTimes("fan_none")).toBeNull()
      await begin("retry", { fingerprint: "Error: other" })
      await operate()
      expect(await fanout()).toMatchObject({ failed: 3, queued: 1, state: "running" })
      expect(await failureGroups("fan_1")).toMatchObject([{ count: 3 }])
      await begin("retry", { runId: runs[0]?.id, event: { id: "evt_new", data: '{"a":2}' } })
      await operate()
      const again = await claim()
      expect(again.map((each) => each.event.data).toSorted()).toEqual(['{"a":1}', '{"a":2}'])
      expect(again.every(({ fence, attempt }) => fence === 2 && attempt === 1)).toBe(true)
      expect(await fanout()).toMatchObject({ failed: 2, running: 2 })
      await expect(begin("retry", { runId: runs[0]?.id })).rejects.toMatchObject({ code: "invalid_option" })
      await expect(begin("retry", { fanoutId: "fan_unknown" })).rejects.toMatchObject({ code: "not_found" })
    })

    it("are cancelled to the last run by their own counts, with what their sender would still add", async () => {
      await commit(send(6, canary, { sealed: false }))
      const [a, b] = await claim()
      if (a === undefined || b === undefined) throw new Error("two runs expected")
      const { id, createdAt } = await begin("cancel")
      expect(createdAt).toBeGreaterThan(1)
      await operate()
      expect(await fanout()).toMatchObject({ state: "cancelling", cancelled: 4, running: 2, sealed: true })
      expect(kinds(await commit(send(1, canary, { from: 6, taken: 7 })))).toEqual(["closed"])
      // One that was under way parks: a later look finds it, after a rest.
      await commit(settle(a, { to: "waiting", dueAt: Date.now() + 3_600_000, limits: a.limits, losses: 0 }), settle(b, completed))
      for (let i = 0; i < 100 && (await under.opened.reader.operation(id))?.state !== "done"; i++) {
        if (under.clock === null) await new Promise((resolve) => setTimeout(resolve, 100))
        else under.clock.jump(1_000)
        await operate()
      }
      expect(await fanout()).toMatchObject({ state: "ended", cancelled: 5, completed: 1 })
      expect(await under.opened.reader.operation(id)).toMatchObject({ state: "done", affected: 5 })
    })

    it("are forgotten with the last of their runs, and sealed when nobody goes on with them", async () => {
      const old = "fan_0000000000000000000000"
      await commit(send(1, null, { id: old, sealed: false, at: 1 }))
      await store.prune(0, 10)
      expect(await fanout(old)).toMatchObject({ sealed: true, total: 1 })
      const [a] = await claim()
      if (a === undefined) throw new Error("a run expected")
      await commit(settle(a, failure("no")))
      expect((await store.finished(10)).map(({ id }) => id)).toEqual([old])
      const later = Date.now() + 3_600_000
      expect(await store.prune(later, 10)).toBe(1)
      await store.prune(later, 10)
      expect(await fanout(old)).toBeNull()
      expect(await under.opened.reader.failureGroups(old)).toEqual([])
    })
  })
}

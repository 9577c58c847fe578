import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { Change, Unit, UnitResult } from "../../src/core/change.ts"
import type { ClaimedRun } from "../../src/core/run.ts"
import type { StepRecord } from "../../src/core/step.ts"
import { offerOf, signalTopic, type Wait } from "../../src/core/wait.ts"
import type { Store } from "../../src/store/store.ts"
import type { StoreUnderTest } from "./opened.ts"

let n = 0
const id = (kind: string): string => `${kind}_w${String(++n).padStart(21, "0")}`
export const unit = (changes: readonly Change[], guard: Unit["guard"] = null): Unit => ({ changes, guard, registry: null })
const guardOf = ({ id: runId, fence }: ClaimedRun): Unit["guard"] => ({ runId, fence })

export function newRun(data = "{}"): { runId: string; changes: Change[] } {
  const eventId = id("evt")
  const runId = id("run")
  return {
    runId,
    changes: [
      {
        kind: "event.add",
        event: { id: eventId, key: null, name: "app/go", data, ts: 1, receivedAt: 1, fanoutId: null, sourceRunId: null },
      },
      {
        kind: "run.add",
        run: { id: runId, functionId: "app-f", eventId, fanoutId: null, parentId: null, createdAt: 1, dueAt: 1, limits: [] },
      },
    ],
  }
}

export async function claimOne(store: Store): Promise<{ run: ClaimedRun; steps: readonly StepRecord[] } | null> {
  const { claim } = await store.turn({ units: [], claim: { nodeId: "node_a", functionIds: ["app-f"], limit: 1, after: "" } })
  const run = claim?.runs[0]
  return run === undefined ? null : { run, steps: claim?.steps.filter(({ runId }) => runId === run.id) ?? [] }
}

/** The step and the wait of a run that waits for `app/paid` with `data.n=1`. */
export function register(run: ClaimedRun, over: Partial<Wait> = {}): Change[] {
  const dueAt = over.dueAt === undefined ? Date.now() + 3_600_000 : over.dueAt
  const wait: Wait = { stepKey: "w", kind: "event", topic: "event:app/paid", key: "data.n=1", condition: null, ...over, dueAt }
  const kind = wait.kind === "signal" ? "signal" : wait.kind === "run" ? "invoke" : "event"
  const base = { key: wait.stepKey, attempts: 1, output: null, failure: null, startedAt: 1, endedAt: 1 }
  return [
    { kind: "step.save", runId: run.id, fence: run.fence, step: { ...base, kind, state: "waiting", dueAt } },
    { kind: "wait.add", runId: run.id, wait },
  ]
}

export function park(run: ClaimedRun, dueAt: number, changes: readonly Change[] = [], awaits: readonly string[] = ["w"]): Unit {
  const settlement = { to: "waiting", dueAt, limits: [], losses: 0, awaits } as const
  return unit([...changes, { kind: "run.settle", run, attempt: 0, startedAt: 1, endedAt: 1, settlement }], guardOf(run))
}

export function complete(run: ClaimedRun): Unit {
  const settlement = { to: "completed", output: "1", failure: null } as const
  return unit([{ kind: "run.settle", run, attempt: run.attempt, startedAt: 1, endedAt: 1, settlement, waits: true }], guardOf(run))
}

export function event(data: unknown, name = "app/paid"): Unit {
  const eventId = id("evt")
  const text = JSON.stringify(data)
  return unit([
    { kind: "event.add", event: { id: eventId, key: null, name, data: text, ts: 1, receivedAt: 1, fanoutId: null, sourceRunId: null } },
    { kind: "wait.offer", eventId, offer: offerOf({ id: eventId, name, data, ts: 1 }, ["data.n", ""]) },
  ])
}

export function cancel(runId: string, over: { readonly below?: number | null } = {}): Unit {
  const run = { id: runId, functionId: "app-f", rank: 1, fanoutId: null, limits: [], reason: "test", below: null, ...over }
  return unit([{ kind: "run.cancel", run, at: 1 }])
}

/** What a store must do for waits and for cancelling. */
export function waitsConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`waits on ${name}`, () => {
    let under: StoreUnderTest
    let store: Store
    const commit = async (...units: Unit[]): Promise<readonly UnitResult[]> => (await store.turn({ units, claim: null })).results
    const far = Date.now() + 3_600_000
    const started = async (data?: string): Promise<ClaimedRun> => {
      await commit(unit(newRun(data).changes))
      const claimed = await claimOne(store)
      if (claimed === null) throw new Error("a run expected")
      return claimed.run
    }
    const woken = async (): Promise<{ run: ClaimedRun; steps: readonly StepRecord[] } | null> => {
      await store.wake(10)
      return claimOne(store)
    }

    beforeEach(async () => {
      under = await open()
      store = under.opened.store
      expect(await store.watch([{ name: "app/paid", path: "data.n" }])).toBe(true)
      expect(await store.watch([{ name: "app/paid", path: "" }])).toBe(true)
    })
    afterEach(() => under.close())

    it("gives an event to the waits it fits, and to each once", async () => {
      const one = await started()
      const two = await started()
      const other = await started()
      await commit(park(one, far, register(one)), park(two, far, register(two)), park(other, far, register(other, { key: "data.n=2" })))
      expect(await store.wake(10)).toMatchObject({ count: 0 })
      const [first, second] = await commit(event({ n: 1 }), event({ n: 1 }))
      expect(first).toMatchObject({ kind: "applied", delivered: [one.id, two.id] })
      expect(second).toEqual({ kind: "applied", duplicates: null })
      const again = [await woken(), await woken()]
      expect(again.map((each) => String(each?.run.id)).toSorted()).toEqual([one.id, two.id].toSorted())
      for (const each of again)
        expect(each?.steps).toMatchObject([{ key: "w", state: "completed", output: expect.stringContaining('"n":1') }])
      expect(await woken()).toBeNull()
      expect(await under.opened.reader.run(other.id)).toMatchObject({
        state: "waiting",
        reason: expect.stringContaining("the event app/paid with data.n=2, until"),
      })
    })

    it("tries conditions over both events, one by one", async () => {
      const one = await started('{"least":5}')
      const two = await started('{"least":50}')
      const condition = "async.data.total >= event.data.least"
      await commit(...[one, two].map((run) => park(run, far, register(run, { key: "", condition }))))
      expect(await store.unkeyedWaits("event:app/paid", 1)).toBe(1)
      expect(await store.unkeyedWaits("event:app/paid", 10)).toBe(2)
      expect(await commit(event({ total: 7 }))).toMatchObject([{ delivered: [one.id] }])
      expect(await commit(event({ nothing: true }))).toEqual([{ kind: "applied", duplicates: null }])
      expect((await woken())?.run.id).toBe(one.id)
    })

    it("lets a wait time out once, in the turn that wakes its run", async () => {
      const run = await started()
      await commit(park(run, 1, register(run, { dueAt: 1 })))
      const again = await woken()
      expect(again?.steps).toMatchObject([{ state: "completed", output: "null" }])
      expect(await commit(event({ n: 1 }))).toEqual([{ kind: "applied", duplicates: null }])
    })

    it("fails the step of a run that was invoked and takes too long", async () => {
      const run = await started()
      await commit(park(run, 1, register(run, { dueAt: 1, kind: "run", topic: "run:x", key: "" })))
      expect((await woken())?.steps).toMatchObject([{ state: "failed", failure: { name: "InvokeTimeoutError" } }])
    })

    it("wakes a run that parks though its wait has ended while it ran", async () => {
      const run = await started()
      await commit(unit(register(run), guardOf(run)))
      expect(await commit(event({ n: 1 }))).toMatchObject([{ delivered: [run.id] }])
      await commit(park(run, far, register(run)))
      expect((await woken())?.steps).toMatchObject([{ state: "completed" }])
    })

    it("keeps a signal for one run, and says who has it", async () => {
      const [one, two] = [await started(), await started()]
      const signal = { kind: "signal", topic: signalTopic("s"), key: "" } as const
      const ask = (run: ClaimedRun, over: Partial<Wait> = {}): Unit => unit(register(run, { ...signal, ...over }), guardOf(run))
      expect(await commit(ask(one), ask(two))).toMatchObject([{ kind: "applied" }, { kind: "taken", runId: one.id }])
      expect(await commit(ask(two))).toEqual([{ kind: "taken", runId: one.id }])
      expect(await commit(ask(two, { replace: true }))).toMatchObject([{ kind: "applied" }])
      expect((await under.opened.reader.run(one.id))?.steps).toMatchObject([{ state: "failed", failure: { name: "SignalReplaced" } }])
    })

    it("dooms a run when an event of its rules comes, and at a deadline", async () => {
      const one = await started()
      const two = await started()
      const late = newRun()
      const deadline = { kind: "deadline", topic: "", key: "", condition: null, dueAt: 1 } as const
      await commit(unit(late.changes))
      await commit(
        unit([
          {
            kind: "wait.add",
            runId: one.id,
            wait: { ...deadline, stepKey: "$cancel/0", kind: "cancel", topic: "event:app/paid", key: "data.n=1", dueAt: far },
          },
        ]),
        unit([{ kind: "wait.add", runId: two.id, wait: { ...deadline, stepKey: "$finish" } }]),
        unit([{ kind: "wait.add", runId: late.runId, wait: { ...deadline, stepKey: "$start" } }]),
      )
      expect(await store.turn({ units: [event({ n: 1 })], claim: null })).toMatchObject({ doomed: 1 })
      expect(await store.wake(10)).toMatchObject({ doomed: 2 })
      const doomed = await store.doomed(10)
      expect(doomed.map(({ id: runId, below }) => [runId, below])).toEqual(
        [
          [one.id, null],
          [two.id, null],
          [late.runId, 1],
        ].toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
      )
      expect((await commit(...doomed.map((facts) => cancel(facts.id, facts)))).map(({ kind }) => kind)).toEqual([
        "applied",
        "applied",
        "applied",
      ])
      expect(await store.doomed(10)).toEqual([])
      for (const runId of [one.id, two.id, late.runId]) expect(await under.opened.reader.run(runId)).toMatchObject({ state: "cancelled" })
    })

    it("cancels a run wherever it stands, tells its node, and refuses what it still writes", async () => {
      await store.pulse({ id: "node_a", host: "h", pid: 1, functionIds: ["app-f"] }, false)
      const running = await started()
      const ended = await started()
      await commit(complete(ended))
      const ready = newRun()
      await commit(unit(ready.changes))
      const results = await commit(cancel(running.id), cancel(ended.id), cancel(ready.runId), cancel("run_unknown"))
      expect(results.map(({ kind }) => kind)).toEqual(["applied", "gone", "applied", "gone"])
      expect(await commit(complete(running))).toEqual([{ kind: "fenced" }])
      expect(await store.pulse({ id: "node_a", host: "h", pid: 1, functionIds: ["app-f"] }, false)).toMatchObject({
        recalled: [running.id],
      })
      expect(await under.opened.reader.run(running.id)).toMatchObject({
        state: "cancelled",
        error: { message: "the run was cancelled: test" },
      })
      expect(await claimOne(store)).toBeNull()
    })

    it("leaves a run that has begun when it was to be cancelled unbegun", async () => {
      const run = await started()
      expect(await commit(cancel(run.id, { below: 1 }))).toEqual([{ kind: "gone" }])
      expect(await commit(complete(run))).toMatchObject([{ kind: "applied" }])
    })

    it("gives a new run the results that had ended when a step began", async () => {
      const old = await started()
      const save = (key: string, startedAt: number): Change => ({
        kind: "step.save",
        runId: old.id,
        fence: 1,
        step: {
          key,
          kind: "run",
          state: "completed",
          attempts: 1,
          output: `"${key}"`,
          failure: null,
          dueAt: null,
          startedAt,
          endedAt: startedAt + 5,
        },
      })
      await commit(unit([save("a", 10), save("b", 20), save("c", 30)], guardOf(old)), complete(old))
      const { runId, changes } = newRun()
      const fresh = changes.map(
        (change): Change => (change.kind === "run.add" ? { kind: "run.add", run: { ...change.run, fence: 1 } } : change),
      )
      await commit(unit([...fresh, { kind: "step.copy", runId, from: old.id, before: "c" }]))
      const claimed = await claimOne(store)
      expect(claimed?.run).toMatchObject({ id: runId, attempt: 1 })
      expect(claimed?.steps.map(({ key }) => key).toSorted()).toEqual(["a", "b"])
    })

    it("comes to one end, in whatever order a run parks and an event, a timeout and a cancel come", { timeout: 60_000 }, async () => {
      for (const order of orders(["register", "park", "event", "timeout", "cancel"]))
        expect({ order, ...(await play(order)) }).toEqual({ order, ...expectedEnd(order) })
    })

    it("goes on with one result, in whatever order a run parks and an event and a timeout come", { timeout: 60_000 }, async () => {
      for (const order of orders(["register", "park", "event", "timeout"]))
        expect({ order, ...(await play(order)) }).toEqual({ order, ...expectedEnd(order) })
    })

    /** Does the commands in this order, lets happen what is left, and gives what the run met. */
    const play = async (order: string): Promise<End> => {
      const run = await started()
      const value = ++n
      const wait = register(run, { dueAt: 1, key: `data.n=${value}` })
      let deliveries = 0
      const send = async (): Promise<void> => {
        const [result] = await commit(event({ n: value }))
        if (result?.kind === "applied") deliveries += result.delivered?.length ?? 0
      }
      const commands: Readonly<Record<string, () => Promise<unknown>>> = {
        register: () => commit(unit(wait, guardOf(run))),
        park: () => commit(park(run, far, wait)),
        event: send,
        timeout: () => store.wake(10),
        cancel: () => commit(cancel(run.id)),
      }
      for (const command of order.split(" ")) await commands[command]?.()
      await store.wake(10)
      const again = await claimOne(store)
      await send()
      const detail = await under.opened.reader.run(run.id)
      if (again !== null) await commit(complete(again.run))
      const output = detail?.steps[0]?.output
      const step = output === undefined ? "none" : output === null ? "waiting" : output === "null" ? "timeout" : "event"
      return { claimed: again?.run.id === run.id, state: detail?.state ?? "", deliveries, step }
    }
  })
}

interface End {
  readonly claimed: boolean
  readonly state: string
  readonly deliveries: number
  readonly step: string
}

/** A model of the above: the first thing that comes after the wait has begun decides; a cancel ends the run whatever came before. */
function expectedEnd(order: string): End {
  let waiting = false
  let cancelled = false
  let step = "none"
  for (const command of order.split(" ")) {
    if ((command === "register" || command === "park") && step === "none" && !cancelled) {
      waiting = true
      step = "waiting"
    } else if (command === "cancel") {
      cancelled = true
      waiting = false
    } else if (waiting && (command === "event" || command === "timeout")) {
      waiting = false
      step = command
    }
  }
  // In the end time passes once more.
  if (waiting) step = "timeout"
  return { claimed: !cancelled, state: cancelled ? "cancelled" : "running", deliveries: step === "event" ? 1 : 0, step }
}

/** All orders of the commands in which a wait is registered before its run parks. */
function orders(commands: readonly string[]): string[] {
  const permute = (rest: readonly string[]): string[][] =>
    rest.length === 0 ? [[]] : rest.flatMap((first) => permute(rest.filter((each) => each !== first)).map((tail) => [first, ...tail]))
  return permute(commands)
    .filter((order) => order.indexOf("register") < order.indexOf("park"))
    .map((order) => order.join(" "))
}

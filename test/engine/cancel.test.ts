import { describe, expect, it } from "vitest"
import { type Fanfare, saga } from "../../src/index.ts"
import { harness, runOf, start } from "./started.ts"

const go = [{ event: "t/go" }] as const

describe("a cancelled run", () => {
  it("begins no step any more, hears of it by its signal, and stays cancelled", async () => {
    const did: string[] = []
    let release: () => void = () => undefined
    let aborted = false
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step, signal }) => {
        signal.addEventListener("abort", () => (aborted = true))
        await step.run("a", () => void did.push("a"))
        await step.run("b", () => new Promise<void>((resolve) => (release = resolve)))
        await step.run("c", () => void did.push("c"))
      })
    })
    await app.send({ name: "t/go" })
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    const { id } = await runOf()
    expect(await app.runs.cancel(id, "changed my mind")).toMatchObject({ cancelled: true, run: { state: "cancelled" } })
    expect(aborted).toBe(true)
    release()
    await harness.advance("1h")
    expect(did).toEqual(["a"])
    expect(await runOf()).toMatchObject({
      state: "cancelled",
      error: { name: "RunCancelled", message: "the run was cancelled: changed my mind" },
    })
    expect(await app.runs.cancel(id)).toMatchObject({ cancelled: false })
    await expect(app.runs.cancel("run_none")).rejects.toMatchObject({ code: "not_found" })
  })

  it("may sleep, wait, be in line or held", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, concurrency: 1 }, async ({ step }) => step.sleep("z", "1d"))
      app.createFunction({ id: "w", triggers: go }, async ({ step }) => step.waitForEvent("x", { event: "t/x", timeout: "1d" }))
    })
    await app.send([{ name: "t/go" }, { name: "t/go", ts: harness.now() + 60_000 }])
    await harness.settle()
    for (const { id } of await harness.runs()) expect(await app.runs.cancel(id)).toMatchObject({ cancelled: true })
    await harness.advance("2d")
    expect((await harness.runs()).map(({ state }) => state)).toEqual(["cancelled", "cancelled", "cancelled", "cancelled"])
  })
})

describe("cancelOn and timeouts", () => {
  it("end the runs that an event fits, and no other", async () => {
    const app = await start((app) => {
      app.createFunction(
        {
          id: "f",
          triggers: go,
          cancelOn: [
            { event: "t/stop", match: "data.user" },
            { event: "t/stop.all", if: "async.data.hard == true" },
          ],
        },
        async ({ step }) => step.sleep("z", "1d"),
      )
    })
    await app.send({ name: "t/stop", data: { user: 1 } })
    await app.send([1, 2, 3].map((user) => ({ name: "t/go", data: { user } })))
    await harness.advance("1m")
    await app.send({ name: "t/stop", data: { user: 2 } })
    await harness.settle()
    const states = async () => (await harness.runs()).map(({ state }) => state).toReversed()
    expect(await states()).toEqual(["waiting", "cancelled", "waiting"])
    await app.send({ name: "t/stop.all", data: { hard: false } })
    await harness.settle()
    expect(await states()).toEqual(["waiting", "cancelled", "waiting"])
    await app.send({ name: "t/stop.all", data: { hard: true } })
    await harness.settle()
    expect(await states()).toEqual(["cancelled", "cancelled", "cancelled"])
  })

  it("end runs that begin too late, or take too long, also while code runs", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, concurrency: 1, timeouts: { start: "1h", finish: "3h" } }, async ({ step }) => {
        for (let i = 0; i < 10; i++) await step.run(`long ${i}`, () => new Promise((resolve) => setTimeout(resolve, 1)))
        await new Promise(() => {})
      })
    })
    await app.send([{ name: "t/go" }, { name: "t/go" }])
    await harness.advance("61m")
    expect((await harness.runs()).map(({ state }) => state).toSorted()).toEqual(["cancelled", "running"])
    expect((await harness.runs({ state: "cancelled" }))[0]?.error?.message).toContain("timeouts.start")
    await harness.advance("2h")
    expect((await harness.runs()).map(({ error }) => String(error?.message)).toSorted()).toEqual([
      "the run was cancelled: it did not begin in time (timeouts.start)",
      "the run was cancelled: it did not end in time (timeouts.finish)",
    ])
  })

  it("are refused when they say nothing sensible", async () => {
    const app = await start(() => undefined)
    const create = (options: object) => () => app.createFunction({ id: "x", triggers: go, ...options }, () => 1)
    expect(create({ cancelOn: [{ event: "t/x", if: "async." }] })).toThrow("is not a CEL expression")
    expect(create({ cancelOn: Array.from({ length: 6 }, (_, i) => ({ event: `t/${i}` })) })).toThrow("the most is 5")
    expect(create({ timeouts: { finish: "1y" } })).toThrow("is not a duration")
    expect(create({ timeouts: { begin: "1h" } })).toThrow("unknown option timeouts.begin")
  })
})

describe("the end of a run", () => {
  it("is told to onFailure with the error and the event, and to those who trigger on it", async () => {
    const heard: unknown[] = []
    const app = await start((app) => {
      app.createFunction(
        {
          id: "f",
          triggers: go,
          retries: 0,
          onFailure: async ({ error, event, step }) => {
            await step.run("clean up", () => heard.push([error.name, error.message, event.data.event.data, event.data.functionId]))
            throw new Error("the handler fails too")
          },
        },
        ({ event }) => {
          if (event.data["bad"] === true) throw new TypeError("bad data")
          return "fine"
        },
      )
      app.createFunction({ id: "other", triggers: go, retries: 0 }, () => Promise.reject(new Error("other")))
      app.createFunction(
        { id: "audit", triggers: [{ event: "fanfare/function.completed", if: "event.data.functionId == 't-f'" }] },
        ({ event }) => void heard.push(event.data["result"]),
      )
      app.createFunction(
        { id: "all", triggers: [{ event: "fanfare/function.cancelled" }] },
        ({ event }) => void heard.push(event.data["reason"]),
      )
      app.createFunction({ id: "sleeper", triggers: [] }, async ({ step }) => step.sleep("z", "1d"))
    })
    await app.send([{ name: "t/go", data: { bad: true } }, { name: "t/go" }])
    await harness.advance("1h")
    await app.runs.cancel((await harness.trigger("sleeper")).id, "why not")
    await harness.settle()
    expect(heard.slice(0, 2)).toContainEqual("fine")
    expect(heard).toContainEqual(["TypeError", "bad data", { bad: true }, "t-f"])
    expect(heard.at(-1)).toBe("why not")
    expect(await harness.runs({ functionId: "t-f-failure" })).toMatchObject([{ state: "failed" }])
  })

  it("writes no event when nobody hears it", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, retries: 0 }, () => Promise.reject(new Error("no")))
    })
    await app.send({ name: "t/go" })
    await harness.settle()
    expect(await harness.runs()).toHaveLength(1)
  })
})

describe("a saga", () => {
  const trip = (did: string[], broken: () => string) => (app: Fanfare) =>
    app.createFunction({ id: "f", triggers: go, retries: 1, onCancel: "compensate" }, async ({ step, event }) =>
      saga(step, async (saga) => {
        for (const part of ["flight", "hotel", "car"]) {
          const work = (): string => {
            if (broken() === part) throw new Error(`no ${part}`)
            did.push(part)
            return `${part} of ${String(event.data["who"])}`
          }
          await saga.run(part, work, (result) => did.push(`un${result}`))
          await step.sleep(`after ${part}`, "1h")
        }
        return "booked"
      }),
    )

  it("undoes what it did, the last first, when it fails", async () => {
    const did: string[] = []
    const app = await start((app) => void trip(did, () => "car")(app))
    await app.send({ name: "t/go", data: { who: "Ada" } })
    await harness.advance("1d")
    expect(did).toEqual(["flight", "hotel", "unhotel of Ada", "unflight of Ada"])
    expect(await runOf()).toMatchObject({ state: "failed", failure: { message: "no car" } })
  })

  it("undoes what it did when its run is cancelled, once, also over a crash", async () => {
    const did: string[] = []
    const app = await start((app) => void trip(did, () => "")(app))
    await app.send({ name: "t/go", data: { who: "Ada" } })
    await harness.advance("90m")
    await app.runs.cancel((await runOf()).id)
    await harness.settle()
    await harness.crash()
    await harness.advance("1d")
    expect(did).toEqual(["flight", "hotel", "unhotel of Ada", "unflight of Ada"])
    expect(await runOf("t-f-compensation")).toMatchObject({ state: "completed" })
    expect(await runOf()).toMatchObject({ state: "cancelled" })
  })
})

describe("runs are put right", () => {
  it("by replaying: whole, from a step with what came before it, or with other data", async () => {
    const did: string[] = []
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step, event }) => {
        const a = await step.run("a", () => (did.push("a"), did.length))
        await step.sleep("z", 1_000)
        const b = await step.run("b", () => (did.push("b"), did.length))
        await step.sleep("y", 1_000)
        return [a, b, await step.run("c", () => (did.push("c"), did.length)), event.data["n"] ?? null]
      })
    })
    await app.send({ name: "t/go", data: { n: 1 } })
    await harness.advance("1m")
    const first = await runOf()
    expect(first.output).toBe("[1,2,3,1]")
    const whole = await app.runs.replay(first.id)
    await harness.advance("1m")
    expect(await harness.run(whole.runId)).toMatchObject({
      output: "[4,5,6,1]",
      eventId: first.eventId,
      logs: [{ message: `replays ${first.id}` }],
    })
    const part = await app.runs.replay(first.id, { fromStep: "c", data: { n: 2 } })
    await harness.advance("1m")
    expect(await harness.run(part.runId)).toMatchObject({ output: "[1,2,7,2]", data: '{"n":2}' })
    expect(did).toEqual(["a", "b", "c", "a", "b", "c", "c"])
    await expect(app.runs.replay(first.id, { fromStep: "nope" })).rejects.toMatchObject({ code: "not_found", field: "fromStep" })
  })

  it("many at once, as they were when it was asked", async () => {
    let broken = true
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, retries: 0 }, ({ event }) => {
        if (broken && Number(event.data["i"]) % 2 === 0) throw new Error("even")
      })
      app.createFunction({ id: "z", triggers: go }, async ({ step }) => step.sleep("z", "1d"))
    })
    await app.send(Array.from({ length: 1_200 }, (_, i) => ({ name: "t/go", data: { i } })))
    await harness.advance("1m")
    expect(await app.runs.count({ state: "failed" })).toBe(600)
    broken = false
    const retried = await app.runs.bulk("retry", { functionId: "f", state: "failed" })
    await harness.advance("1m")
    await harness.crash()
    await harness.advance("1m")
    expect(await app.fanouts.operation(retried.id)).toMatchObject({ state: "done", affected: 600 })
    expect(await app.runs.count({ functionId: "f", state: "completed" })).toBe(1_200)
    expect((await harness.fanouts())[0]).toMatchObject({ failed: 0 })
    const replayed = await app.runs.bulk("replay", { functionId: "f" })
    await harness.advance("1m")
    expect(await app.fanouts.operation(replayed.id)).toMatchObject({ state: "done", affected: 1_200 })
    expect(await app.runs.count({ functionId: "f", state: "completed" })).toBe(2_400)
    const cancelled = await app.runs.bulk("cancel", { functionId: "z", from: harness.now() - 3_600_000 })
    await harness.advance("1m")
    expect(await app.fanouts.operation(cancelled.id)).toMatchObject({ state: "done", affected: 1_200 })
    expect(await app.runs.count({ state: "cancelled" })).toBe(1_200)
    expect((await app.runs.operations({ limit: 2 })).items.map(({ id }) => id)).toEqual([cancelled.id, replayed.id])
    expect(await app.runs.stop(cancelled.id)).toMatchObject({ state: "done" })
    await expect(app.runs.stop("op_none")).rejects.toMatchObject({ code: "not_found" })
    await expect(app.runs.bulk("cancel", {})).rejects.toMatchObject({ field: "filter" })
    await expect(app.runs.bulk("cancel", { state: "failed" })).rejects.toMatchObject({ field: "state" })
  })
})

import { describe, expect, it } from "vitest"
import { referenceFunction } from "../../src/index.ts"
import { harness, runOf, start } from "./started.ts"

const go = [{ event: "t/go" }] as const

describe("step.waitForEvent", () => {
  it("gives the event that fits and comes after it began, and says meanwhile what it waits for", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => {
        const paid = await step.waitForEvent("paid", { event: "t/paid", match: "data.order", timeout: "2h" })
        return paid === null ? null : [paid.name, paid.data, paid.id]
      })
    })
    await app.send({ name: "t/paid", data: { order: 7, early: true } })
    await app.send({ name: "t/go", data: { order: 7 } })
    await harness.settle()
    expect(await runOf()).toMatchObject({
      state: "waiting",
      reason: "waiting for the event t/paid with data.order=7, until 2026-01-01T02:00:00.000Z",
    })
    await app.send({ name: "t/paid", data: { order: 8 } })
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "waiting" })
    await app.send({ name: "t/paid", data: { order: 7 }, id: "payment 1" })
    await app.send({ name: "t/paid", data: { order: 7 }, id: "payment 2" })
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "completed", output: '["t/paid",{"order":7},"payment 1"]' })
  })

  it("gives null when its time is over, once, also over a crash", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => step.waitForEvent("paid", { event: "t/paid", timeout: "1h" }))
    })
    await app.send({ name: "t/go" })
    await harness.advance("59m")
    await harness.crash()
    expect(await runOf()).toMatchObject({ state: "waiting" })
    await harness.advance("1m")
    await app.send({ name: "t/paid" })
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "completed", output: "null" })
  })

  it.each([
    ["async.data.user == event.data.user && async.data.total > 10", 'data.user="u1"'],
    ["event.data.user == async.data['user'] && async.data.total > 10", 'data.user="u1"'],
    ['async.data.kind == "big" && async.data.total > 10 && async.data.user == event.data.user', 'data.kind="big"'],
    ["async.data.user.startsWith(event.data.user) && async.data.total > 10", null],
  ])("evaluates %s over both events", async (condition, key) => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => {
        const found = await step.waitForEvent("x", { event: "t/x", if: condition, timeout: "1h" })
        return found?.data["n"] ?? null
      })
    })
    await app.send({ name: "t/go", data: { user: "u1" } })
    await harness.settle()
    const { reason } = await runOf()
    expect(reason).toContain(key === null ? "t/x, until" : `t/x with ${key}, until`)
    await app.send([
      { name: "t/x", data: { n: 1, user: "u2", total: 11, kind: "big" } },
      { name: "t/x", data: { n: 2, user: "u1", total: 10, kind: "big" } },
      { name: "t/x", data: { n: 3, total: 12 } },
      { name: "t/x", data: { n: 4, user: "u1", total: 12, kind: "big" } },
    ])
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "completed", output: "4" })
  })

  it("misses nothing that comes while the attempt still does something else", async () => {
    let release: () => void = () => undefined
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => {
        const [paid] = await Promise.all([
          step.waitForEvent("paid", { event: "t/paid", timeout: "1h" }),
          step.run("long", () => new Promise<void>((resolve) => (release = resolve))),
        ])
        return paid?.data["n"]
      })
    })
    const sent = app.send({ name: "t/go" })
    await sent
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    await app.send({ name: "t/paid", data: { n: 1 } })
    release()
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "completed", output: "1" })
  })

  it("has begun before what the handler asks for next", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step, runId }) => {
        const answer = step.waitForEvent("answer", { event: "t/answer", if: `async.data.to == "${runId}"`, timeout: "1h" })
        await step.sendEvent("ask", { name: "t/question", data: { from: runId } })
        return (await answer)?.data["text"] ?? null
      })
      app.createFunction({ id: "responder", triggers: [{ event: "t/question" }] }, async ({ event, step }) => {
        await step.sendEvent("answer", { name: "t/answer", data: { to: event.data["from"], text: "yes" } })
      })
    })
    await app.send({ name: "t/go" })
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "completed", output: '"yes"' })
  })

  it("looks back when asked to", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => {
        const found = await step.waitForEvent("x", { event: "t/x", match: "data.user", timeout: "1h", lookBack: "10m" })
        return found?.data["n"] ?? null
      })
    })
    await app.send({ name: "t/x", data: { user: 1, n: "old" } })
    await harness.advance("11m")
    await app.send({ name: "t/x", data: { user: 2, n: "other" } })
    await app.send({ name: "t/x", data: { user: 1, n: "recent" } })
    await app.send({ name: "t/go", data: { user: 1 } })
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "completed", output: '"recent"' })
  })

  it("loses a race without wedging the run, and its wait goes with the run", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => {
        const first = await Promise.race([
          step.waitForEvent("a", { event: "t/a", timeout: "1d" }).then(() => "a"),
          step.waitForEvent("b", { event: "t/b", timeout: "1d" }).then(() => "b"),
          step.sleep("late", "2d").then(() => "late"),
        ])
        return [first, await step.run("after", () => "done")]
      })
    })
    await app.send({ name: "t/go" })
    await harness.settle()
    expect(await runOf()).toMatchObject({ reason: expect.stringContaining("t/a and 1 more") })
    await app.send({ name: "t/b" })
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "completed", output: '["b","done"]' })
    await app.send({ name: "t/a" })
    await harness.advance("3d")
    expect(await runOf()).toMatchObject({ state: "completed", output: '["b","done"]' })
  })

  it.each([
    [{ event: "t/x", if: "async.data.", timeout: "1h" }, "is not a CEL expression"],
    [{ event: "t/x", if: `async.data.x == "${"x".repeat(5_000)}"`, timeout: "1h" }, "at most 4096"],
    [{ event: "t/x", if: "other.data.x == 1", timeout: "1h" }, "is not a CEL expression"],
    [{ event: "t/x", match: "data.", timeout: "1h" }, "is not a field"],
    [{ event: "t/*", timeout: "1h" }, "for one name"],
    [{ event: "fanfare/function.failed", timeout: "1h" }, "Fanfare's own"],
    [{ event: "t/x" }, "needs a timeout"],
    [{ event: "t/x", timeout: "400d" }, "longer than 366 days"],
  ])("refuses %j and says what to change", async (options, message) => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => step.waitForEvent("x", options as never))
    })
    await app.send({ name: "t/go" })
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "failed", failure: { message: expect.stringContaining(message) } })
  })
})

describe("signals", () => {
  it("reach the one run that waits, and tell when nobody does", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => step.waitForSignal("ok", { signal: "approve 1", timeout: "1h" }))
      app.createFunction({ id: "g", triggers: [{ event: "t/other" }] }, async ({ step }) =>
        step.sendSignal("ok", { signal: "approve 1", data: { by: "g" } }),
      )
    })
    expect(await app.sendSignal("approve 1")).toEqual({ delivered: false, runId: null })
    await app.send({ name: "t/go" })
    await harness.settle()
    expect(await runOf()).toMatchObject({ reason: "waiting for the signal approve 1, until 2026-01-01T01:00:00.000Z" })
    await app.send({ name: "t/other" })
    await harness.settle()
    const run = await runOf()
    expect(run).toMatchObject({ state: "completed", output: '{"signal":"approve 1","data":{"by":"g"}}' })
    expect(await runOf("t-g")).toMatchObject({ output: JSON.stringify({ delivered: true, runId: run.id }) })
    expect(await app.sendSignal("approve 1")).toEqual({ delivered: false, runId: null })
    await expect(app.sendSignal("")).rejects.toMatchObject({ code: "invalid_step", field: "signal" })
  })

  it("are for one run at a time: a second one fails, or takes the place", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step, event }) => {
        const onConflict = event.data["replace"] === true ? "replace" : "fail"
        return step.waitForSignal("ok", { signal: "s", timeout: "1h", onConflict })
      })
    })
    const sent = async (data: object): Promise<void> => {
      await app.send({ name: "t/go", data: { ...data } })
      await harness.advance(1)
    }
    await sent({})
    await sent({})
    expect(await runOf()).toMatchObject({ state: "failed", failure: { code: "signal_taken" } })
    await sent({ replace: true })
    const states = (await harness.runs()).map(({ state, error }) => [state, error?.name])
    expect(states).toEqual([
      ["waiting", undefined],
      ["failed", "FanfareError"],
      ["failed", "SignalReplaced"],
    ])
    expect(await app.sendSignal("s", 5)).toMatchObject({ delivered: true })
    await harness.settle()
    expect(await runOf()).toMatchObject({ state: "completed", output: '{"signal":"s","data":5}' })
  })
})

describe("step.invoke", () => {
  it("runs another function, of this app or by reference, and gives its output or its error", async () => {
    const app = await start((app) => {
      const double = app.createFunction({ id: "double", triggers: [{ event: "t/double" }] }, async ({ event, step }) => {
        await step.sleep("a while", "1m")
        return Number(event.data["n"]) * 2
      })
      app.createFunction({ id: "broken", triggers: [], retries: 0 }, () => {
        throw new RangeError("out of range")
      })
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => {
        const four: number = await step.invoke("four", { function: double, data: { n: 2 } })
        const broken = referenceFunction<object, string>({ appId: "t", functionId: "broken" })
        const error = await step.invoke("broken", { function: broken }).catch((thrown: Error) => `${thrown.name}: ${thrown.message}`)
        return [four, error]
      })
    })
    await app.send({ name: "t/go" })
    await harness.settle()
    const child = await runOf("t-double")
    expect(await runOf()).toMatchObject({ reason: expect.stringContaining(`waiting for the run ${child.id}`) })
    expect(child).toMatchObject({ parentId: (await runOf()).id, eventName: "fanfare/function.invoked" })
    await harness.crash()
    await harness.advance("2m")
    expect(await runOf()).toMatchObject({ state: "completed", output: '[4,"RangeError: out of range"]' })
    expect(await harness.runs({ functionId: "t-double" })).toHaveLength(1)
  })

  it("ends with an error when the other takes too long, is cancelled, or is not known", async () => {
    const app = await start((app) => {
      const slow = app.createFunction({ id: "slow", triggers: [] }, async ({ step }) => step.sleep("z", "1d"))
      app.createFunction({ id: "f", triggers: go, retries: 0 }, async ({ step, event }) => {
        const target = event.data["known"] === false ? referenceFunction({ appId: "t", functionId: "nope" }) : slow
        return step.invoke("it", { function: target, timeout: "1h" }).catch((thrown: Error) => thrown.name)
      })
    })
    await app.send({ name: "t/go" })
    await harness.advance("61m")
    expect(await runOf()).toMatchObject({ output: '"InvokeTimeoutError"' })
    await app.send({ name: "t/go" })
    await harness.settle()
    await app.runs.cancel((await runOf("t-slow")).id, "enough")
    await harness.settle()
    expect(await runOf()).toMatchObject({ output: '"RunCancelled"' })
    await app.send({ name: "t/go", data: { known: false } })
    await harness.settle()
    const { output, failure } = await runOf()
    expect(`${output} ${failure?.message}`).toContain("FanfareError")
  })
})

describe("a step", () => {
  it("may have a time of its own", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, retries: 1 }, async ({ step }) =>
        step.run({ id: "slow", timeout: "2s" }, () => new Promise(() => {})).catch((thrown: Error) => thrown.name),
      )
    })
    await app.send({ name: "t/go" })
    await harness.advance("1m")
    expect(await runOf()).toMatchObject({ output: '"StepTimeoutError"', steps: [{ attempts: 2 }] })
  })

  it("that has no id of its own at the same time is told of", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) =>
        Promise.all([step.run("same", async () => 1), step.run("same", async () => 2)]),
      )
    })
    await app.send({ name: "t/go" })
    await harness.settle()
    expect(await runOf()).toMatchObject({
      output: "[1,2]",
      logs: [{ level: "warn", message: expect.stringContaining("under way at once") }],
    })
  })

  it("whose code has changed since an earlier attempt is told of, with the difference", async () => {
    let version = 1
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => {
        const ids = version === 1 ? ["a", "b", "c"] : ["b", "a", "d"]
        for (const id of ids) {
          await step.run(id, () => id)
          await step.sleep(`after ${id}`, 1_000)
        }
      })
    })
    await app.send({ name: "t/go" })
    await harness.advance(2_500)
    version = 2
    await harness.advance("1m")
    const { state, logs } = await runOf()
    expect(state).toBe("completed")
    expect(logs.map(({ level, message }) => [level, message])).toEqual([
      ["warn", "the steps of this run have changed since an earlier attempt"],
    ])
    expect(JSON.parse(logs[0]?.fields ?? "{}")).toMatchObject({ missing: ["c"], before: ["a", "b", "d"], now: ["b", "a", "d"] })
  })

  it("may be an HTTP request: any answer is its result", async () => {
    const { createServer } = await import("node:http")
    let asked = 0
    const server = createServer((request, response) => {
      asked++
      response.writeHead(418, { "x-kind": "teapot" }).end(`${request.method} ${request.url}`)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as { port: number }
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, async ({ step }) => {
        const { status, body, headers } = await step.fetch("tea", `http://127.0.0.1:${port}/pot`, { method: "POST", body: "x" })
        await step.sleep("z", 1_000)
        return [status, body, headers["x-kind"]]
      })
    })
    await app.send({ name: "t/go" })
    await harness.advance("5s")
    expect(await runOf()).toMatchObject({ output: '[418,"POST /pot","teapot"]' })
    expect(asked).toBe(1)
    server.close()
  })
})

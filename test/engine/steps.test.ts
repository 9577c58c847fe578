import { expect, it } from "vitest"
import { NonRetriableError, RetryAfterError, StepError } from "../../src/index.ts"
import { harness, start } from "./started.ts"

const event = [{ event: "app/go" }] as const

it("does a step once, whatever follows it", async () => {
  let first = 0
  let second = 0
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async ({ step }) => {
      const value = await step.run("first", () => ++first)
      await step.sleep("nap", "1h")
      const other = await step.run("second", () => {
        if (++second < 3) throw new Error("not yet")
        return "done"
      })
      return { value, other }
    })
  })
  await app.send({ name: "app/go" })
  await harness.settle()
  expect((await harness.runs())[0]).toMatchObject({ state: "waiting", reason: "sleeping until 2026-01-01T01:00:00.000Z" })
  await harness.advance("2h")
  const [summary] = await harness.runs()
  const run = await harness.run(summary?.id ?? "")
  expect(run).toMatchObject({ state: "completed", output: '{"value":1,"other":"done"}' })
  expect({ first, second }).toEqual({ first: 1, second: 3 })
  expect(run.steps.map(({ key, attempts, state }) => [key, attempts, state])).toEqual([
    ["first", 1, "completed"],
    ["nap", 1, "waiting"],
    ["second", 3, "completed"],
  ])
})

it("tells repeated ids apart by their order", async () => {
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async ({ step }) => {
      const values: number[] = []
      for (let i = 0; i < 3; i++) values.push(await step.run("same", () => i))
      return values
    })
  })
  await app.send({ name: "app/go" })
  await harness.settle()
  const run = await harness.run((await harness.runs())[0]?.id ?? "")
  expect(run.output).toBe("[0,1,2]")
  expect(run.steps.map(({ key }) => key).toSorted()).toEqual(["same", "same:1", "same:2"])
})

it("runs parallel steps side by side and retries only the one that failed", async () => {
  const done: Record<string, number> = { a: 0, b: 0, c: 0 }
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async ({ step }) => {
      return Promise.all(
        ["a", "b", "c"].map((id) =>
          step.run(id, () => {
            done[id] = (done[id] ?? 0) + 1
            if (id === "b" && done[id] === 1) throw new Error("b fails once")
            return id
          }),
        ),
      )
    })
  })
  await app.send({ name: "app/go" })
  await harness.advance("10s")
  expect((await harness.run((await harness.runs())[0]?.id ?? "")).output).toBe('["a","b","c"]')
  expect(done).toEqual({ a: 1, b: 2, c: 1 })
})

it("throws a StepError to the handler when a step has failed for good, which the handler may catch", async () => {
  let tries = 0
  const caught: unknown[] = []
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event, retries: 2 }, async ({ step }) => {
      try {
        await step.run("charge", () => {
          tries++
          throw new TypeError("card refused")
        })
      } catch (error) {
        caught.push(error)
        return step.run("refund", () => "refunded")
      }
      return null
    })
  })
  await app.send({ name: "app/go" })
  await harness.advance("1h")
  expect(tries).toBe(3)
  expect(caught[0]).toBeInstanceOf(StepError)
  expect(caught[0]).toMatchObject({ name: "TypeError", message: "card refused", stepId: "charge" })
  expect((await harness.run((await harness.runs())[0]?.id ?? "")).output).toBe('"refunded"')
})

it("fails the run when nobody catches a step's final failure, without trying the run again", async () => {
  let handler = 0
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event, retries: 1 }, async ({ step }) => {
      handler++
      await step.run("charge", () => {
        throw new NonRetriableError("no such card")
      })
    })
  })
  await app.send({ name: "app/go" })
  await harness.advance("1h")
  const [run] = await harness.runs()
  expect(run).toMatchObject({ state: "failed", error: { name: "NonRetriableError", message: "no such card" } })
  expect(handler).toBe(1)
})

it("refuses a step inside a step, naming both", async () => {
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async ({ step }) => {
      await step.run("outer", () => step.run("inner", () => 1))
    })
  })
  await app.send({ name: "app/go" })
  await harness.settle()
  const [run] = await harness.runs()
  expect(run).toMatchObject({ state: "failed" })
  expect(run?.error?.message).toContain('step.run("inner") is called inside the step "outer"')
})

it("refuses the step after the last allowed one", async () => {
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async ({ step }) => {
      for (let i = 0; i < 1_001; i++) await step.run("again", () => i)
    })
  })
  await app.send({ name: "app/go" })
  await harness.settle()
  expect((await harness.runs())[0]).toMatchObject({ state: "failed", error: { message: "the run has more than 1000 steps" } })
})

it("waits as long as a RetryAfterError asks", async () => {
  const starts: number[] = []
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async () => {
      starts.push(harness.now())
      if (starts.length === 1) throw new RetryAfterError("busy", "90s")
    })
  })
  await app.send({ name: "app/go" })
  await harness.settle()
  expect((await harness.runs())[0]).toMatchObject({
    state: "scheduled",
    reason: "waiting for its next attempt at 2026-01-01T00:01:30.000Z",
  })
  await harness.advance("1h")
  expect((starts[1] ?? 0) - (starts[0] ?? 0)).toBe(90_000)
})

it("sleeps until a moment, and not at all when the moment has passed", async () => {
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async ({ step }) => {
      await step.sleepUntil("past", new Date(0))
      await step.sleepUntil("later", "2026-01-01T06:00:00Z")
      return new Date(harness.now()).toISOString()
    })
  })
  await app.send({ name: "app/go" })
  await harness.advance("26h")
  expect((await harness.run((await harness.runs())[0]?.id ?? "")).output).toBe('"2026-01-01T06:00:00.000Z"')
})

it("gives a step's result as JSON gives it, the first time too", async () => {
  const seen: unknown[] = []
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async ({ step }) => {
      seen.push(await step.run("date", () => ({ at: new Date(0), gone: undefined, list: [1, null] })))
      seen.push(await step.run("nothing", () => undefined))
      await step.sleep("nap", 1_000)
    })
  })
  await app.send({ name: "app/go" })
  await harness.advance("10s")
  expect(seen.slice(0, 2)).toEqual([{ at: "1970-01-01T00:00:00.000Z", list: [1, null] }, null])
  expect(seen.slice(2)).toEqual(seen.slice(0, 2))
})

it("loses no step and repeats none when the node dies", async () => {
  let steps = 0
  const app = await start((app) => {
    app.createFunction({ id: "f", triggers: event }, async ({ step }) => {
      for (let i = 0; i < 5; i++) {
        await step.run("count", () => ++steps)
        await step.sleep("pause", "1m")
      }
      return steps
    })
  })
  await app.send({ name: "app/go" })
  for (let i = 0; i < 5; i++) {
    await harness.advance("1m")
    await harness.crash()
  }
  await harness.advance("10m")
  expect((await harness.run((await harness.runs())[0]?.id ?? "")).output).toBe("5")
})

import { describe, expect, it } from "vitest"
import { limits } from "../../src/core/limits.ts"
import { NonRetriableError } from "../../src/index.ts"
import type { LogLine } from "../../src/core/change.ts"
import { harness, start } from "./started.ts"

const go = [{ event: "app/go" }] as const

describe("a run that fails", () => {
  it("is tried again by the table, each time later, and keeps every failure", async () => {
    const starts: number[] = []
    await start((app) => {
      app.createFunction({ id: "f", triggers: go, retries: 3 }, ({ attempt }) => {
        starts.push(harness.now())
        throw new RangeError(`attempt ${attempt}`, { cause: new Error("the reason") })
      })
    })
    const { id } = await harness.trigger("f")
    await harness.advance("1h")
    const run = await harness.run(id)
    expect(run).toMatchObject({
      state: "failed",
      attempt: 4,
      failure: { name: "RangeError", message: "attempt 3", cause: { message: "the reason" } },
    })
    expect(run.failure?.stack).toContain("runs.test.ts")
    expect(run.attempts.map(({ attempt, failure }) => [attempt, failure.message])).toEqual([1, 2, 3, 4].map((n) => [n, `attempt ${n - 1}`]))
    for (const [i, base] of limits.retryDelaysMs.slice(0, 3).entries()) {
      const waited = (starts[i + 1] ?? 0) - (starts[i] ?? 0)
      expect(waited).toBeGreaterThanOrEqual(base)
      expect(waited).toBeLessThanOrEqual(base * (1 + limits.retryJitter) + 5)
    }
  })

  it("is not tried again after a NonRetriableError, or with retries: 0", async () => {
    let tries = 0
    await start((app) => {
      app.createFunction({ id: "never", triggers: go }, () => {
        tries++
        throw new NonRetriableError("no")
      })
      app.createFunction({ id: "none", triggers: go, retries: 0 }, () => {
        tries++
        throw new Error("no")
      })
    })
    await harness.trigger("never")
    await harness.trigger("none")
    await harness.advance("1h")
    expect(tries).toBe(2)
    expect((await harness.runs({ state: "failed" })).length).toBe(2)
  })

  const thrown: readonly [string, () => unknown][] = [
    ["undefined", () => undefined],
    ["null", () => null],
    ["text", () => "plain text"],
    ["a number", () => 42],
    ["a symbol", () => Symbol("s")],
    ["a BigInt", () => 10n],
    ["an object", () => ({ code: 7 })],
    ["a frozen object", () => Object.freeze({ message: "frozen" })],
    [
      "an object that refers to itself",
      () =>
        Object.assign(
          {},
          {
            self: null,
            get me(): unknown {
              return this
            },
          },
        ),
    ],
    [
      "a proxy that throws at everything",
      () =>
        new Proxy(
          {},
          {
            get: () => {
              throw new Error("trap")
            },
            getPrototypeOf: () => {
              throw new Error("trap")
            },
            has: () => {
              throw new Error("trap")
            },
          },
        ),
    ],
    ["an error whose message is not text", () => Object.assign(new Error("x"), { message: { deep: true } })],
    [
      "an error that causes itself",
      () => {
        const e = new Error("loop")
        e.cause = e
        return e
      },
    ],
    ["a huge error", () => new Error("x".repeat(1_000_000))],
    ["a function", () => () => 1],
  ]
  it.each(thrown)("records %s that was thrown, and the other runs go on", async (_, make) => {
    const app = await start((app) => {
      app.createFunction({ id: "bad", triggers: go, retries: 0 }, () => {
        throw make()
      })
      app.createFunction({ id: "good", triggers: go }, () => "fine")
    })
    await app.send({ name: "app/go" })
    await harness.advance("1m")
    const [bad] = await harness.runs({ functionId: "t-bad" })
    expect(bad?.state).toBe("failed")
    expect(typeof bad?.error?.message).toBe("string")
    expect(JSON.stringify(await harness.run(bad?.id ?? "")).length).toBeLessThan(200_000)
    expect(await harness.runs({ functionId: "t-good" })).toMatchObject([{ state: "completed" }])
  })
})

describe("what a handler returns", () => {
  const circular: Record<string, unknown> = {}
  circular["self"] = circular
  const unfit: readonly [string, unknown, string][] = [
    ["a BigInt", { n: 1n }, "the handler's result.n is a BigInt"],
    ["a circle", circular, "the handler's result.self refers back"],
    ["a function", { f: () => 1 }, "the handler's result.f is a function"],
    ["a Map", { m: new Map() }, "the handler's result.m is a Map"],
    ["NaN", [Number.NaN], "the handler's result[0] is NaN"],
    ["too much", "x".repeat(5 * 1024 * 1024), "the most is 4194304"],
  ]
  it.each(unfit)("fails the run at once when it is %s", async (_, value, message) => {
    await start((app) => {
      app.createFunction({ id: "f", triggers: go }, () => value)
    })
    const run = await harness.trigger("f")
    expect(run).toMatchObject({ state: "failed", attempt: 1 })
    expect(run.failure?.message).toContain(message)
  })
})

describe("time", () => {
  it("ends an attempt that never settles, aborts its signal, and tries again", async () => {
    let aborted = 0
    await start((app) => {
      app.createFunction({ id: "f", triggers: go, retries: 1, timeouts: { attempt: "1m" } }, ({ signal, step }) => {
        signal.addEventListener("abort", () => aborted++)
        return step.run("hang", () => new Promise(() => {}))
      })
    })
    const started = harness.trigger("f")
    await harness.advance("10m")
    const run = await harness.run((await started).id)
    expect(run).toMatchObject({ state: "failed", attempt: 2, failure: { name: "TimeoutError" } })
    expect(aborted).toBe(2)
  })

  it("fires a cron function at each moment in its zone, and a moment only once", async () => {
    const at: unknown[] = []
    await start(
      (app) => {
        app.createFunction({ id: "cron", triggers: [{ cron: "0 9,12 * * MON,FRI", timezone: "Europe/Paris" }] }, ({ event }) => {
          at.push(event.data.scheduledAt)
        })
      },
      { now: "2026-11-22T00:00:00Z" },
    )
    await harness.advance("26h")
    expect(at).toEqual([])
    await harness.advance("7d")
    expect(at).toEqual(["2026-11-23T08:00:00.000Z", "2026-11-23T11:00:00.000Z", "2026-11-27T08:00:00.000Z", "2026-11-27T11:00:00.000Z"])
  })

  it("after a sleep of the machine fires the latest missed moment only, and records the others as skipped", async () => {
    const at: unknown[] = []
    const outcomes: string[] = []
    await start((app) => {
      app.createFunction({ id: "cron", triggers: [{ cron: "0 * * * *" }] }, ({ event }) => void at.push(event.data.scheduledAt))
    })
    harness.listen((fact) => fact.name === "tick.decided" && outcomes.push(fact.outcome))
    await harness.advance("1h")
    await harness.jump("5h30m")
    await harness.advance("1h")
    expect(at).toEqual(["2026-01-01T01:00:00.000Z", "2026-01-01T06:00:00.000Z", "2026-01-01T07:00:00.000Z"])
    expect(outcomes).toEqual(["fired", "skipped_late", "skipped_late", "skipped_late", "skipped_late", "caught_up", "fired"])
  })

  it("of a year passes over a schedule of every second without a flood", async () => {
    let runs = 0
    await start((app) => {
      app.createFunction({ id: "cron", triggers: [{ cron: "* * * * * *" }] }, () => void runs++)
    })
    await harness.jump(365 * 24 * 3_600_000)
    // Those of the last ten seconds are on time; a year of others is not caught up.
    expect(runs).toBe(11)
  })

  it("passes in milliseconds: a day of a schedule of every minute", async () => {
    let runs = 0
    await start((app) => {
      app.createFunction({ id: "cron", triggers: [{ cron: "* * * * *" }] }, () => void runs++)
    })
    await harness.advance("24h")
    expect(runs).toBe(1_440)
  })
})

describe("concurrency", () => {
  it("of a function is never exceeded, and all its runs end, first come first served", async () => {
    let running = 0
    let most = 0
    const order: unknown[] = []
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, concurrency: { limit: 3 } }, async ({ event }) => {
        most = Math.max(most, ++running)
        order.push(event.data["i"])
        await new Promise((resolve) => setTimeout(resolve, 1))
        running--
      })
    })
    await app.send(Array.from({ length: 30 }, (_, i) => ({ name: "app/go", data: { i } })))
    await harness.settle()
    expect(most).toBe(3)
    expect(order).toEqual(Array.from({ length: 30 }, (_, i) => i))
    expect(await harness.runs({ state: "completed" })).toHaveLength(30)
  })

  it("does not count runs that sleep or wait for a retry", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, concurrency: 1 }, async ({ step }) => step.sleep("nap", "1h"))
    })
    await app.send([{ name: "app/go" }, { name: "app/go" }, { name: "app/go" }])
    await harness.settle()
    expect((await harness.runs()).map(({ state, reason }) => [state, reason])).toEqual(
      Array.from({ length: 3 }, () => ["waiting", expect.stringContaining("sleeping until")]),
    )
    await harness.advance("1h")
    expect(await harness.runs({ state: "completed" })).toHaveLength(3)
  })

  it("of the node is never exceeded, and one function's backlog keeps no other function waiting", async () => {
    let running = 0
    let most = 0
    const order: string[] = []
    const app = await start(
      (app) => {
        for (const id of ["many", "few"]) {
          app.createFunction({ id, triggers: [{ event: `app/${id}` }] }, async () => {
            order.push(id)
            most = Math.max(most, ++running)
            await new Promise((resolve) => setTimeout(resolve, 1))
            running--
          })
        }
      },
      { concurrency: 4 },
    )
    await app.send([...Array.from({ length: 500 }, () => ({ name: "app/many" })), { name: "app/few" }])
    await harness.settle()
    expect(most).toBe(4)
    expect(order.indexOf("few")).toBeLessThan(20)
  })
})

describe("a run that kills its node", () => {
  it("ends as failed, and takes no other run with it", async () => {
    let deadly = 0
    const app = await start((app) => {
      app.createFunction({ id: "deadly", triggers: go, retries: 2 }, () => {
        deadly++
        return new Promise(() => {})
      })
      app.createFunction(
        { id: "innocent", triggers: go, retries: 0, timeouts: { attempt: "1h" } },
        () => new Promise((resolve) => setTimeout(resolve, 1)),
      )
    })
    const node = { crash: () => harness.crash() }
    await Promise.all([app.send([{ name: "app/go" }, { name: "app/go" }]), new Promise((resolve) => setTimeout(resolve, 20))])
    for (let i = 0; i < 12; i++) {
      await Promise.race([node.crash(), new Promise((resolve) => setTimeout(resolve, 40))])
    }
    const runs = await harness.runs({ functionId: "t-deadly" })
    expect(runs.map(({ state, error }) => [state, error?.name])).toEqual([
      ["failed", "AttemptLost"],
      ["failed", "AttemptLost"],
    ])
    expect(deadly).toBeLessThanOrEqual(2 * 4)
    expect(await harness.runs({ functionId: "t-innocent", state: "completed" })).toHaveLength(2)
  })
})

describe("logs", () => {
  it("are kept with run and attempt, whatever is in them, and bounded", async () => {
    const lines: LogLine[] = []
    await start((app) => {
      app.createFunction({ id: "f", triggers: go, retries: 1 }, ({ logger, attempt }) => {
        const circle: Record<string, unknown> = { n: 1n, error: new Error("inner") }
        circle["self"] = circle
        logger.warn("hello", circle)
        logger.info("x".repeat(100_000))
        if (attempt === 0) throw new Error("again")
        for (let i = 0; i < 2_000; i++) logger.debug(`line ${i}`)
      })
    })
    harness.listen((fact) => fact.name === "run.log" && lines.push(fact.line))
    const { id } = await harness.trigger("f")
    await harness.advance("1m")
    const { logs } = await harness.run(id)
    expect(logs).toHaveLength(limits.logLinesPerRun + 1)
    expect(logs.at(-1)?.message).toBe("more than 1000 log lines: the rest is not kept")
    expect(logs[0]).toMatchObject({ level: "warn", message: "hello", fence: 1 })
    expect(JSON.parse(logs[0]?.fields ?? "")).toMatchObject({ n: "1", error: { message: "inner" } })
    expect(logs[1]?.message.length).toBe(limits.logLineChars)
    expect(logs[2]?.fence).toBe(2)
    expect(lines).toHaveLength(logs.length)
  })
})

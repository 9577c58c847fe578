import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { admitterOf, fixedLimits } from "../../src/core/admission.ts"
import { defineFunction, type FunctionOptions } from "../../src/core/definition.ts"
import { FanfareError } from "../../src/core/errors.ts"
import { compileCondition, compileExpression } from "../../src/core/expression.ts"
import { afterOne, nextAt, takeRate } from "../../src/core/entry.ts"
import { decideEntries } from "../../src/core/entries.ts"
import { roomOf, take, unusedLimit } from "../../src/core/room.ts"
import type { NewRun } from "../../src/core/run.ts"

const go = [{ event: "a/go" }]
const event = (data: Record<string, unknown>) => ({ name: "a/go", id: "e", ts: 1_000, data })

describe("an expression", () => {
  const data = { n: 5, big: 2.5, text: "abc", yes: true, none: null, list: [1, "a", { x: 2 }], nested: { deep: "d" } }
  it.each<[string, unknown]>([
    ["event.data.missing == null", true],
    ["event.data.missing == 5", false],
    ["event.data.missing != 5", true],
    ["event.data.missing < 5", true],
    ["event.data.missing > 5", false],
    ["5 > event.data.missing", true],
    ["event.data.missing.deeper.still == null", true],
    ["size(event.data.missing)", 0],
    ["event.data.missing.startsWith('a')", false],
    ["event.data.missing + 'y'", "y"],
    ["event.data.none == 5", false],
    ["event.data.none != 5", true],
    ["event.data.none < 5", true],
    ["event.data.text + 1", "abc1"],
    ["event.data.n == 5.0 && event.data.big > 2", true],
    ["event.data.missing || event.data.text", "abc"],
    ["event.data.text && event.data.n", 5],
    ["event.data.text ? 1 : 2", 1],
    ["event.data.list.exists(x, x == 'a')", true],
    ["event.data.list.all(x, x == 'a')", false],
    ["event.data.list.filter(x, x == 1).size()", 1],
    ["event.data.list.map(x, x + 1)[0]", 2],
    ["has(event.data.nested.deep)", true],
    ["has(event.data.nested.other)", false],
    ["'deep' in event.data.nested", true],
    ["event.data['text']", "abc"],
    ["uppercase(event.data.text)", "ABC"],
    ["b64decode('aGk=')", "hi"],
    ["json_parse('{\"a\":[1]}').a[0]", 1],
    ["date('1970-01-01T00:00:01Z')", 1_000],
    ["now_plus('1s') - now()", 1_000],
    ["event.data.text.matches('^a.c$')", true],
    ["event.data.text.matches('^[a-z]+@[a-z]+[.][a-z]+$')", false],
    ["event.ts", 1_000],
    ["-event.data.n + 2 * 3 - 4 / 2 % 2", 1],
    ["!event.data.missing", true],
  ])("%s is %j", (source, value) => {
    expect(compileExpression(source, "key", "invalid_function", "x", "text")(event(data))).toEqual(value)
  })

  it.each([
    ["event.data.", /is not a CEL expression/],
    ["evnt.data.x", /there is no variable "evnt"; there is event/],
    ["frobnicate(event.data.x)", /there is no function "frobnicate"/],
    ["event.data.x.matches('(a+)+$')", /a group cannot be repeated/],
    ["event.data.x.matches(event.data.y)", /literal pattern/],
    [`event.data.x == "${"x".repeat(5_000)}"`, /at most 4096 characters/],
    ["1+".repeat(1_200) + "1", /is not a CEL expression/],
    ["", /must be a CEL expression/],
  ])("%s is refused at registration", (source, message) => {
    expect(() => compileCondition(source, "if")).toThrow(message)
  })

  it("ends after its steps, however the data is made", () => {
    const condition = compileExpression(
      "event.data.l.map(x, event.data.l.map(y, event.data.l.size()))",
      "key",
      "invalid_function",
      "x",
      "text",
    )
    expect(() => condition(event({ l: Array.from({ length: 1_000 }, () => 1) }))).toThrow(/more than 10000 steps/)
  })

  it("that is a condition never throws, and only true counts", () => {
    const condition = compileCondition("event.data.a < event.data.b", "if")
    fc.assert(fc.property(fc.object(), (data) => typeof condition(event(data)) === "boolean"))
    expect(compileCondition("event.data.text", "if")(event({ text: "yes" }))).toBe(false)
  })
})

describe("flow control refuses", () => {
  it.each<[string, Partial<FunctionOptions>, { field: string; message?: RegExp }]>([
    ["limit 0", { concurrency: { limit: 0 } }, { field: "concurrency.limit" }],
    [
      "a shared limit without a name",
      { concurrency: { limit: 1, scope: "env" } },
      { field: "concurrency.key", message: /needed with the scope/ },
    ],
    ["an unknown scope", { concurrency: { limit: 1, scope: "team" as "env" } }, { field: "concurrency.scope" }],
    ["an unknown mode", { concurrency: [{ limit: 1, mode: "job" as "run" }] }, { field: "concurrency[0].mode" }],
    ["five rules", { concurrency: Array.from({ length: 5 }, () => ({ limit: 1 })) }, { field: "concurrency", message: /1 to 4 rules/ }],
    ["an unknown option", { throttle: { limit: 1, period: "1m", per: 1 } as never }, { field: "throttle.per" }],
    ["a period of 0", { throttle: { limit: 1, period: 0 } }, { field: "throttle.period" }],
    ["a period of 8 days", { throttle: { limit: 1, period: "8d" } }, { field: "throttle.period" }],
    ["what is no duration", { rateLimit: { limit: 1, period: "soon" } }, { field: "rateLimit.period" }],
    ["a negative burst", { throttle: { limit: 1, period: "1m", burst: -1 } }, { field: "throttle.burst" }],
    ["a rate over more than a day", { rateLimit: { limit: 1, period: "25h" } }, { field: "rateLimit.period" }],
    ["a debounce of 10 ms", { debounce: { period: "10ms" } }, { field: "debounce.period" }],
    ["a timeout that is shorter", { debounce: { period: "1m", timeout: "30s" } }, { field: "debounce.timeout" }],
    ["a batch of one", { batchEvents: { maxSize: 1, timeout: "1s" } }, { field: "batchEvents.maxSize" }],
    ["a batch that waits an hour", { batchEvents: { maxSize: 2, timeout: "1h" } }, { field: "batchEvents.timeout" }],
    ["a key that is not CEL", { singleton: { mode: "skip", key: "event." } }, { field: "singleton.key" }],
    ["an unknown singleton", { singleton: { mode: "queue" as "skip" } }, { field: "singleton.mode" }],
    ["a priority that is a text", { priority: { run: "'high'" } }, { field: "priority.run", message: /not a number/ }],
    ["a condition that is a number", { batchEvents: { maxSize: 2, timeout: "1s", if: "5" } }, { field: "batchEvents.if" }],
    ["an empty back-off", { backoff: [] }, { field: "backoff" }],
    ["an unknown back-off", { backoff: { type: "linear" } as never }, { field: "backoff.type" }],
    ...(["debounce", "singleton", "priority", "rateLimit", "idempotency"] as const).map(
      (other): [string, Partial<FunctionOptions>, { field: string; message?: RegExp }] => [
        `a batch with ${other}`,
        {
          batchEvents: { maxSize: 2, timeout: "1s" },
          ...{
            debounce: { debounce: { period: "1s" } },
            singleton: { singleton: { mode: "skip" as const } },
            priority: { priority: { run: "1" } },
            rateLimit: { rateLimit: { limit: 1, period: "1s" } },
            idempotency: { idempotency: "event.id" },
          }[other],
        },
        { field: "batchEvents", message: new RegExp(`cannot be combined with ${other}`) },
      ],
    ),
  ])("%s", (_, options, { field, message = /./ }) => {
    let thrown: unknown
    try {
      defineFunction("app", { id: "f", triggers: go, ...options })
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(FanfareError)
    expect(thrown).toMatchObject({ code: "invalid_function", field, message: expect.stringMatching(message) })
  })
})

describe("the claims of a run", () => {
  const claims = (options: Partial<FunctionOptions>, data: Record<string, unknown> = { t: "acme" }) => {
    const definition = defineFunction("app", { id: "f", triggers: go, ...options })
    return fixedLimits(definition) ?? admitterOf(definition)?.(event(data), 10).limits
  }

  it.each<[string, Partial<FunctionOptions>, unknown]>([
    ["none", {}, []],
    ["its function's", { concurrency: 3 }, [{ key: "fn:app-f", max: 3 }]],
    ["of its key", { concurrency: { limit: 1, key: "event.data.t" } }, [{ key: "fn:app-f:acme", max: 1 }]],
    [
      "its throttle, its key, its function, what is shared, in this order",
      {
        concurrency: [{ limit: 9, scope: "account", key: "'all'" }, { limit: 5 }, { limit: 1, key: "event.data.t", mode: "run" }],
        throttle: { limit: 2, period: "1s" },
      },
      [
        { key: "throttle:app-f", max: 2, throttle: { periodMs: 1_000, burst: 0 } },
        { key: "fn:app-f#3:acme", max: 1, hold: "run" },
        { key: "fn:app-f#2", max: 5 },
        { key: "account:all", max: 9 },
      ],
    ],
    [
      "one limit for two rules of the same name",
      {
        concurrency: [
          { limit: 4, scope: "env", key: "'x'" },
          { limit: 2, scope: "env", key: "'x'" },
        ],
      },
      [{ key: "env:x", max: 2 }],
    ],
    ["none where the key is false", { concurrency: { limit: 1, key: "event.data.t == 'acme' ? false : 'x'" } }, []],
    ["null for what is missing", { concurrency: { limit: 1, key: "event.data.other" } }, [{ key: "fn:app-f:null", max: 1 }]],
  ])("%s", (_, options, expected) => expect(claims(options)).toEqual(expected))
})

describe("a throttle", () => {
  const claim = (limit: number, periodMs: number, burst: number) => ({ key: "t", max: limit, throttle: { periodMs, burst } })

  it("never starts more than limit + burst in any period, and is never slower than its rate", () => {
    const cases = fc.record({
      limit: fc.integer({ min: 1, max: 50 }),
      periodMs: fc.integer({ min: 1_000, max: 100_000 }),
      burst: fc.integer({ min: 0, max: 20 }),
      gaps: fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 100 }),
    })
    fc.assert(
      fc.property(cases, ({ limit, periodMs, burst, gaps }) => {
        const state = { ...unusedLimit }
        const starts: number[] = []
        let now = 1_000_000
        for (const gap of gaps) {
          now += gap
          const room = roomOf(claim(limit, periodMs, burst), state, now)
          if (room !== "free") now = room.until ?? now
          expect(roomOf(claim(limit, periodMs, burst), state, now)).toBe("free")
          take(claim(limit, periodMs, burst), state, now)
          starts.push(now)
        }
        for (const [i, start] of starts.entries()) {
          const within = starts.slice(i).filter((at) => at - start < periodMs).length
          expect(within).toBeLessThanOrEqual(limit + burst)
        }
      }),
    )
  })

  it("catches up after a late look, by a second at most", () => {
    let rate: number | null = afterOne(null, { limit: 1_000, periodMs: 1_000, burst: 0 }, 1_000_000)
    let n = 0
    while (nextAt(rate, { limit: 1_000, periodMs: 1_000, burst: 0 }) <= 1_060_000) {
      rate = afterOne(rate, { limit: 1_000, periodMs: 1_000, burst: 0 }, 1_060_000, true)
      n++
    }
    expect(n).toBeGreaterThan(990)
    expect(n).toBeLessThanOrEqual(1_001)
  })
})

describe("a rate limit", () => {
  it("admits its limit at once and at most that much more in each period", () => {
    let rate: number | null = null
    const at: number[] = []
    for (let now = 0; now < 10_000; now += 100) {
      const taken = takeRate(rate, 4, 1_000, 1_000_000 + now)
      if (!("rate" in taken)) continue
      rate = taken.rate
      at.push(now)
    }
    expect(at.filter((now) => now < 1_000)).toHaveLength(4 + 3)
    expect(at).toHaveLength(4 + 39)
  })
})

describe("entries", () => {
  const run = (id: string, over: Partial<NewRun>): NewRun => ({
    id,
    functionId: "app-f",
    eventId: `evt_${id}`,
    fanoutId: null,
    parentId: null,
    createdAt: 0,
    dueAt: 100,
    limits: [],
    ...over,
  })
  const nothing = { rates: new Map(), pending: new Map(), open: new Map() }

  it("put every event of a batch into exactly one run of at most its size, whatever came before", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 2, max: 7 }), fc.integer({ min: 0, max: 6 }), (n, maxSize, before) => {
        const entry = { kind: "batch", key: "b", maxSize, timeoutMs: 1_000, bytes: 1 } as const
        const waiting = Math.min(before, maxSize - 1)
        const pending = { runId: "old", since: 0, until: 1_000, n: waiting, bytes: waiting, ts: 0 }
        const facts = waiting === 0 ? nothing : { ...nothing, pending: new Map([["b", pending]]) }
        const runs = Array.from({ length: n }, (_, i) =>
          run(`r${i}`, { entries: [entry], limits: [{ key: "b", max: maxSize, hold: "batch" }] }),
        )
        const { added, joined, full } = decideEntries(runs, facts, 100)
        const sizes = new Map<string, number>(waiting === 0 ? [] : [["old", waiting]])
        for (const { id } of added) sizes.set(id, 1)
        for (const { runId } of joined) sizes.set(runId, (sizes.get(runId) ?? 0) + 1)
        expect(added.length + joined.length).toBe(n)
        expect(Math.max(0, ...sizes.values())).toBeLessThanOrEqual(maxSize)
        const open = added.filter(({ limits }) => limits[0]?.hold === "batch")
        expect(open.length).toBeLessThanOrEqual(1)
        for (const { id } of added) if (id !== open[0]?.id) expect(sizes.get(id)).toBe(maxSize)
        expect(full.map(({ runId }) => runId)).toEqual(sizes.get("old") === maxSize ? ["old"] : [])
      }),
    )
  })

  it("leave one run of a singleton, and account for every other", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.constantFrom("skip" as const, "cancel" as const), fc.boolean(), (n, mode, before) => {
        const runs = Array.from({ length: n }, (_, i) => run(`r${i}`, { entries: [{ kind: "singleton", key: "s", mode }] }))
        const { added, ended, doomed } = decideEntries(runs, before ? { ...nothing, open: new Map([["s", ["old"]]]) } : nothing, 100)
        expect(added.length + ended.length).toBe(n)
        expect(added.map(({ id }) => id)).toEqual(mode === "cancel" ? [`r${n - 1}`] : before ? [] : ["r0"])
        expect(doomed.map(({ runId }) => runId)).toEqual(mode === "cancel" && before ? ["old"] : [])
      }),
    )
  })
})

import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { defineFunction } from "../../src/core/definition.ts"
import { durationMs } from "../../src/core/duration.ts"
import { FanfareError } from "../../src/core/errors.ts"
import { checkEvent } from "../../src/core/event.ts"
import { compileCondition } from "../../src/core/expression.ts"
import { toFailure } from "../../src/core/failure.ts"
import { createIds } from "../../src/core/id.ts"
import { encodeJson } from "../../src/core/json.ts"
import { limits } from "../../src/core/limits.ts"
import { createMatcher } from "../../src/core/match.ts"
import { readTrace, traceHeaders, traceParts } from "../../src/core/trace.ts"
import { seededRandom } from "../../src/testing.ts"

function refusal(work: () => unknown): FanfareError {
  try {
    work()
  } catch (error) {
    if (error instanceof FanfareError) return error
    throw error
  }
  throw new Error("it was not refused")
}

const loop: Record<string, unknown> = {}
loop["self"] = loop
let deep: unknown = {}
for (let i = 0; i < 70; i++) deep = { deep }

describe("a bad event is refused, naming field and bound", () => {
  const bad: readonly [string, unknown, Partial<FanfareError>][] = [
    ["no object", "text", { code: "invalid_event", field: "events[0]" }],
    ["no name", { data: {} }, { code: "invalid_event", field: "events[0].name" }],
    ["an empty name", { name: " " }, { code: "invalid_event", field: "events[0].name" }],
    ["a name too long", { name: "x".repeat(300) }, { code: "invalid_event", field: "events[0].name", bound: 256 }],
    ["a name with control characters", { name: "a\nb" }, { code: "invalid_event" }],
    ["a name of Fanfare's own", { name: "fanfare/x" }, { code: "invalid_event" }],
    ["an unknown field", { name: "a", payload: 1 }, { code: "invalid_event", field: "events[0].payload" }],
    ["data that is an array", { name: "a", data: [] }, { code: "invalid_event", field: "events[0].data" }],
    ["data that is a number", { name: "a", data: 1 }, { code: "invalid_event", field: "events[0].data" }],
    ["data that is a text as JSON", { name: "a", data: new Date(0) }, { code: "invalid_event", field: "events[0].data" }],
    ["a BigInt", { name: "a", data: { n: 1n } }, { code: "not_json", field: "events[0].data.n" }],
    ["a circle", { name: "a", data: loop }, { code: "not_json", field: "events[0].data.self" }],
    ["a function", { name: "a", data: { list: [() => 1] } }, { code: "not_json", field: "events[0].data.list[0]" }],
    ["a Map", { name: "a", data: { m: new Map() } }, { code: "not_json", field: "events[0].data.m" }],
    ["undefined in a list", { name: "a", data: { list: [undefined] } }, { code: "not_json" }],
    ["NaN", { name: "a", data: { n: Number.NaN } }, { code: "not_json" }],
    ["__proto__", { name: "a", data: JSON.parse('{"__proto__":{"x":1}}') }, { code: "not_json" }],
    ["a depth over the bound", { name: "a", data: deep }, { code: "not_json", bound: 64 }],
    [
      "a size over the bound",
      { name: "a", data: { text: "x".repeat(524_289) } },
      { code: "too_large", field: "events[0].data", bound: 524_288 },
    ],
    ["a size over the bound in UTF-8 only", { name: "a", data: { text: "€".repeat(200_000) } }, { code: "too_large" }],
    ["an id that is no text", { name: "a", id: 7 }, { code: "invalid_event", field: "events[0].id" }],
    ["an id too long", { name: "a", id: "x".repeat(257) }, { code: "invalid_event", bound: 256 }],
    ["a time that is no number", { name: "a", ts: "now" }, { code: "invalid_event", field: "events[0].ts" }],
    ["a time in seconds", { name: "a", ts: 1_700_000_000 / 10 }, { code: "invalid_event", field: "events[0].ts" }],
  ]
  it.each(bad)("%s", (_, event, expected) => {
    expect(refusal(() => checkEvent(event as never, "events[0]"))).toMatchObject(expected)
  })
})

describe("a bad function is refused, naming field and bound", () => {
  const go = [{ event: "app/go" }]
  const bad: readonly [string, unknown, Partial<FanfareError>][] = [
    ["no options", null, { code: "invalid_function" }],
    ["no id", { triggers: go }, { code: "invalid_function", field: "id" }],
    ["an id with spaces", { id: "a b", triggers: go }, { code: "invalid_function", field: "id", bound: 128 }],
    ["an unknown option", { id: "f", triggers: go, retry: 3 }, { code: "invalid_function", field: "retry" }],
    ["no triggers", { id: "f" }, { code: "invalid_function", field: "triggers" }],
    [
      "too many triggers",
      { id: "f", triggers: Array.from({ length: 11 }, (_, i) => ({ event: `e${i}` })) },
      { field: "triggers", bound: 10 },
    ],
    ["the same trigger twice", { id: "f", triggers: [...go, ...go] }, { code: "invalid_function", field: "triggers" }],
    ["an empty trigger", { id: "f", triggers: [{}] }, { code: "invalid_trigger" }],
    [
      "an unknown trigger field",
      { id: "f", triggers: [{ event: "a", when: "x" }] },
      { code: "invalid_trigger", field: 'function "f": triggers[0].when' },
    ],
    ["cron and event in one", { id: "f", triggers: [{ event: "a", cron: "* * * * *" }] }, { code: "invalid_trigger" }],
    [
      "a bad cron",
      { id: "f", triggers: [{ cron: "0 9 * * MON-FRY" }] },
      { code: "invalid_trigger", field: 'function "f": triggers[0].cron' },
    ],
    ["a cron with a year", { id: "f", triggers: [{ cron: "0 0 9 * * * 2030" }] }, { code: "invalid_trigger" }],
    ["a cron that never fires", { id: "f", triggers: [{ cron: "0 0 30 2 *" }] }, { code: "invalid_trigger" }],
    [
      "an unknown zone",
      { id: "f", triggers: [{ cron: "* * * * *", timezone: "Mars/Base" }] },
      { code: "invalid_trigger", field: 'function "f": triggers[0].timezone' },
    ],
    ["a star in the middle", { id: "f", triggers: [{ event: "a/*/b" }] }, { code: "invalid_trigger" }],
    ["a condition that is not CEL", { id: "f", triggers: [{ event: "a", if: "event.data. >" }] }, { code: "invalid_trigger" }],
    ["a condition too long", { id: "f", triggers: [{ event: "a", if: "x".repeat(5_000) }] }, { code: "invalid_trigger", bound: 4_096 }],
    ["retries below 0", { id: "f", triggers: go, retries: -1 }, { field: "retries", bound: 20 }],
    ["retries above 20", { id: "f", triggers: go, retries: 21 }, { field: "retries", bound: 20 }],
    ["half a retry", { id: "f", triggers: go, retries: 1.5 }, { field: "retries" }],
    ["concurrency 0", { id: "f", triggers: go, concurrency: 0 }, { field: "concurrency.limit" }],
    ["an unknown concurrency option", { id: "f", triggers: go, concurrency: { limit: 1, per: "x" } }, { field: "concurrency.per" }],
    ["a timeout that is no duration", { id: "f", triggers: go, timeouts: { attempt: "soon" } }, { code: "invalid_option" }],
    [
      "a timeout over the bound",
      { id: "f", triggers: go, timeouts: { attempt: "30d" } },
      { field: "timeouts.attempt", bound: limits.attemptTimeoutMaxMs },
    ],
  ]
  it.each(bad)("%s", (_, options, expected) => {
    expect(refusal(() => defineFunction("app", options as never))).toMatchObject(expected)
  })
})

describe("durations", () => {
  it.each([
    [250, 250],
    ["250ms", 250],
    ["30s", 30_000],
    ["1.5m", 90_000],
    ["2h30m", 9_000_000],
    ["1 d", 86_400_000],
    ["1w", 604_800_000],
  ])("%s is %d ms", (text, ms) => expect(durationMs(text, "x")).toBe(ms))
  it.each(["", "5", "5 apples", "-1s", "1s5", Number.NaN, -1, Number.POSITIVE_INFINITY])("%s is none", (text) => {
    expect(refusal(() => durationMs(text, "x"))).toMatchObject({ code: "invalid_option", field: "x" })
  })
})

describe("json", () => {
  it("comes back as it went, whatever JSON can carry", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        fc.pre(!JSON.stringify(value).includes("__proto__"))
        expect(JSON.parse(encodeJson(value, { field: "x", bytes: limits.eventBytes }))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  it("either carries anything or refuses it with a clear error; nothing else is thrown", () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true, withNullPrototype: true }),
        (value) => {
          try {
            JSON.parse(encodeJson(value, { field: "x", bytes: limits.eventBytes }))
          } catch (error) {
            expect(error).toBeInstanceOf(FanfareError)
          }
        },
      ),
    )
  })
})

describe("failures", () => {
  it("can be made of anything, bounded, and written as JSON", () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withMap: true, withNullPrototype: true }), (thrown) => {
        const failure = toFailure(thrown)
        expect(typeof failure.name).toBe("string")
        expect(JSON.stringify(failure).length).toBeLessThan(200_000)
      }),
    )
  })
})

describe("ids", () => {
  it("grow, also when the clock steps back, and never repeat", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 2, maxLength: 200 }), fc.integer(), (steps, seed) => {
        let now = 1_700_000_000_000
        const next = createIds({ now: () => now }, seededRandom(seed))
        const ids = steps.map((step) => {
          now += step
          return next("run")
        })
        expect(ids).toEqual(ids.toSorted())
        expect(new Set(ids).size).toBe(ids.length)
        expect(ids[0]).toMatch(/^run_[0-9a-hjkmnp-tv-z]{22}$/)
      }),
    )
  })
})

describe("conditions and triggers", () => {
  const event = { id: "1", name: "shop/order.paid", ts: 0, data: { total: 12, plan: "pro", tags: ["a"] } }
  it.each([
    ["event.data.total > 10", true],
    ["event.data.total > 10.5 && event.data.plan == 'pro'", true],
    ["event.name == 'shop/order.paid'", true],
    ["'a' in event.data.tags", true],
    ["event.data.missing == 'x'", false],
    ["event.data.total", false],
  ])("%s is %s", (source, holds) => expect(compileCondition(source, "if")(event)).toBe(holds))

  it("hear an exact name and the wildcards at its ends of words, once per function", () => {
    const define = (id: string, ...events: string[]) => defineFunction("app", { id, triggers: events.map((each) => ({ event: each })) })
    const match = createMatcher([
      define("exact", "shop/order.paid"),
      define("slash", "shop/*"),
      define("dot", "shop/order.*", "shop/*"),
      define("other", "shop/refund.*", "shop", "shop/order"),
    ])
    expect(match("shop/order.paid", () => event).map(({ localId }) => localId)).toEqual(["exact", "slash", "dot"])
    expect(match("shop/order.paid", () => event)).toHaveLength(3)
    expect(match("unknown", () => event)).toEqual([])
  })
})

describe("a traceparent", () => {
  const [id, span] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"]
  const fine = `00-${id}-${span}-01`

  it("is read and handed on as it came, with a tracestate that is fit", () => {
    expect(traceHeaders(readTrace(fine))).toEqual({ traceparent: fine })
    expect(traceHeaders(readTrace(fine, " a=1,b=2 "))).toEqual({ traceparent: fine, tracestate: "a=1,b=2" })
    expect(traceParts(readTrace(fine, "a=1") ?? "")).toEqual({ traceId: id, spanId: span, flags: 1, state: "a=1" })
    expect(traceHeaders(null)).toEqual({})
    for (const state of ["a=1\nb", "none", `a=${"x".repeat(limits.traceStateChars)}`, ""]) expect(readTrace(fine, state)).toBe(fine)
  })

  it("of a later version begins like the first one", () => {
    expect(readTrace(`cc-${id}-${span}-01-what-comes`)).toBe(fine)
  })

  it("that is none is left out", () => {
    const bad = ["", "x", `${fine}-more`, `00-${"0".repeat(32)}-${span}-01`, `00-${id}-${"0".repeat(16)}-01`, `ff-${id}-${span}-01`]
    for (const text of [...bad, fine.toUpperCase(), `${fine}0`, ` ${fine}`, `cc-${id}-${span}-01x`, null, undefined])
      expect(readTrace(text)).toBeNull()
  })
})

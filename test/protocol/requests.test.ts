import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type } from "arktype"
import * as v from "valibot"
import { z } from "zod"
import { FanfareError } from "../../src/core/errors.ts"
import { Fanfare } from "../../src/index.ts"
import { limits } from "../../src/core/limits.ts"
import { parseEvents, seededIds } from "../../src/protocol/event-request.ts"
import { registrationOf } from "../../src/protocol/registration-body.ts"
import { parseRegistration } from "../../src/protocol/registration.ts"

const now = 1_790_000_000_000

describe("a registration", () => {
  const step = (fn: string): unknown => ({
    step: { id: "step", name: "step", runtime: { type: "http", url: `http://h/api?fnId=${fn}&stepId=step` }, retries: { attempts: 2 } },
  })
  const body = (functions: unknown, rest: object = {}): unknown => ({
    url: "http://h/api",
    appName: "shop",
    sdk: "js:v4",
    framework: "express",
    functions,
    ...rest,
  })

  it("becomes definitions of ours", () => {
    const read = parseRegistration(
      body([
        {
          id: "shop-pay",
          name: "Pay",
          triggers: [
            { event: "shop/paid", expression: "event.data.sum > 1" },
            { cron: "TZ=Europe/Paris 0 9 * * *" },
            { event: "inngest/function.failed" },
          ],
          steps: step("shop-pay"),
          concurrency: [{ limit: 7 }, { limit: 2, key: "event.data.to", scope: "account" }],
          throttle: { limit: 3, period: "5s", key: "" },
          rateLimit: { limit: 10, period: "1m" },
          priority: { run: "120" },
        },
        {
          id: "shop-plain",
          name: "Plain",
          triggers: [],
          steps: { step: { runtime: { type: "http", url: "http://h/x" } } },
          concurrency: 0,
          batchEvents: { maxSize: 1, timeout: "1s" },
          singleton: { key: null, mode: "skip" },
          idempotency: "event.data.id",
        },
        { id: "shop-split", steps: step("shop-split"), concurrency: { step: [{ limit: 7 }], fn: [{ limit: 1, scope: "fn" }] } },
      ]),
    )
    expect(read).toMatchObject({ appId: "shop", url: "http://h/api", framework: "express" })
    expect(read.functions.map(({ definition }) => definition)).toMatchObject([
      {
        id: "shop-pay",
        localId: "pay",
        name: "Pay",
        retries: 2,
        flow: {
          concurrency: [
            { limit: 7, key: null, scope: "fn", mode: "step" },
            { limit: 2, key: "event.data.to", scope: "account", mode: "step" },
          ],
          throttle: { limit: 3, periodMs: 5_000, burst: 0, key: null },
          rateLimit: { limit: 10, periodMs: 60_000, key: null },
          priority: "120",
        },
        triggers: [
          { event: "shop/paid", if: "event.data.sum > 1" },
          { cron: "0 9 * * *", timezone: "Europe/Paris" },
          { event: "fanfare/function.failed" },
        ],
      },
      {
        id: "shop-plain",
        retries: limits.retriesDefault,
        flow: { concurrency: [], batch: null, singleton: { key: null, mode: "skip" }, idempotency: "event.data.id" },
        triggers: [],
      },
      {
        id: "shop-split",
        flow: {
          concurrency: [
            { limit: 7, scope: "fn", mode: "step" },
            { limit: 1, scope: "fn", mode: "run" },
          ],
        },
      },
    ])
    expect(read.functions[0]?.url).toBe("http://h/api?fnId=shop-pay&stepId=step")
  })

  it("of an app of ours carries the schemas of its events, as far as they are fit to be shown", () => {
    const schemas = {
      "shop/paid": z.object({ sum: z.number() }),
      "shop/rated": type({ stars: "1 <= number <= 5" }),
      "shop/back": v.object({ id: v.string() }),
      "shop/day": z.object({ on: z.date() }),
      "shop/long": z.object({ text: z.string().describe("x".repeat(limits.eventSchemaChars)) }),
    }
    const app = new Fanfare({ id: "shop", schemas })
    const events = [...Object.keys(schemas), "shop/other", "toString"]
    app.createFunction({ id: "pay", triggers: events.map((event) => ({ event })) }, () => null)
    const sent = registrationOf("shop", [...app.hosted().values()], "http://h/api", "js:v1")
    const schemaOf = (registered: unknown): unknown =>
      parseRegistration(registered).functions[0]?.definition.triggers.map((trigger) => ("schema" in trigger ? trigger.schema : null))
    // The others cannot be told, are too long, or are not there.
    expect(schemaOf(sent)).toEqual([expect.stringContaining('"sum"'), expect.stringContaining('"maximum":5'), null, null, null, null, null])
    const told = (schema: unknown): unknown =>
      schemaOf(body([{ id: "shop-pay", triggers: [{ event: "shop/paid", schema }], steps: step("shop-pay") }]))
    expect(told('{"type":"object"}')).toEqual(['{"type":"object"}'])
    const long = JSON.stringify({ title: "x".repeat(limits.eventSchemaChars) })
    for (const unfit of [{ type: "object" }, "[1]", "null", "{", long, 7]) expect(told(unfit)).toEqual([null])
  })

  it("is the same text when it says the same, whatever else it observes", () => {
    const one = parseRegistration(body([], { featureObservations: { a: 1 } }))
    expect(parseRegistration(body([], { featureObservations: { b: 2 }, deployId: "x" })).content).toBe(one.content)
    expect(parseRegistration(body([], { url: "http://other/api" })).content).not.toBe(one.content)
    expect(parseRegistration({ url: "http://h/api", appname: "shop", functions: [] }).appId).toBe("shop")
  })

  it.each([
    ["no object", null, "body"],
    ["no name", { url: "http://h", functions: [] }, "appName"],
    ["a URL that is none", body([], { url: "nowhere" }), "url"],
    ["another scheme", body([], { url: "file:///etc/passwd" }), "url"],
    ["a password in the URL", body([], { url: "http://a:b@h/" }), "url"],
    ["a function of another app", body([{ id: "other-x", steps: step("x") }]), "functions[0].id"],
    ["no step", body([{ id: "shop-x", triggers: [] }]), "functions[0].steps"],
    [
      "a worker's function",
      body([{ id: "shop-x", steps: { s: { runtime: { type: "ws", url: "ws://h" } } } }]),
      "functions[0].steps.runtime.type",
    ],
    ["a bad cron line", body([{ id: "shop-x", triggers: [{ cron: "nonsense" }], steps: step("x") }]), undefined],
    [
      "the same function twice",
      body([
        { id: "shop-x", steps: step("x") },
        { id: "shop-x", steps: step("x") },
      ]),
      "functions",
    ],
  ])("with %s is refused, naming the field", (_, value, field) => {
    expect(() => parseRegistration(value)).toThrow(FanfareError)
    if (field === undefined) return
    try {
      parseRegistration(value)
    } catch (error) {
      expect((error as FanfareError).field).toBe(field)
    }
  })

  it("may hold anything: it is read or refused with an error of ours", () => {
    const trigger = fc.oneof(
      fc.jsonValue(),
      fc.record({ event: fc.jsonValue(), expression: fc.jsonValue() }),
      fc.record({ cron: fc.jsonValue() }),
    )
    const fn = fc.record(
      {
        id: fc.oneof(fc.constant("shop-x"), fc.jsonValue()),
        name: fc.jsonValue(),
        triggers: fc.oneof(fc.array(trigger), fc.jsonValue()),
        steps: fc.oneof(fc.constant(step("x")), fc.jsonValue()),
        concurrency: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    const registration = fc.record(
      {
        url: fc.oneof(fc.constant("http://h/"), fc.jsonValue()),
        appName: fc.oneof(fc.constant("shop"), fc.jsonValue()),
        functions: fc.oneof(fc.array(fn, { maxLength: 3 }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.oneof(registration, fc.jsonValue()), (value) => {
        try {
          parseRegistration(value)
        } catch (error) {
          expect(error).toBeInstanceOf(FanfareError)
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

describe("events of a request", () => {
  it("are one or many; ids come from the seed when the sender gave none, the same ones each time", () => {
    const seed = `${now},AAECAwQF/////w==`
    const ids = seededIds(seed)
    expect(ids?.(0)).toMatch(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/)
    // The last four bytes count, and begin again.
    expect(ids?.(0).slice(0, 10)).toBe(ids?.(1).slice(0, 10))
    expect(ids?.(0)).not.toBe(ids?.(1))
    expect(parseEvents([{ name: "a" }, { name: "b", id: "mine", ts: 5 }], seed)).toEqual([
      { name: "a", data: undefined, id: ids?.(0) },
      { name: "b", data: undefined, id: "mine", ts: 5 },
    ])
    expect(parseEvents({ name: "a", data: { x: 1, _inngest: { y: 1 } }, user: {}, v: "1" }, undefined)).toEqual([
      { name: "a", data: { x: 1 } },
    ])
  })

  it("know a ULID from its parts", () => {
    // 1 is added to the counting bytes for the first event.
    expect(seededIds("0,AAAAAAAAAAAAAA==")?.(0)).toBe("00000000000000000000000001")
    expect(seededIds("281474976710655,/////////////w==")?.(0)).toBe("7ZZZZZZZZZZZZZZZZZZW000000")
    for (const bad of [undefined, "", "x", "1,", "1,AA==", "-1,AAAAAAAAAAAAAA==", "999999999999999,AAAAAAAAAAAAAA=="])
      expect(seededIds(bad)).toBeUndefined()
  })

  it("of the system are refused from outside", () => {
    for (const name of ["inngest/function.failed", "fanfare/x"])
      expect(() => parseEvents({ name }, undefined)).toThrow(/kept for events of the system/)
    expect(() => parseEvents([1], undefined)).toThrow(FanfareError)
  })
})

import { expectTypeOf, it } from "vitest"
import { z } from "zod"
import { Fanfare, type HandlerEvent, type Jsonify, referenceFunction, type ScheduledTimer } from "../src/index.ts"

// Checked by `npm run types`; running it only proves that the calls are possible.
const schemas = {
  "shop/order.paid": z.object({ id: z.string(), total: z.coerce.number() }),
  "shop/order.refunded": z.object({ id: z.string(), reason: z.string().optional() }),
  "user/created": z.object({ name: z.string() }),
}

it("gives handlers the data of their events, as the schema made it", () => {
  const shop = new Fanfare({ id: "shop", schemas })
  shop.createFunction({ id: "one", triggers: [{ event: "shop/order.paid" }] }, ({ event, attempt, runId }) => {
    expectTypeOf(event.name).toEqualTypeOf<"shop/order.paid">()
    expectTypeOf(event.data).toEqualTypeOf<{ id: string; total: number }>()
    expectTypeOf(attempt).toEqualTypeOf<number>()
    expectTypeOf(runId).toEqualTypeOf<string>()
  })
  shop.createFunction({ id: "many", triggers: [{ event: "shop/*" }, { cron: "@daily" }] }, ({ event }) => {
    expectTypeOf(event.name).toEqualTypeOf<"shop/order.paid" | "shop/order.refunded" | "fanfare/scheduled.timer">()
    if (event.name === "shop/order.refunded") expectTypeOf(event.data.reason).toEqualTypeOf<string | undefined>()
    if (event.name === "fanfare/scheduled.timer") expectTypeOf(event).toEqualTypeOf<ScheduledTimer>()
  })
})

it("lets only events of the schemas be sent, with the data they take", () => {
  const shop = new Fanfare({ id: "shop", schemas })
  const send = (...args: Parameters<typeof shop.send>): void => void args
  send({ name: "user/created", data: { name: "Ada" } })
  send([{ name: "shop/order.paid", data: { id: "1", total: 2 }, id: "x", ts: 3 }])
  // @ts-expect-error -- the data does not fit
  send({ name: "user/created", data: { name: 7 } })
  // @ts-expect-error -- there is no such event
  send({ name: "user/deleted", data: {} })
  // @ts-expect-error -- data is missing
  send({ name: "user/created" })
})

it("without schemas takes any event, and gives its data as unknown fields", () => {
  interface Order {
    readonly id: string
  }
  const order: Order = { id: "1" }
  const app = new Fanfare({ id: "app" })
  const send = (...args: Parameters<typeof app.send>): void => void args
  send({ name: "any/thing", data: order })
  send([order].map((each) => ({ name: "any/thing", data: { each } })))
  send({ name: "any/thing" })
  app.createFunction({ id: "f", triggers: [{ event: "any/thing" }] }, ({ event }) => {
    expectTypeOf(event.data).toEqualTypeOf<Record<string, unknown>>()
  })
})

it("gives a step's result as JSON leaves it", () => {
  const app = new Fanfare({ id: "app" })
  app.createFunction({ id: "f", triggers: [] }, async ({ step }) => {
    expectTypeOf(await step.run("a", () => ({ at: new Date(), n: 1, gone: undefined as string | undefined }))).toEqualTypeOf<{
      at: string
      n: number
      gone: string | undefined
    }>()
    expectTypeOf(await step.run("b", () => undefined)).toEqualTypeOf<null>()
    expectTypeOf(await step.run("c", async () => [1, "x"] as const)).toEqualTypeOf<readonly [1, "x"]>()
    expectTypeOf(await step.sleep("d", "1h")).toEqualTypeOf<void>()
  })
  expectTypeOf<Jsonify<{ f: () => void; d: Date[] }>>().toEqualTypeOf<{ d: string[] }>()
})

it("types the data of a schedule's event by its schema", () => {
  const shop = new Fanfare({ id: "shop", schemas })
  const upsert = (...args: Parameters<typeof shop.schedules.upsert>): void => void args
  upsert({ id: "a", every: "15m", event: "user/created", data: { name: "Ada" } })
  upsert({ id: "b", cron: "@daily", timezone: "Europe/Paris", overlap: "skip", function: "nightly", data: { any: 1 } })
  upsert({ id: "c", at: new Date(0), event: "shop/order.paid", data: { id: "1", total: 2 } })
  // @ts-expect-error -- the data does not fit
  upsert({ id: "d", every: "15m", event: "user/created", data: { name: 7 } })
  // @ts-expect-error -- there is no such event
  upsert({ id: "e", every: "15m", event: "user/deleted" })
  // @ts-expect-error -- an interval has no zone
  upsert({ id: "f", every: "15m", timezone: "UTC", function: "nightly" })
  // @ts-expect-error -- two rules
  upsert({ id: "g", every: "15m", cron: "@daily", function: "nightly" })
})

it("gives the event of a function without triggers as any event", () => {
  const app = new Fanfare({ id: "app", schemas })
  app.createFunction({ id: "f", triggers: [] }, ({ event }) => {
    expectTypeOf(event.data).toEqualTypeOf<Record<string, unknown>>()
  })
})

it("lets a fan-out of a function take items that are data of its events", () => {
  const shop = new Fanfare({ id: "shop", schemas })
  const bill = shop.createFunction({ id: "bill", triggers: [{ event: "shop/order.paid" }] }, () => null)
  const any = new Fanfare({ id: "any" }).createFunction({ id: "any", triggers: [{ event: "a/b" }] }, () => null)
  shop.createFunction({ id: "parent", triggers: [] }, async ({ step }) => {
    const result = await step.fanOut("all", bill, [{ id: "1", total: 2 }], { key: ({ id }) => id, canary: "1%" })
    expectTypeOf(result.completed).toEqualTypeOf<number>()
    await step.fanOut("events", [{ name: "user/created", data: { name: "Ada" } }], { breaker: { failures: "5%" } })
    await step.fanOut("pages", bill, (cursor) => ({ items: [{ id: cursor ?? "", total: 1 }], next: null }))
    await step.fanOut("unknown", any, [{ whatever: 1 }])
    // @ts-expect-error -- the items do not fit
    await step.fanOut("wrong", bill, [{ id: 1 }])
    // @ts-expect-error -- there is no such event
    await step.fanOut("wrong event", [{ name: "user/deleted", data: {} }])
    // @ts-expect-error -- a share has a sign
    await step.fanOut("wrong rule", bill, [], { canary: "1" })
  })
  // @ts-expect-error -- the items do not fit
  const wrong = (): unknown => shop.fanOut({ id: "x", function: bill, source: [{ id: 1 }] })
  const right = (): unknown => shop.fanOut({ id: "x", function: bill, source: [{ id: "1", total: 1 }] })
  void [wrong, right]
})

it("types what steps wait for, and what a function that is invoked takes and gives", () => {
  const shop = new Fanfare({ id: "shop", schemas, middleware: [{ name: "database", context: () => ({ db: { size: 3 } }) }] })
  const price = shop.createFunction({ id: "price", triggers: [{ event: "shop/order.paid" }] }, async ({ event, db }) => {
    expectTypeOf(db).toEqualTypeOf<{ size: number }>()
    return { at: new Date(), total: event.data.total }
  })
  const convert = referenceFunction<{ amount: number }, string>({ appId: "bank", functionId: "convert" })
  shop.createFunction({ id: "f", triggers: [{ event: "user/created" }] }, async ({ step }) => {
    const paid = await step.waitForEvent("paid", { event: "shop/order.paid", timeout: "1d" })
    expectTypeOf(paid).toEqualTypeOf<HandlerEvent<"shop/order.paid", { id: string; total: number }> | null>()
    expectTypeOf(await step.invoke("price", { function: price, data: { id: "1", total: 2 } })).toEqualTypeOf<{
      at: string
      total: number
    }>()
    expectTypeOf(await step.invoke("convert", { function: convert, data: { amount: 1 } })).toEqualTypeOf<string>()
    // @ts-expect-error -- the data does not fit
    void step.invoke("price", { function: price, data: { id: 1 } })
    // @ts-expect-error -- there is no such event
    void step.waitForEvent("x", { event: "shop/nothing", timeout: "1d" })
  })
})

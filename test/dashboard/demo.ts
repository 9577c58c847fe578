import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { z } from "zod"
import { Fanfare } from "../../src/index.ts"
import type { EventSchemas } from "../../src/sdk/schema.ts"
import { createServer } from "../../src/server.ts"
import type { HttpOptions } from "../../src/server/front.ts"

/** Text that does harm where it is not shown as text. */
export const hostile = `<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>{{7*7}}\${7*7}' or '1'='1 \u202eevil\u0000`

/** What harms as HTML, in an attribute, in a script, in a style, in a comment and as an address. */
export const polyglot =
  "jaVasCript:/*-/*`/*\\`/*'/*\"/**/(/* */oNcliCk=window.harmed=2 )//%0D%0A</stYle/</titLe/</teXtarEa/</scRipt/--!>\\x3csVg/<sVg/oNloAd=window.harmed=3//>"

/** A name takes no NUL. */
export const hostileName = `shop/hostile.${hostile.replace("\u0000", "")}`

export interface Demo {
  readonly url: string
  readonly client: Fanfare
  /** Digests fail in two ways while this is set. */
  failing: boolean
  get<T>(path: string): Promise<T>
  /** Sends digests as one fan-out; gives its id. */
  digests(count: number): Promise<string>
  close(): Promise<void>
}

const schemas = {
  "shop/order.placed": z.object({
    email: z.email().describe("Where the receipt goes"),
    plan: z.enum(["free", "pro"]),
    items: z.int().min(1).max(100).default(1),
    gift: z.boolean().optional(),
    address: z.object({ city: z.string() }).optional(),
  }),
}

class MailError extends Error {
  override readonly name = "MailError"
}

function functions(client: Fanfare, demo: { failing: boolean }): void {
  client.createFunction(
    { id: "nightly-digest", name: "Nightly digest", triggers: [{ cron: "0 9,12 * * MON,FRI" }] },
    async ({ logger }) => {
      logger.info("loading users")
      await client.send(Array.from({ length: 250 }, (_, i) => ({ name: "shop/digest.due", data: { user: `u_${i}` } })))
      return { dispatched: 250 }
    },
  )
  client.createFunction(
    { id: "send-digest", triggers: [{ event: "shop/digest.due" }], retries: 0, concurrency: { limit: 50 } },
    async ({ event, step, logger }) => {
      const n = Number(String(event.data["user"]).slice(2))
      const text = await step.run("render", () => `Hello ${n}`)
      logger.info("sending", { user: event.data["user"] })
      if (demo.failing && n % 40 === 7) throw new MailError(`upstream answered 503 for ${n}`)
      if (demo.failing && n % 200 === 11) throw new TypeError('data.plan: expected "free" or "pro"')
      return text.length
    },
  )
  client.createFunction({ id: "import-catalog", triggers: [{ event: "shop/import.*" }], retries: 2 }, async ({ step, logger, attempt }) => {
    await step.run("download", () => delay(120))
    logger.debug("downloaded", { bytes: 48_213 })
    await step.run("parse", () => delay(60))
    logger.warn("3 rows have no price")
    if (attempt === 0) throw new MailError("the database was busy")
    await step.run("write", () => delay(200))
    await step.sendEvent("announce", { name: "shop/catalog.imported", data: { rows: 12_480 } })
    return { rows: 12_480, cursor: 1234567890123456 }
  })
  client.createFunction({ id: "announce", triggers: [{ event: "shop/catalog.imported" }] }, ({ event }) => event.data)
  client.createFunction({ id: "take-order", triggers: [{ event: "shop/order.placed" }], retries: 0 }, ({ event }) => event.data)
  client.createFunction({ id: "remind", triggers: [{ event: "shop/cart.left" }] }, async ({ step }) => {
    await step.sleep("a-day", "1d")
  })
  client.createFunction({ id: "charge", triggers: [{ event: "shop/charge", if: "event.data.amount > 0" }] }, () => {
    throw new Error("card declined", { cause: new TypeError("gateway said no") })
  })
  client.createFunction(
    {
      id: "post-to-team",
      triggers: [{ event: "shop/team.notice" }],
      concurrency: [
        { limit: 20, mode: "run" },
        { limit: 2, key: "event.data.team" },
        { limit: 5, key: "'slack'", scope: "account" },
      ],
      throttle: { limit: 100, period: "1m", burst: 10, key: "event.data.team" },
      priority: { run: "event.data.urgent ? 60 : 0" },
    },
    ({ signal }) => delay(600_000, undefined, { signal }),
  )
  client.createFunction(
    { id: "index-products", triggers: [{ event: "shop/product.changed" }], batchEvents: { maxSize: 100, timeout: "5m" } },
    ({ events }) => events.length,
  )
  client.createFunction(
    {
      id: "rebuild-search",
      triggers: [{ event: "shop/search.stale" }],
      debounce: { period: "30s", timeout: "5m", key: "event.data.shop" },
      rateLimit: { limit: 10, period: "1h", key: "event.data.shop" },
      singleton: { mode: "skip", key: "event.data.shop" },
      timeouts: { start: "1h", finish: "10m" },
    },
    () => null,
  )
  const triggers = [{ event: "shop/hostile" }, { event: "shop/hostile.*" }]
  client.createFunction({ id: "hostile", name: polyglot, triggers, retries: 0 }, async ({ event, step, logger }) => {
    logger.error(hostile, { hostile, polyglot })
    await step.run(polyglot, () => ({ [polyglot]: hostile }))
    const cause = Object.assign(new TypeError(polyglot), { stack: `${polyglot}\n    at ${hostile} (${polyglot}:1:1)` })
    throw new Error(`${hostile} ${JSON.stringify(event.data)}`, { cause })
  })
}

/** A server with a shop's functions on a store of its own; with keys, one that asks for them. */
export async function startDemo(keys: Partial<HttpOptions> = {}): Promise<Demo> {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-dashboard-"))
  const client = new Fanfare<EventSchemas>({ id: "shop", schemas })
  const state = { failing: true }
  functions(client, state)
  const server = await createServer({ client, db: join(folder, "demo.db"), http: { port: 0, ...keys }, logs: "none", stopGrace: 100 })
  await server.start()
  const url = server.url ?? ""
  const headers = keys.adminKeys === undefined ? {} : { authorization: `Bearer ${keys.adminKeys[0]}` }
  return {
    url,
    client,
    get failing() {
      return state.failing
    },
    set failing(failing) {
      state.failing = failing
    },
    get: async <T>(path: string): Promise<T> => (await (await fetch(`${url}/api/v1/${path}`, { headers })).json()) as T,
    async digests(count) {
      const events = Array.from({ length: count }, (_, i) => ({ name: "shop/digest.due", data: { user: `u_${i}`, plan: "pro" } }))
      return (await client.send(events)).fanoutId ?? ""
    },
    async close() {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** One of everything: a fan-out with failures, runs that wait, are retried, failed for good, and hostile text in every field. */
export async function fill(demo: Demo, digests: number): Promise<{ readonly fanoutId: string }> {
  await fetch(`${demo.url}/api/v1/functions/nightly-digest/trigger`, { method: "POST", headers: { "content-type": "application/json" } })
  await demo.client.send({ name: "shop/import.nightly", data: { source: "s3://catalog", cursor: 1 } })
  await demo.client.send({ name: "shop/cart.left", data: { cart: "c_1" } })
  await demo.client.send({ name: "shop/charge", data: { amount: 120 } })
  // An id takes no NUL.
  await demo.client.send({ name: "shop/hostile", id: hostile.replace("\u0000", ""), data: { [hostile]: hostile } })
  const fanoutId = await demo.digests(digests)
  await settled(demo, fanoutId)
  return { fanoutId }
}

/** Text that does harm wherever somebody can put one; gives the fan-out and the schedule that have it as names. */
export async function harm({ client, get }: Demo): Promise<{ readonly fanoutId: string; readonly scheduleId: string }> {
  const { fanoutId } = await client.send([hostile, polyglot].map((text) => ({ name: hostileName, data: { [text]: text } })))
  await client.send({ name: "shop/team.notice", data: { team: polyglot } })
  const id = hostileName.slice("shop/".length)
  await client.schedules.upsert({ id, every: "1h", event: hostileName, tag: polyglot.slice(-100), data: { [polyglot]: polyglot } })
  await client.schedules.pause(id, { note: polyglot })
  await client.schedules.upsert({ id: polyglot, every: "2h", event: hostileName })
  const { items } = await get<{ items: { id: string }[] }>("runs?function=post-to-team&limit=1")
  await client.runs.cancel(items[0]?.id ?? "", polyglot)
  return { fanoutId: fanoutId ?? "", scheduleId: `shop-${id}` }
}

export async function settled(demo: Demo, fanoutId: string): Promise<void> {
  for (;;) {
    const { total, completed, failed, cancelled } = await demo.get<Record<"total" | "completed" | "failed" | "cancelled", number>>(
      `fanouts/${fanoutId}`,
    )
    if (completed + failed + cancelled === total) return
    await delay(50)
  }
}

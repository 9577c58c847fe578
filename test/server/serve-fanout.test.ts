import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttp, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import type { FanoutSummary, Page, RunDetail } from "../../src/core/views.ts"
import { Fanfare, NonRetriableError } from "../../src/index.ts"
import { serve } from "../../src/sdk/adapters/node.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-serve-fanout-"))
const done = new Map<string, number>()
const did = (what: string): number => {
  done.set(what, (done.get(what) ?? 0) + 1)
  return done.get(what) ?? 0
}
const asked: (string | null)[] = []

const shop = new Fanfare({ id: "shop" })
const kid = shop.createFunction({ id: "kid", triggers: [{ event: "shop/kid" }] }, ({ event }) => {
  const { n } = event.data as { n: number }
  did(`kid ${n}`)
  if (n === 20_001) throw new NonRetriableError("the canary is dead")
  return n
})
shop.createFunction({ id: "events", triggers: [{ event: "shop/events" }] }, async ({ step }) => {
  const [joined, beside] = await Promise.all([
    step.fanOut(
      "all",
      [1, 2, 3].map((n) => ({ name: "shop/kid", data: { n } })),
      { outputs: true },
    ),
    step.run("beside", () => did("beside")),
  ])
  return { total: joined.total, completed: joined.completed, outputs: joined.outputs?.map(({ output }) => output), beside }
})
shop.createFunction({ id: "items", triggers: [{ event: "shop/items" }] }, async ({ step }) => {
  const items = Array.from({ length: 3_000 }, (_, i) => ({ n: 1_000 + i }))
  const joined = await step.fanOut("items", kid, items, { canary: "1%" })
  return [joined.total, joined.completed]
})
shop.createFunction({ id: "pages", triggers: [{ event: "shop/pages" }] }, async ({ step, attempt }) => {
  const page = (cursor: string | null) => {
    asked.push(cursor)
    const from = Number(cursor ?? 0)
    // The second page fails once: what is durable before it, a part that was full, is not asked for again.
    if (from === 2_500 && attempt === 0) throw new Error("the database is away")
    const length = from === 0 ? 2_500 : 100
    return { items: Array.from({ length }, (_, i) => ({ n: 10_000 + from + i })), next: from === 2_600 ? null : String(from + length) }
  }
  const joined = await step.fanOut("pages", kid, page)
  return [joined.total, joined.completed]
})
shop.createFunction({ id: "nothing", triggers: [{ event: "shop/nothing" }] }, async ({ step }) => (await step.fanOut("none", [])).total)
shop.createFunction({ id: "canary", triggers: [{ event: "shop/canary" }] }, async ({ step }) => {
  const kids = [20_001, 20_002, 20_003].map((n) => ({ name: "shop/kid", data: { n } }))
  return step.sendEvent("send", kids, { canary: 1 })
})

let server: FanfareServer
let app: Server
beforeAll(async () => {
  server = await createServer({ db: join(folder, "1.db"), http: { port: 0 }, logs: "none", stopGrace: "1s" })
  await server.start()
  app = createHttp(serve({ client: shop, url: server.url ?? "" }))
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve))
  const url = `http://127.0.0.1:${(app.address() as AddressInfo).port}/api/fanfare`
  await fetch(url, { method: "PUT" })
})
afterAll(async () => {
  app.close()
  app.closeAllConnections()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

const get = async <T>(path: string): Promise<T> => (await (await fetch(new URL(path, server.url ?? ""))).json()) as T

async function run(name: string): Promise<RunDetail> {
  const headers = { "content-type": "application/json" }
  const sent = await fetch(new URL("/e/dev", server.url ?? ""), { method: "POST", headers, body: JSON.stringify({ name, data: {} }) })
  const { ids } = (await sent.json()) as { ids: string[] }
  for (let i = 0; i < 1_000; i++) {
    const { data } = await get<{ data: { run_id: string; ended_at: string | null }[] }>(`/v1/events/${ids[0]}/runs`)
    const ended = data.find(({ ended_at: at }) => at !== null)
    if (ended !== undefined) return get(`/api/v1/runs/${ended.run_id}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`${name} did not end`)
}

describe("a fan-out of a function that is served", () => {
  it("is joined, with its outputs, beside another step", async () => {
    const detail = await run("shop/events")
    expect(detail.failure).toBeNull()
    expect(JSON.parse(detail.output ?? "null")).toEqual({ total: 3, completed: 3, outputs: [1, 2, 3], beside: 1 })
    expect([1, 2, 3].map((n) => done.get(`kid ${n}`))).toEqual([1, 1, 1])
    const { items } = await get<Page<string>>(`/api/v1/runs/${detail.id}/fanouts`)
    expect(items).toHaveLength(1)
  })

  it("has items of a function, in more parts than one, and a canary", async () => {
    const detail = await run("shop/items")
    expect(JSON.parse(detail.output ?? "null")).toEqual([3_000, 3_000])
    const counts = Array.from({ length: 3_000 }, (_, i) => done.get(`kid ${1_000 + i}`))
    expect(counts.every((count) => count === 1)).toBe(true)
  })

  it("has a source, which goes on where it stopped when a page has failed", async () => {
    const detail = await run("shop/pages")
    expect(JSON.parse(detail.output ?? "null")).toEqual([2_700, 2_700])
    expect(asked).toEqual([null, "2500", "2500", "2600"])
    const counts = Array.from({ length: 2_700 }, (_, i) => done.get(`kid ${10_000 + i}`))
    expect(counts.every((count) => count === 1)).toBe(true)
  })

  it("may be of nothing, and a send may have rules", async () => {
    expect((await run("shop/nothing")).output).toBe("0")
    const detail = await run("shop/canary")
    const { fanoutId } = JSON.parse(detail.output ?? "null") as { fanoutId: string }
    await vi.waitFor(async () => {
      const fanout = await get<FanoutSummary>(`/api/v1/fanouts/${fanoutId}`)
      expect(fanout).toMatchObject({ runId: detail.id, events: 3, failed: 1, completed: 0, state: "paused" })
    })
  })
})

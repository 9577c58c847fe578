import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttp } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import express from "express"
import { Hono } from "hono"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import type { FanoutSummary, Page, RunDetail, RunSummary } from "../../src/core/views.ts"
import { Fanfare, NonRetriableError, referenceFunction, RetryAfterError } from "../../src/index.ts"
import { signingKeys } from "../../src/protocol/signature.ts"
import { serve as fastify } from "../../src/sdk/adapters/fastify.ts"
import { serve as hono } from "../../src/sdk/adapters/hono.ts"
import { serve as koa } from "../../src/sdk/adapters/koa.ts"
import { serve as lambda } from "../../src/sdk/adapters/lambda.ts"
import { serve as next } from "../../src/sdk/adapters/next.ts"
import { serve as node } from "../../src/sdk/adapters/node.ts"
import { serve as workers } from "../../src/sdk/adapters/workers.ts"
import { serve, type ServeOptions } from "../../src/sdk/serve.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-serve-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const signingKey = "signkey-prod-00112233445566778899aabbccddeeff"
const eventKey = "event-key-0123456789"

const double = referenceFunction({ appId: "shop", functionId: "double" })

function shop(did: (what: string) => number): Fanfare {
  const client = new Fanfare({ id: "shop" })
  client.createFunction({ id: "steps", triggers: [{ event: "shop/steps" }] }, async ({ event, step, attempt }) => {
    const a = await step.run("a", () => did("a"))
    await step.sleep("nap", "200ms")
    const both = await Promise.all([step.run("b", () => did("b")), step.run("same", () => 1), step.run("same", () => 2)])
    return { a, both, attempt, data: event.data, name: event.name }
  })
  client.createFunction({ id: "retries", triggers: [{ event: "shop/retries" }], retries: 2 }, async ({ step, logger }) => {
    logger.debug("retries")
    const flaky = await step.run("flaky", () => {
      if (did("flaky") === 1) throw new RetryAfterError("busy", 200)
      return "flaky"
    })
    const caught = await step
      .run("never", () => {
        throw new NonRetriableError("no use")
      })
      .catch((error: Error) => error.message)
    if (did("run") === 1) throw new RetryAfterError("later", 200)
    return [flaky, caught]
  })
  client.createFunction({ id: "sends", triggers: [{ event: "shop/sends" }], retries: 1 }, async ({ attempt }) => {
    const sent = await client.send([
      { name: "shop/kid", data: { n: 1 } },
      { name: "shop/kid", data: { n: 2 } },
    ])
    if (attempt === 0) throw new RetryAfterError("after the send", 200)
    return sent
  })
  client.createFunction({ id: "kid", triggers: [{ event: "shop/kid" }] }, ({ event }) => did(`kid ${String(event.data["n"])}`))
  client.createFunction({ id: "waits", triggers: [{ event: "shop/waits" }] }, async ({ step }) => {
    const paid = await step.waitForEvent("paid", { event: "shop/paid", match: "data.n", timeout: "1h" })
    const never = await step.waitForEvent("never", { event: "shop/never", timeout: "100ms" })
    const doubled = await step.invoke("double", { function: double, data: { x: 20 } })
    const refused = await step.invoke("negative", { function: double, data: { x: -1 } }).catch((error: Error) => error.message)
    const approved = await step.waitForSignal("approval", { signal: "approve 7", timeout: "1h" })
    return { paid: paid?.data, never, doubled, refused, approved }
  })
  client.createFunction({ id: "double", triggers: [] }, ({ event, step }) => {
    const { x } = event.data as { x: number }
    if (x < 0) throw new NonRetriableError("negative")
    return step.run("double", () => x * 2)
  })
  client.createFunction({ id: "approves", triggers: [{ event: "shop/approves" }] }, ({ step }) =>
    step.sendSignal("approve", { signal: "approve 7", data: { by: "Ada" } }),
  )
  client.createFunction({ id: "hopeless", triggers: [{ event: "shop/hopeless" }] }, () => {
    throw new NonRetriableError("hopeless")
  })
  const shared = { limit: 5, scope: "env", key: "'till / 1'" } as const
  client.createFunction({ id: "polite", triggers: [{ event: "shop/polite" }], retries: 0, concurrency: shared }, ({ step }) =>
    step.run("ask", () => {
      throw new RetryAfterError("busy", "1h", { limit: "till / 1" })
    }),
  )
  client.createFunction({ id: "ticks", triggers: [{ cron: "0 0 1 1 *", timezone: "Europe/Paris" }] }, ({ event }) => event.name)
  return client
}

async function until<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T> {
  for (let i = 0; i < 400; i++) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`${what} did not happen`)
}

describe.each([
  ["in development", {}, {}],
  ["with keys", { signingKeys: [signingKey], eventKeys: [eventKey], allow: ["loopback"] }, { signingKey, eventKey }],
] as const)("functions that are served with Express, %s", (mode, http, keys) => {
  const counts = new Map<string, number>()
  const did = (what: string): number => {
    counts.set(what, (counts.get(what) ?? 0) + 1)
    return counts.get(what) ?? 0
  }
  let server: FanfareServer
  let app: ReturnType<typeof createHttp>
  let self: string
  beforeAll(async () => {
    server = await createServer({ db: join(folder, `${mode}.db`), http: { port: 0, ...http }, logs: "none" })
    await server.start()
    const made = express()
    made.use(express.json({ limit: "10mb" }))
    made.use("/api/fanfare", node({ client: shop(did), url: server.url ?? "", ...keys }))
    app = createHttp(made)
    await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve))
    self = `http://127.0.0.1:${(app.address() as AddressInfo).port}/api/fanfare`
    const synced = await ask("/api/v1/apps/sync", { url: self })
    expect(await synced.json()).toEqual({ url: self })
  })
  afterAll(async () => {
    app.close()
    app.closeAllConnections()
    await server.stop()
  })
  const ask = (path: string, body?: unknown): Promise<Response> =>
    fetch(new URL(path, server.url ?? ""), {
      headers: { "content-type": "application/json", authorization: `Bearer ${signingKey}` },
      ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
    })
  const get = async <T>(path: string): Promise<T> => (await (await ask(path)).json()) as T
  const run = async (id: string): Promise<RunDetail> => {
    const { ids } = (await (await ask(`/e/${eventKey}`, { name: `shop/${id}`, data: { n: 7 } })).json()) as { ids: string[] }
    return until(async () => {
      const { items } = await get<Page<RunSummary>>(`/api/v1/runs?function=shop-${id}`)
      const found = items.find(({ eventId, endedAt }) => eventId === ids[0] && endedAt !== null)
      return found !== undefined && get<RunDetail>(`/api/v1/runs/${found.id}`)
    }, `the end of ${id}`)
  }
  const output = ({ output: text }: RunDetail): unknown => JSON.parse(text ?? "null")

  it("do their steps once, sleep, and go on", async () => {
    const detail = await run("steps")
    expect(output(detail)).toEqual({ a: 1, both: [1, 1, 2], attempt: 0, data: { n: 7 }, name: "shop/steps" })
    expect([counts.get("a"), counts.get("b")]).toEqual([1, 1])
    expect(detail.steps.map(({ key }) => key).toSorted()).toEqual(["a", "b", "nap", "same", "same:1"])
  })

  it("are tried again as their errors say", async () => {
    expect(output(await run("retries"))).toEqual(["flaky", "no use"])
    expect([counts.get("flaky"), counts.get("run")]).toEqual([2, 2])
    expect(await run("hopeless")).toMatchObject({
      state: "failed",
      attempt: 1,
      failure: { name: "NonRetriableError", message: "hopeless" },
    })
  })

  it("have others that share a limit wait, as their errors say", async () => {
    expect(await run("polite")).toMatchObject({ state: "failed", failure: { name: "RetryAfterError" } })
    await ask(`/e/${eventKey}`, { name: "shop/polite" })
    const { items } = await get<Page<RunSummary>>("/api/v1/runs?function=shop-polite&state=waiting")
    expect(items[0]?.reason).toMatch(/^the limit env:till \/ 1 is at rest until .*, as one of its runs asked$/)
  })

  it("send once, also when the run is tried again after it", async () => {
    const sent = output(await run("sends")) as { ids: string[]; fanoutId: string }
    expect(sent.ids).toHaveLength(2)
    const fanout = await until(async () => {
      const seen = await get<FanoutSummary>(`/api/v1/fanouts/${sent.fanoutId}`)
      return seen.completed === 2 && seen
    }, "the fan-out")
    expect(fanout).toMatchObject({ total: 2, name: "shop/kid" })
    expect([counts.get("kid 1"), counts.get("kid 2")]).toEqual([1, 1])
  })

  it("wait for events and signals, and invoke each other", async () => {
    const ending = run("waits")
    const waiting = (): Promise<RunSummary> =>
      until(async () => (await get<Page<RunSummary>>("/api/v1/runs?function=shop-waits&state=waiting")).items[0], "the wait")
    await waiting()
    await ask(`/e/${eventKey}`, { name: "shop/paid", data: { n: 7, sum: 3 } })
    await until(async () => {
      const { steps } = await get<RunDetail>(`/api/v1/runs/${(await waiting()).id}`)
      return steps.some(({ key, state }) => key === "approval" && state === "waiting")
    }, "the wait for a signal")
    expect(output(await run("approves"))).toMatchObject({ delivered: true })
    expect(output(await ending)).toEqual({
      paid: { n: 7, sum: 3 },
      never: null,
      doubled: 40,
      refused: "negative",
      approved: { signal: "approve 7", data: { by: "Ada" } },
    })
  })

  it("are registered with their triggers and rules", async () => {
    const { items } = await get<Page<{ localId: string; triggers: object[]; retries: number }>>("/api/v1/functions")
    expect(items.find(({ localId }) => localId === "ticks")).toMatchObject({
      triggers: [{ cron: "0 0 1 1 *", timezone: "Europe/Paris" }],
      retries: 4,
    })
    const { runId } = (await (await ask("/api/v1/functions/ticks/trigger", {})).json()) as { runId: string }
    const detail = await until(async () => {
      const seen = await get<RunDetail>(`/api/v1/runs/${runId}`)
      return seen.endedAt !== null && seen
    }, "the tick")
    expect(output(detail)).toBe("fanfare/scheduled.timer")
  })
})

const call = {
  event: { name: "shop/kid", data: { n: 1 }, id: "e", ts: 1 },
  events: [],
  steps: {},
  ctx: { run_id: "run_1", attempt: 0 },
  version: -1,
}
const target = "http://h/api?fnId=shop-kid&stepId=step"

describe("a handler", () => {
  const options = (more: Partial<ServeOptions> = {}): ServeOptions => ({ client: shop(() => 1), ...more })
  const post = (body: unknown, headers: Record<string, string> = {}, url = target): Request =>
    new Request(url, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) })

  it("with a key answers only what the key has signed", async () => {
    const keys = await signingKeys([signingKey])
    const handle = serve(options({ signingKey }))
    // Any spelling of the same JSON: it is signed in its canonical one.
    const canonical = JSON.stringify({
      ctx: { attempt: 0, run_id: "run_1" },
      event: { data: { n: 1 }, id: "e", name: "shop/kid", ts: 1 },
      events: [],
      steps: {},
      version: -1,
    })
    const signature = await keys.sign(canonical, Date.now())
    const answer = await handle(post(call, { "x-inngest-signature": signature }))
    expect([answer.status, await answer.clone().json()]).toEqual([200, 1])
    expect(await keys.verify(answer.headers.get("x-inngest-signature"), await answer.text(), Date.now())).toBe(true)
    const old = await keys.sign(canonical, Date.now() - 301_000)
    for (const bad of ["", "t=1&s=x", old, signature.replace(/.$/, (last) => (last === "0" ? "1" : "0"))]) {
      expect((await handle(post(call, { "x-inngest-signature": bad }))).status).toBe(401)
    }
    expect((await handle(new Request(target))).status).toBe(401)
    const asked = await handle(new Request(target, { headers: { "x-inngest-signature": await keys.sign("", Date.now()) } }))
    expect(await asked.json()).toMatchObject({ authentication_succeeded: true, app_id: "shop", function_count: 10, mode: "cloud" })
    const probed = async (name: string): Promise<Response> =>
      handle(
        new Request(`http://h/api?probe=${name}`, { method: "POST", headers: { "x-inngest-signature": await keys.sign("", Date.now()) } }),
      )
    const trusted = await probed("trust")
    expect([trusted.status, await trusted.clone().text()]).toEqual([200, ""])
    expect(await keys.verify(trusted.headers.get("x-inngest-signature"), "", Date.now())).toBe(true)
    expect((await probed("what")).status).toBe(400)
    expect((await handle(new Request("http://h/api?probe=trust", { method: "POST" }))).status).toBe(401)
    const inBand = new Request("http://h/api", {
      method: "PUT",
      body: '{"url":"http://h/api"}',
      headers: { "x-inngest-sync-kind": "in_band" },
    })
    expect((await handle(inBand)).status).toBe(401)
  })

  it("without a key serves nothing in production", async () => {
    vi.stubEnv("NODE_ENV", "production")
    const answer = await serve(options())(post(call))
    vi.unstubAllEnvs()
    expect([answer.status, await answer.json()]).toEqual([500, { message: expect.stringContaining("no signing key") }])
  })

  it("answers whatever comes, and never throws", async () => {
    const handle = serve(options())
    expect((await handle(post(call, {}, "http://h/api?fnId=nothing"))).status).toBe(500)
    for (const bad of [
      "",
      "{",
      "null",
      "[]",
      "{}",
      '{"ctx":{"run_id":1},"event":{}}',
      '{"ctx":{"run_id":"x"},"event":null}',
      JSON.stringify({ ...call, steps: { a: 1, b: { error: {} } } }),
    ]) {
      expect((await handle(post(bad))).status).toBeLessThanOrEqual(500)
    }
    expect((await handle(new Request(target, { method: "DELETE" }))).status).toBe(405)
    const about = await handle(new Request(target))
    expect([about.headers.has("x-inngest-sdk"), await about.json()]).toMatchObject([true, { function_count: 10, mode: "dev" }])
  })

  it("is the same behind every adapter", async () => {
    const body = JSON.stringify(call)
    const incoming = {
      method: "POST",
      url: "/api?fnId=shop-kid&stepId=step",
      headers: { host: "h", "content-type": "application/json" },
      body: call,
    }
    const answers: Record<string, unknown> = {}
    const routes = new Hono().on(["GET", "POST", "PUT"], "/api", hono(options()))
    answers["hono"] = await (await routes.fetch(post(call))).text()
    answers["next"] = await (await next(options()).POST(post(call))).text()
    answers["workers"] = await (await workers(options()).fetch(post(call), { FANFARE_URL: "http://there" })).text()
    answers["lambda"] = (
      await lambda(options())({
        headers: {},
        rawPath: "/api",
        rawQueryString: "fnId=shop-kid&stepId=step",
        requestContext: { http: { method: "POST" } },
        body: btoa(body),
        isBase64Encoded: true,
      })
    ).body
    answers["lambda 1"] = (
      await lambda(options())({
        headers: {},
        httpMethod: "POST",
        path: "/api",
        queryStringParameters: { fnId: "shop-kid", stepId: "step" },
        body,
      })
    ).body
    const reply = { code: () => reply, header: () => reply, send: (text: string) => text }
    answers["fastify"] = await fastify(options())(incoming, reply)
    const context = { req: incoming, request: { body: call }, status: 0, body: undefined as unknown, set: () => undefined }
    await koa(options())(context)
    answers["koa"] = context.body
    answers["node"] = await new Promise((resolve) =>
      node(options())({ ...incoming, body: Buffer.from(body) }, { statusCode: 0, setHeader: () => undefined, end: resolve }),
    )
    expect([...new Set(Object.values(answers))]).toEqual(["1"])
    expect(Object.keys(answers)).toHaveLength(8)
  })
})

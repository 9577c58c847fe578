import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttp, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import type { RunSummary } from "../../src/core/views.ts"
import { Fanfare } from "../../src/index.ts"
import { bearerOf, signingKeys } from "../../src/protocol/signature.ts"
import { createServer, type FanfareServer, type ServerOptions } from "../../src/server.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-door-"))
let files = 0
const signingKey = "signkey-prod-00112233445566778899aabbccddeeff"
const oldKey = "ffeeddccbbaa99887766554433221100"
const eventKey = "event-key-0123456789"
const cloud = { signingKeys: [signingKey, oldKey], eventKeys: [eventKey, "another-event-key-01"], allow: ["loopback"] }
const running: { close(): Promise<unknown> }[] = []
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function start(
  http: Omit<NonNullable<ServerOptions["http"]>, "port"> = {},
  more: Partial<ServerOptions> = {},
): Promise<FanfareServer> {
  const server = await createServer({
    db: join(folder, `${files++}.db`),
    http: { port: 0, ...http },
    logs: "none",
    stopGrace: "1s",
    ...more,
  })
  await server.start()
  running.push({ close: () => server.stop() })
  return server
}

/** An app of a few lines, in no SDK's language but the protocol's. */
async function app(
  answer: (body: string, headers: Record<string, unknown>) => { status: number; body: unknown; headers?: Record<string, string> },
): Promise<string> {
  const server: Server = createHttp((request, response) => {
    let body = ""
    request.on("data", (chunk: Buffer) => (body += chunk.toString()))
    request.on("end", () => {
      const { status, body: content, headers = {} } = answer(body, request.headers)
      response.writeHead(status, { "x-inngest-sdk": "test:v1", ...headers })
      response.end(typeof content === "string" ? content : JSON.stringify(content))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  running.push({
    close: async () => {
      server.close()
      server.closeAllConnections()
    },
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`
}

const registration = (url: string, functions: readonly string[] = ["fn"], appName = "shop"): object => ({
  url,
  appName,
  sdk: "test:v1",
  functions: functions.map((id) => ({
    id: `${appName}-${id}`,
    name: id,
    triggers: [{ event: `shop/${id}` }],
    steps: {
      step: {
        id: "step",
        name: "step",
        runtime: { type: "http", url: `${url}?fnId=${appName}-${id}&stepId=step` },
        retries: { attempts: 1 },
      },
    },
  })),
})

const json = { "content-type": "application/json" }
const ask = (server: FanfareServer, path: string, init: RequestInit = {}) => fetch(new URL(path, server.url ?? ""), init)
const post = (server: FanfareServer, path: string, body: unknown, headers: Record<string, string> = {}) =>
  ask(server, path, { method: "POST", headers: { ...json, ...headers }, body: typeof body === "string" ? body : JSON.stringify(body) })

async function runsOf(server: FanfareServer, headers: Record<string, string> = {}): Promise<readonly RunSummary[]> {
  return ((await (await ask(server, "/api/v1/runs", { headers })).json()) as { items: RunSummary[] }).items
}

async function until<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T> {
  for (let i = 0; i < 400; i++) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`${what} did not happen`)
}

describe("a server with keys", () => {
  let server: FanfareServer
  let bearer: string
  beforeAll(async () => {
    server = await start(cloud)
    bearer = await bearerOf(signingKey)
  })
  afterAll(async () => void (await Promise.all(running.splice(0).map((each) => each.close()))))

  it("takes events from those who have an event key, and says no to the others in the way that SDKs know", async () => {
    for (const key of [eventKey, "another-event-key-01"]) {
      const answer = await post(server, `/e/${key}`, [{ name: "a/b" }, { name: "a/b" }])
      expect([answer.status, await answer.json()]).toEqual([200, { ids: [expect.any(String), expect.any(String)], status: 200 }])
    }
    for (const key of ["NO_EVENT_KEY_SET", `${eventKey}x`, eventKey.slice(1), signingKey]) {
      const answer = await post(server, `/e/${key}`, { name: "a/b" })
      expect([answer.status, await answer.json()]).toMatchObject([401, { status: 401, error: "Event key not found" }])
    }
  })

  it.each([
    ["GET", "/api/v1/runs"],
    ["GET", "/api/v1/status"],
    ["GET", "/api/v1/apps"],
    ["POST", "/api/v1/apps/sync"],
    ["POST", "/api/v1/events"],
    ["POST", "/api/v1/functions/x/trigger"],
    ["GET", "/api/v1/health"],
    ["POST", "/fn/register"],
    ["GET", "/v1/runs/run_x"],
    ["GET", "/v1/events/evt_x/runs"],
    ["GET", "/v0/runs/run_x/batch"],
    ["GET", "/v0/runs/run_x/actions"],
  ])("answers %s %s only to those who have the signing key", async (method, path) => {
    const statuses = async (authorization: string | undefined): Promise<number> => {
      const headers = { ...json, ...(authorization === undefined ? {} : { authorization }) }
      return (await ask(server, path, { method, headers, ...(method === "POST" ? { body: "{}" } : {}) })).status
    }
    for (const wrong of [
      undefined,
      "",
      "Bearer undefined",
      "Bearer ",
      // With that key events may be sent.
      ...(path === "/api/v1/events" ? [] : [`Bearer ${eventKey}`]),
      `Basic ${bearer}`,
      `Bearer ${bearer.slice(1)}`,
    ]) {
      expect([wrong, await statuses(wrong)]).toEqual([wrong, 401])
    }
    for (const right of [`Bearer ${bearer}`, `bearer ${signingKey}`, `Bearer signkey-test-${bearer}`, `Bearer ${await bearerOf(oldKey)}`]) {
      expect(await statuses(right)).not.toBe(401)
    }
  })

  it("has the browser ask for the key as a password, which pages elsewhere cannot use", async () => {
    const unknown = await ask(server, "/runs")
    expect([unknown.status, unknown.headers.get("www-authenticate")]).toEqual([401, expect.stringMatching(/^Basic realm=/)])
    const basic = (password: string): string => `Basic ${btoa(`anybody:${password}`)}`
    expect((await ask(server, "/runs", { headers: { authorization: basic("wrong") } })).status).toBe(401)
    const authorization = basic(signingKey)
    expect((await ask(server, "/runs", { headers: { authorization } })).headers.get("content-type")).toContain("text/")
    expect((await ask(server, "/api/v1/status", { headers: { authorization } })).status).toBe(200)
    const simple = { method: "POST", headers: { authorization, "content-type": "text/plain" }, body: '{"name":"a/b"}' }
    expect((await ask(server, "/api/v1/events", simple)).status).toBe(400)
  })

  it("shows without a key only that it lives", async () => {
    for (const path of ["/health", "/ready"]) expect(await (await ask(server, path)).json()).toEqual({ status: 200, message: "OK" })
    const about = await ask(server, "/dev")
    expect([about.status, about.headers.get("x-inngest-server-kind")]).toEqual([404, "cloud"])
  })

  it("signs what it calls, and takes an app's own word only with our signature", async () => {
    const keys = await signingKeys([signingKey])
    const seen: boolean[] = []
    const answers = new Map<boolean, string>()
    for (const signs of [false, true]) {
      const text = { url: "" }
      const reply = async (): Promise<void> => {
        text.url = JSON.stringify(registration(answers.get(signs) ?? "", ["fn"], signs ? "signed" : "unsigned"))
      }
      let signature = ""
      const url = await app(() => ({
        status: 200,
        body: text.url,
        headers: { "x-inngest-sync-kind": "in_band", "x-inngest-signature": signature },
      }))
      answers.set(signs, url)
      await reply()
      signature = signs ? await keys.sign(text.url, Date.now()) : ""
      const answer = await post(server, "/api/v1/apps/sync", { url }, { authorization: `Bearer ${bearer}` })
      seen.push(answer.ok)
    }
    expect(seen).toEqual([false, true])
    const { items } = (await (await ask(server, "/api/v1/apps", { headers: { authorization: `Bearer ${bearer}` } })).json()) as {
      items: { id: string }[]
    }
    expect(items.map(({ id }) => id)).toEqual(["signed"])

    let verified: Promise<boolean> | undefined
    const url = await app((body, headers) => {
      verified = keys.verify(headers["x-inngest-signature"] as string, body, Date.now())
      return { status: 200, body: "1" }
    })
    await post(server, "/fn/register", registration(url), { authorization: `Bearer ${bearer}` })
    await post(server, `/e/${eventKey}`, { name: "shop/fn", data: { z: 1, a: [1.0, 1e21] } })
    await until(async () => verified, "the call")
    expect(await verified).toBe(true)
  })

  it("takes events from pages elsewhere, which have a key", async () => {
    const origin = "https://elsewhere.example"
    const asked = await ask(server, `/e/${eventKey}`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type" },
    })
    expect([asked.status, asked.headers.get("access-control-allow-origin")]).toEqual([204, "*"])
    expect(asked.headers.get("access-control-allow-headers")).toBe("content-type")
    const sent = await post(server, `/e/${eventKey}`, { name: "a/b" }, { origin, "sec-fetch-site": "cross-site" })
    expect([sent.status, sent.headers.get("access-control-allow-origin")]).toEqual([200, "*"])
    expect(
      (await ask(server, "/api/v1/events", { method: "OPTIONS", headers: { origin } })).headers.has("access-control-allow-origin"),
    ).toBe(false)
  })

  it("calls no address that its operator has not allowed, whoever registers it", async () => {
    const strict = await start({ ...cloud, allow: [] })
    const authorization = `Bearer ${bearer}`
    for (const url of ["http://127.0.0.1:80/api", "http://169.254.169.254/latest", "http://[::1]/", "http://10.0.0.1/"]) {
      const answer = await post(strict, "/fn/register", registration(url), { authorization })
      expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([400, expect.stringContaining("may not call")])
    }
    const named = await app(() => ({ status: 200, body: "1" }))
    await post(strict, "/fn/register", registration(named.replace("127.0.0.1", "localhost")), { authorization })
    await post(strict, `/e/${eventKey}`, { name: "shop/fn" })
    const run = await until(async () => (await runsOf(strict, { authorization })).find(({ state }) => state === "failed"), "the failure")
    expect(run.error?.message).toContain("may not call")
  })
})

describe("keys", () => {
  it.each([
    [{ signingKeys: [signingKey] }, "eventKeys"],
    [{ eventKeys: [eventKey] }, "signingKeys"],
    [{ signingKeys: ["short"], eventKeys: [eventKey] }, "signingKeys"],
    [{ signingKeys: [signingKey], eventKeys: ["short"] }, "eventKeys"],
    [{ host: "0.0.0.0" }, "http.host"],
    [{ allow: ["somewhere"] }, "allow"],
  ])("%j are refused before anything listens", async (http, field) => {
    const server = await createServer({ db: join(folder, `${files++}.db`), http: { port: 0, ...http }, logs: "none" })
    await expect(server.start()).rejects.toMatchObject({ code: "invalid_option", field })
    await server.stop()
  })
})

describe("a server without keys", () => {
  afterEach(async () => void (await Promise.all(running.splice(0).map((each) => each.close()))))

  it("calls an app that registered before it was started, and forgets functions that the app dropped", async () => {
    const db = join(folder, `${files++}.db`)
    const called: string[] = []
    const url = await app((body) => {
      called.push((JSON.parse(body) as { event: { name: string } }).event.name)
      return { status: 200, body: { ok: 1 } }
    })
    const first = await start({}, { db })
    const modified = async (body: object): Promise<unknown> => (await post(first, "/fn/register", body)).json()
    expect(await modified(registration(url, ["fn", "old"]))).toMatchObject({ ok: true, modified: true })
    expect(await modified(registration(url, ["fn"]))).toMatchObject({ modified: true })
    expect(await modified(registration(url, ["fn"]))).toMatchObject({ modified: false })
    await first.stop()
    const second = await start({}, { db })
    await post(second, "/e/any", [{ name: "shop/fn" }, { name: "shop/old" }])
    const run = await until(async () => (await runsOf(second)).find(({ state }) => state === "completed"), "the run")
    expect(run.functionId).toBe("shop-fn")
    expect(called).toEqual(["shop/fn"])
    const remove = (at: string) => ask(second, `/fn/remove?url=${encodeURIComponent(at)}`, { method: "DELETE" })
    expect(await Promise.all(["http://127.0.0.1:9/", "nonsense"].map(async (at) => (await remove(at)).status))).toEqual([404, 400])
    expect(await (await remove(url)).json()).toMatchObject({ ok: true })
    expect(await (await ask(second, "/api/v1/apps")).json()).toMatchObject({ items: [] })
    await post(second, "/e/any", { name: "shop/fn" })
    expect(await runsOf(second)).toHaveLength(1)
  })

  it("says of paths that only apps ask for that they are not there, in the way of SDKs", async () => {
    const server = await start()
    for (const path of ["/v1/realtime/sse", "/v2/runs", "/v0/gql", "/fn/x", "/e/key"]) {
      const answer = await ask(server, path)
      expect([answer.status, await answer.json()]).toMatchObject([404, { status: 404, error: expect.stringContaining(path) as string }])
    }
  })

  it("runs functions of its own beside those of apps elsewhere", async () => {
    const own = new Fanfare({ id: "own" })
    own.createFunction({ id: "fn", triggers: [{ event: "shop/fn" }] }, () => "own")
    const server = await start({}, { client: own })
    await post(server, "/fn/register", registration(await app(() => ({ status: 200, body: '"elsewhere"' }))))
    await post(server, "/e/any", { name: "shop/fn" })
    const done = await until(async () => {
      const runs = await runsOf(server)
      return runs.length === 2 && runs.every(({ state }) => state === "completed") && runs
    }, "both runs")
    expect(done.map(({ functionId }) => functionId).toSorted()).toEqual(["own-fn", "shop-fn"])
  })

  it("records what hostile apps answer and tries again, and other apps notice nothing", async () => {
    const server = await start()
    const hostile = [
      { status: 200, body: "<html>Log in</html>", headers: { "x-inngest-sdk": "" } },
      { status: 302, body: "", headers: { location: "http://169.254.169.254/" } },
      { status: 206, body: '[{"id":' },
      { status: 206, body: [{ id: "x\u0000", op: "StepRun" }] },
      { status: 200, body: "x".repeat(9 * 1024 * 1024) },
      { status: 200, body: "[".repeat(100_000) },
      { status: 503, body: "busy", headers: { "retry-after": "5" } },
    ]
    for (const [i, answer] of hostile.entries())
      await post(server, "/fn/register", registration(await app(() => answer), [`fn${i}`], `hostile${i}`))
    await post(server, "/fn/register", registration(await app(() => ({ status: 200, body: "1" })), ["fn"]))
    await post(server, "/e/any", [...hostile.map((_, i) => ({ name: `shop/fn${i}` })), { name: "shop/fn" }])
    const runs = await until(async () => {
      const all = await runsOf(server)
      return all.length === hostile.length + 1 && all.every(({ error, state }) => error !== null || state === "completed") && all
    }, "every answer")
    expect(runs.filter(({ state }) => state === "completed").map(({ functionId }) => functionId)).toEqual(["shop-fn"])
    for (const run of runs) if (run.functionId !== "shop-fn") expect(run.state).toBe("scheduled")
  })

  it("drops a request that a client repeats, by its seed", async () => {
    const server = await start()
    await post(server, "/fn/register", registration(await app(() => ({ status: 200, body: "1" }))))
    const seed = { "x-inngest-event-id-seed": `${Date.now()},AAECAwQFBgcICQ==` }
    const events = [
      { name: "shop/fn", data: { n: 1 } },
      { name: "shop/fn", data: { n: 2 } },
    ]
    const first: unknown = await (await post(server, "/e/any", events, seed)).json()
    expect(await (await post(server, "/e/any", events, seed)).json()).toEqual(first)
    await until(async () => (await runsOf(server)).every(({ state }) => state === "completed"), "both runs")
    expect(await runsOf(server)).toHaveLength(2)
  })

  it("gives an app what is too much for one call", async () => {
    const server = await start()
    const big = "x".repeat(400_000)
    let fetched: unknown
    const url = await app((body) => {
      const { steps, ctx, event } = JSON.parse(body) as {
        steps: Record<string, unknown>
        ctx: { use_api: boolean; run_id: string }
        event: { name: string }
      }
      if (!ctx.use_api) return { status: 206, body: [{ id: `s${Object.keys(steps).length}`, op: "StepRun", data: big }] }
      fetched = (async () => {
        const batch = (await (await ask(server, `/v0/runs/${ctx.run_id}/batch`)).json()) as { name: string }[]
        const actions = (await (await ask(server, `/v0/runs/${ctx.run_id}/actions`)).json()) as Record<string, { data: string }>
        return [event.name, batch.map(({ name }) => name), Object.values(actions).map(({ data }) => data.length)]
      })()
      return { status: 200, body: "1" }
    })
    await post(server, "/fn/register", registration(url))
    await post(server, "/e/any", { name: "shop/fn" })
    await until(async () => fetched !== undefined, "the call")
    expect(await fetched).toEqual(["shop/fn", ["shop/fn"], Array.from({ length: 11 }, () => big.length)])
  })

  it("answers what pages of other origins can send with an error, and names no internals", async () => {
    const server = await start()
    const simple = await ask(server, "/e/any", { method: "POST", headers: { "content-type": "text/plain" }, body: '{"name":"a/b"}' })
    expect(simple.status).toBe(400)
    const kind = await post(server, "/fn/register", registration("http://h/"), { "x-inngest-expected-server-kind": "cloud" })
    expect([kind.status, await kind.json()]).toMatchObject([400, { error: expect.stringContaining("cloud") as string }])
    for (const body of [
      "",
      "{",
      "null",
      "[1]",
      '{"name":""}',
      '{"name":"inngest/x"}',
      '{"name":"a","data":[]}',
      '{"name":"a","id":"\\u0000"}',
      '{"name":"\\ud800"}',
    ]) {
      const answer = await post(server, "/e/any", body)
      expect([body, answer.status, await answer.json()]).toEqual([body, 400, { error: expect.any(String), status: 400, ids: [] }])
    }
  })
})

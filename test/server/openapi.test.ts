import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Telemetry } from "../../src/engine/telemetry.ts"
import { Fanfare } from "../../src/index.ts"
import { paths } from "../../src/protocol/api.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"
import { createAccess } from "../../src/server/access.ts"
import { type ApiParts, createApi } from "../../src/server/api.ts"
import { openApi } from "../../src/server/openapi/document.ts"
import { routes } from "../../src/server/openapi/routes.ts"
import type { Schema } from "../../src/server/openapi/schema.ts"
import { schemas } from "../../src/server/openapi/schemas.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-openapi-"))
const app = new Fanfare({ id: "shop" })
app.createFunction({ id: "fine", triggers: [{ event: "shop/go" }], concurrency: 5 }, async ({ step, logger }) => {
  logger.info("hello", { a: 1 })
  return step.run("s", () => ({ n: 1 }))
})
app.createFunction({ id: "fails", triggers: [{ event: "shop/go" }, { cron: "0 0 1 1 *" }], retries: 0 }, () => {
  throw new Error("no", { cause: new Error("why") })
})
let server: FanfareServer
let url = ""
let ids: Record<string, string> = {}

beforeAll(async () => {
  server = await createServer({ client: app, db: join(folder, "api.db"), http: { port: 0 }, logs: "none" })
  await server.start()
  url = server.url ?? ""
  const sent = await app.send([{ name: "shop/go" }, { name: "shop/go" }])
  await app.fanouts.wait(sent.fanoutId ?? "")
  await ask("post", "/api/v1/schedules", { app: "shop", schedules: [{ id: "s", function: "fine", every: "1h", data: { a: 1 } }] })
  const { id } = (await (await ask("post", `/api/v1/fanouts/${sent.fanoutId}/retry`, {})).json()) as { id: string }
  await delay(2_500)
  const { items } = await app.runs.list({ functionId: "shop-fails" })
  ids = {
    runs: items[0]?.id ?? "",
    events: sent.ids[0] ?? "",
    fanouts: sent.fanoutId ?? "",
    operations: id,
    schedules: "shop-s",
    functions: "shop-fine",
  }
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

function ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const init = { method: method.toUpperCase(), signal: AbortSignal.timeout(5_000) }
  if (method === "get") return fetch(url + path, { ...init, headers })
  return fetch(url + path, {
    ...init,
    headers: { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
}

/** What of a value is not as its schema says. */
function wrong(schema: Schema, value: unknown, at = ""): string[] {
  if (schema.$ref !== undefined) return wrong(schemas[schema.$ref.split("/").at(-1) as keyof typeof schemas], value, at)
  if (schema.anyOf !== undefined) {
    const all = schema.anyOf.map((each) => wrong(each, value, at))
    return all.some((each) => each.length === 0) ? [] : (all[0] ?? [])
  }
  const kinds = schema.type === undefined ? [] : [schema.type].flat()
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value
  const fits = kinds.length === 0 || kinds.some((each) => each === kind || (each === "integer" && Number.isInteger(value)))
  if (!fits) return [`${at} is ${kind}, not ${kinds.join(" or ")}`]
  if (schema.enum !== undefined && !schema.enum.includes(value as string)) return [`${at} is ${String(value)}`]
  if (Array.isArray(value))
    return schema.items === undefined ? [] : value.flatMap((each, i) => wrong(schema.items ?? {}, each, `${at}[${i}]`))
  if (kind !== "object" || schema.properties === undefined) return []
  const given = value as Record<string, unknown>
  return [
    ...(schema.required ?? []).filter((name) => !(name in given)).map((name) => `${at}.${name} is missing`),
    ...Object.keys(given)
      .filter((name) => !(name in (schema.properties ?? {})))
      .map((name) => `${at}.${name} is not in the document`),
    ...Object.entries(schema.properties).flatMap(([name, each]) => (name in given ? wrong(each, given[name], `${at}.${name}`) : [])),
  ]
}

const filled = (path: string): string => path.replace(":id", ids[path.split("/")[3] ?? ""] ?? "none").replace(":index", "0")

describe("the OpenAPI document", () => {
  it("has every route of the API and no other, each under a name of its own", async () => {
    const parts = {
      engine: { telemetry: new Telemetry(), intake: {} },
      access: await createAccess({}),
      stream: {},
      apps: {},
    } as unknown as ApiParts
    const there = createApi(parts)
      .routes.filter(({ method, path }) => method !== "ALL" && path.startsWith("/api/"))
      .map(({ method, path }) => `${method} ${path}`)
    const told = routes.filter(({ path }) => path.startsWith("/api/")).map(({ method, path }) => `${method.toUpperCase()} ${path}`)
    expect([...new Set(there)].toSorted()).toEqual(told.toSorted())
    expect(new Set(told)).toHaveLength(told.length)
    expect(new Set(routes.map(({ id }) => id))).toHaveLength(routes.length)
    expect(Object.values(paths).filter((path) => !told.some((each) => each.endsWith(` ${path}`)))).toEqual([])
    const text = JSON.stringify(openApi())
    const named = new Set(Array.from(text.matchAll(/#\/components\/schemas\/(\w+)/g), ([, name]) => name))
    expect([...named].filter((name) => name === undefined || !(name in schemas))).toEqual([])
    expect(Object.keys(schemas).filter((name) => !named.has(name))).toEqual([])
    expect(await (await ask("get", paths.openapi)).json()).toEqual(JSON.parse(text))
  })

  it("says what is answered", async () => {
    const faults: unknown[] = []
    for (const { method, path, answer, type } of routes.filter((route) => route.method === "get" && route.path !== paths.stream)) {
      const response = await ask(method, filled(path))
      const text = await response.text()
      if (response.status !== 200 || !(response.headers.get("content-type") ?? "").startsWith(type ?? "application/json"))
        faults.push([path, response.status])
      else if (type === undefined) faults.push(...wrong(answer, JSON.parse(text), path))
    }
    for (const [path, body] of [
      [paths.events, { name: "shop/none" }],
      [paths.fanoutPlan, [{ name: "shop/go" }]],
      [paths.signals, { signal: "s" }],
      [paths.runsCount, { functionId: "shop-fails" }],
      [paths.runsBulk, { kind: "cancel", filter: { functionId: "shop-none" } }],
      [paths.runCancel, {}],
      [paths.functionPause, {}],
      [paths.functionResume, {}],
      [paths.schedulePause, { note: "n" }],
      [paths.scheduleResume, {}],
      [paths.scheduleRun, {}],
      [paths.trigger, {}],
      [paths.limit, { max: 3 }],
    ] as const) {
      const route = routes.find((each) => each.method === "post" && each.path === path)
      const response = await ask("post", filled(path), body)
      faults.push(
        ...(response.ok ? wrong(route?.answer ?? {}, await response.json(), path) : [[path, response.status, await response.text()]]),
      )
      if (route?.body !== undefined) faults.push(...wrong(route.body, body, `body of ${path}`))
    }
    expect(faults).toEqual([])
  })

  it("says how errors are answered: by every route, whatever comes", async () => {
    const faults: unknown[] = []
    for (const { method, path } of routes.filter((route) => route.path.startsWith("/api/") && route.method !== "get")) {
      for (const body of [
        "{",
        "[1,",
        '"x"',
        "[[]]",
        "7",
        "null",
        '{"max":"x","key":1,"signal":[],"kind":{},"filter":[],"schedules":{},"from":{},"data":[]}',
        '{"fromStep":{"toString":1},"reason":{"toString":1},"fingerprint":{"toString":1},"functionId":{"toString":1}}',
      ]) {
        const response = await fetch(url + filled(path), {
          method: method.toUpperCase(),
          headers: { "content-type": "application/json" },
          body,
        })
        const text = await response.text()
        if (response.ok) continue
        const fault = response.status >= 500 ? [response.status] : wrong(schemas.Problem, JSON.parse(text))
        if (response.headers.get("content-type") !== "application/problem+json" || fault.length > 0)
          faults.push([path, body, fault, text.slice(0, 200)])
      }
    }
    for (const path of [
      "/api/v1/nothing",
      "/api/v1/runs/none",
      "/api/v1/runs?limit=0",
      "/api/v1/runs?state=x",
      "/api/v1/events?limit=501",
    ]) {
      const response = await ask("get", path)
      if (response.headers.get("content-type") !== "application/problem+json") faults.push(path)
    }
    expect(faults).toEqual([])
  })
})

describe("a command with an Idempotency-Key", () => {
  it("is done once, however often it comes, also at the same time, and answered the same", async () => {
    const key = { "idempotency-key": "k-1" }
    const many = await Promise.all(Array.from({ length: 5 }, () => ask("post", "/api/v1/functions/fine/trigger", { data: { n: 1 } }, key)))
    const answers = await Promise.all(many.map((each) => each.json() as Promise<{ runId: string }>))
    expect(new Set(answers.map(({ runId }) => runId))).toHaveLength(1)
    expect(many.filter((each) => each.headers.get("idempotency-replayed") === "true")).toHaveLength(4)
    const other = await ask("post", "/api/v1/functions/fine/trigger", { data: { n: 2 } }, key)
    expect([other.status, await other.json()]).toEqual([422, expect.objectContaining({ code: "key_reused", field: "idempotency-key" })])
    expect((await ask("post", "/api/v1/functions/fails/trigger", { data: { n: 2 } }, key)).status).toBe(200)
    for (const bad of ["", "x".repeat(256), "a b"])
      expect((await ask("post", paths.signals, { signal: "s" }, { "idempotency-key": bad })).status).toBe(400)
  })

  it("that failed by our fault or was refused may come again", async () => {
    const own = await createServer({
      db: join(folder, "keys.db"),
      http: { port: 0, signingKeys: ["00".repeat(16)], eventKeys: ["event-key-0123456789"] },
      logs: "none",
    })
    await own.start()
    const send = (authorization: string): Promise<Response> =>
      fetch(`${own.url}/api/v1/events`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": "k", authorization },
        body: '{"name":"a/b"}',
      })
    expect((await send("Bearer wrong")).status).toBe(401)
    expect((await send("Bearer event-key-0123456789")).status).toBe(200)
    await own.stop()
  })

  it("of events is known after a restart too, by ids that it gives them", async () => {
    const db = join(folder, "twice.db")
    const sent: string[][] = []
    for (let i = 0; i < 2; i++) {
      const own = await createServer({ db, http: { port: 0 }, logs: "none" })
      await own.start()
      const answer = await fetch(`${own.url}/api/v1/events`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": "k" },
        body: '[{"name":"a/b"},{"name":"a/c"}]',
      })
      sent.push(((await answer.json()) as { ids: string[] }).ids)
      await own.stop()
    }
    expect(sent[0]).toHaveLength(2)
    expect(sent[1]).toEqual(sent[0])
  })
})

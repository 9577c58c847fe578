import { createHash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { limits } from "../../src/core/limits.ts"
import { Fanfare } from "../../src/index.ts"
import { type KeySummary, paths, type SessionView } from "../../src/protocol/api.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"
import { createAccess } from "../../src/server/access.ts"
import { WrongKeys } from "../../src/server/wrong-keys.ts"

const keys = {
  signingKeys: ["00112233445566778899aabbccddeeff"],
  eventKeys: ["event-key-0123456789"],
  adminKeys: ["admin-key-0123456789-0123456789ab"],
  readKeys: ["read-key-0123456789-0123456789abc"],
}
const [admin = "", read = ""] = [keys.adminKeys[0], keys.readKeys[0]]
const secret = "SECRET-4711"
const folder = mkdtempSync(join(tmpdir(), "fanfare-roles-"))
const app = new Fanfare({ id: "shop" })
app.createFunction({ id: "f", triggers: [{ event: "shop/sold" }], retries: 0 }, async ({ step, logger, event }) => {
  logger.info(`log ${secret}`, { secret })
  await step.run("s", () => ({ secret }))
  return event.data
})
let server: FanfareServer
let url = ""
let ids: Record<string, string> = {}

beforeAll(async () => {
  server = await createServer({ client: app, db: join(folder, "roles.db"), http: { port: 0, ...keys }, logs: "none" })
  await server.start()
  url = server.url ?? ""
  const { fanoutId } = await app.send([1, 2].map((n) => ({ name: "shop/sold", data: { secret, n } })))
  const schedule = { id: "s", function: "f", every: "1h", data: { secret } }
  await ask("POST", "/api/v1/schedules", admin, { app: "shop", schedules: [schedule] })
  for (;;) {
    const { items } = (await (await ask("GET", "/api/v1/runs?state=completed", admin)).json()) as {
      items: { id: string; eventId: string }[]
    }
    if (items[1] === undefined) continue
    ids = { run: items[0]?.id ?? "", event: items[0]?.eventId ?? "", fanout: fanoutId ?? "" }
    break
  }
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

function ask(method: string, path: string, key: string | null, body?: unknown, more: Record<string, string> = {}): Promise<Response> {
  const headers = {
    ...(key === null ? {} : { authorization: `Bearer ${key}` }),
    ...(method === "GET" ? {} : { "content-type": "application/json" }),
    ...more,
  }
  const init = { method, headers, redirect: "manual" as const, signal: AbortSignal.timeout(5_000) }
  return fetch(url + path, { ...init, ...(method === "GET" || body === undefined ? {} : { body: JSON.stringify(body) }) })
}

/** Every path with ids of what there is. */
const filled = (path: string): string => {
  const kind = path.includes("/runs/") ? "run" : path.includes("/events/") ? "event" : path.includes("/fanouts/") ? "fanout" : ""
  const id = path.includes("/schedules/") ? "shop-s" : path.includes("/functions/") ? "shop-f" : (ids[kind] ?? "none")
  return path.replace(":id", id).replace(":index", "0")
}

const form = { "content-type": "application/x-www-form-urlencoded" }
const post = (path: string, body: string, headers: Record<string, string>): Promise<Response> =>
  fetch(url + path, { method: "POST", headers, body, redirect: "manual" })
const cookieOf = (answer: Response): string => (answer.headers.get("set-cookie") ?? "").split(";")[0] ?? ""

describe("a person who logs in", () => {
  it("is sent to the page that asks for the key, and from there back to where they were", async () => {
    const sent = await fetch(`${url}/runs?state=failed`, { headers: { accept: "text/html" }, redirect: "manual" })
    expect([sent.status, sent.headers.get("location")]).toEqual([303, "/login?to=%2Fruns%3Fstate%3Dfailed"])
    const page = await fetch(`${url}/login?to=${encodeURIComponent('/"><script>')}`)
    const html = await page.text()
    expect(html).not.toContain("<script")
    expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'sha256-[\w+/=]+'; form-action 'self'/)
    expect((await post("/login", `key=wrong&to=/runs`, form)).status).toBe(401)
    const login = await post("/login", `key=${admin}&to=${encodeURIComponent("/runs?state=failed")}`, form)
    expect([login.status, login.headers.get("location")]).toEqual([303, "/runs?state=failed"])
    expect(login.headers.get("set-cookie")).toMatch(/^fanfare=[\w.-]+; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/)
    for (const elsewhere of ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]) {
      const answer = await post("/login", `key=${read}&to=${encodeURIComponent(elsewhere)}`, form)
      expect(answer.headers.get("location")).toBe("/")
    }
  })

  it("does with the cookie what their key may do, until they log out", async () => {
    const login = await ask("POST", paths.session, null, { key: read }, { "x-forwarded-proto": "https" })
    expect(await login.json()).toEqual({ role: "read", payloads: false, login: true } satisfies SessionView)
    expect(login.headers.get("set-cookie")).toMatch(/^__Host-fanfare=.*; HttpOnly; Secure; SameSite=Strict$/)
    const cookie = cookieOf(login)
    expect((await ask("GET", paths.runs, null, undefined, { cookie })).status).toBe(200)
    expect((await ask("POST", paths.signals, null, { signal: "s" }, { cookie })).status).toBe(403)
    expect((await ask("GET", "/v1/runs/x", null, undefined, { cookie })).status).toBe(401)
    expect(await (await ask("GET", paths.session, null, undefined, { cookie })).json()).toMatchObject({ role: "read" })
    const out = await ask("DELETE", paths.session, null, undefined, { cookie })
    expect([await out.json(), out.headers.get("set-cookie")]).toEqual([
      { role: null, payloads: false, login: true },
      expect.stringMatching(/^fanfare=; Max-Age=0;/),
    ])
    expect((await ask("GET", paths.runs, null, undefined, { cookie })).status).toBe(401)
    expect(await (await ask("GET", paths.session, null, undefined, { cookie })).json()).toMatchObject({ role: null })
  })

  it("cannot be made to do something by a page of another site", async () => {
    const cookie = cookieOf(await ask("POST", paths.session, null, { key: admin }))
    const { host } = new URL(url)
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await ask("POST", paths.signals, null, { signal: "s" }, { cookie, ...headers })).status
    for (const headers of [
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      { origin: "https://evil.example" },
      { origin: "null" },
      { origin: `http://${host}.evil.example` },
    ]) {
      expect([headers, await raw(headers, cookie)]).toEqual([headers, 403])
    }
    expect(await raw({ "sec-fetch-site": "same-origin", origin: `http://${host}` }, cookie)).toBe(200)
    expect(await raw({ origin: `http://${host}` }, cookie)).toBe(200)
    expect(await status({})).toBe(200)
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      expect(await status({ "content-type": type })).toBe(400)
    }
    expect(await raw({ "sec-fetch-site": "cross-site", authorization: `Basic ${btoa(`x:${admin}`)}` }, "", "/v1/signals")).toBe(403)
  })

  it("cannot be somebody else: no cookie but ours is one", async () => {
    const cookie = cookieOf(await ask("POST", paths.session, null, { key: read })).slice("fanfare=".length)
    const [text = "", mac = ""] = cookie.split(".")
    const forged = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(text, "base64url").toString()), role: "admin" })).toString(
      "base64url",
    )
    const { sessions } = await createAccess(keys)
    const now = Date.now()
    for (const bad of [`${forged}.${mac}`, `${text}.`, text, "", ".", `${text}.${mac.slice(1)}`, `.${mac}`]) {
      expect([bad, sessions?.recognise(bad, now)]).toEqual([bad, null])
    }
    expect(sessions?.recognise(cookie, now)?.person.role).toBe("read")
    fc.assert(fc.property(fc.string({ unit: "binary" }), (any) => sessions?.recognise(any, now) === null))
  })
})

// A browser sets these headers by itself; fetch does not let one.
function raw(headers: Record<string, string>, cookie: string, path: string = paths.signals): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(url + path, { method: "POST", headers: { "content-type": "application/json", cookie, ...headers } }, (answer) => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
    asked.on("error", reject)
    asked.end('{"signal":"s"}')
  })
}

describe("a login", () => {
  it("ends when idle, after its day, and when its key is taken away; until then it is renewed", async () => {
    const { sessions, keyOwner } = await createAccess(keys)
    const person = keyOwner(read)
    if (sessions === null || person === null) throw new Error("keys expected")
    const began = 1_800_000_000_000
    const first = sessions.begin(person, began)
    expect(sessions.recognise(first, began + limits.sessionRenewMs - 1)).toMatchObject({ person, renewed: null })
    expect(sessions.recognise(first, began + limits.sessionIdleMs + 1)).toBeNull()
    let cookie = first
    let at = began
    while (at + limits.sessionIdleMs < began + limits.sessionMs) {
      at += limits.sessionIdleMs
      const next = sessions.recognise(cookie, at)?.renewed
      expect(next).toBeTypeOf("string")
      cookie = next ?? ""
    }
    expect(sessions.recognise(cookie, began + limits.sessionMs + 1)).toBeNull()
    const rotated = await createAccess({ ...keys, signingKeys: ["ff".repeat(16), ...keys.signingKeys] })
    expect(rotated.sessions?.recognise(first, began)?.person).toEqual(person)
    expect((await createAccess({ ...keys, readKeys: [] })).sessions?.recognise(first, began)).toBeNull()
    expect((await createAccess({ ...keys, signingKeys: ["ff".repeat(16)] })).sessions?.recognise(first, began)).toBeNull()
  })

  it("is not tried for ever: wrong keys of one address are answered ever more slowly, right ones are not refused", async () => {
    const own = await createServer({ db: join(folder, "own.db"), http: { port: 0, ...keys }, logs: "none" })
    await own.start()
    const tries: (number | string | null)[] = []
    for (let i = 0; i < limits.wrongKeys + 3; i++) {
      const answer = await fetch(`${own.url}/api/v1/session`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: '{"key":"x"}',
      })
      tries.push(answer.status, answer.headers.get("retry-after"))
    }
    expect(tries.slice(0, 2)).toEqual([401, null])
    expect(tries.at(-2)).toBe(429)
    expect(Number(tries.at(-1))).toBeGreaterThan(0)
    for (const [method, path] of [
      ["GET", "/api/v1/runs"],
      ["POST", "/e/wrong-event-key"],
      ["GET", "/v1/runs/x"],
    ] as const) {
      const answer = await fetch(`${own.url}${path}`, {
        method,
        headers: { authorization: "Bearer wrong" },
        ...(method === "POST" ? { body: "{}" } : {}),
      })
      expect([path, answer.status]).toEqual([path, 429])
    }
    expect((await fetch(`${own.url}/api/v1/runs`, { headers: { authorization: `Bearer ${read}` } })).status).toBe(200)
    await own.stop()
    const wrong = new WrongKeys()
    for (let i = 0; i < limits.wrongKeys; i++) wrong.count("a", 0)
    expect(() => wrong.count("a", 0)).toThrow(expect.objectContaining({ code: "busy", bound: 3 }))
    wrong.count("b", 0)
    wrong.count("a", limits.wrongKeyMs)
    expect(() => wrong.count("a", limits.wrongKeyMs)).toThrow("too many wrong keys")
  })
})

describe("a server with keys", () => {
  it("answers each route to whom it is for, and to nobody else", { timeout: 60_000 }, async () => {
    const wrong: unknown[] = []
    for (const [name, path] of Object.entries(paths)) {
      for (const method of ["GET", "POST", "PATCH", "DELETE", "PUT"]) {
        if (path === paths.health || path === paths.session || (path === paths.stream && method === "GET")) continue
        const status = async (key: string | null): Promise<number> => {
          const answer = await ask(method, filled(path), key, {})
          await answer.body?.cancel()
          return answer.status
        }
        const reads = (method === "GET" && name !== "keys") || ((name === "runsCount" || name === "fanoutPlan") && method === "POST")
        for (const key of [null, "undefined", `${admin}x`, admin.slice(1)]) {
          const got = await status(key)
          if (got !== 401 && got !== 429) wrong.push([method, path, key, got])
        }
        const sends = path === paths.events && method === "POST"
        const byEventKey = await status(keys.eventKeys[0] ?? "")
        if (sends ? byEventKey !== 400 : byEventKey !== 401 && byEventKey !== 429) wrong.push([method, path, "event key", byEventKey])
        const byRead = await status(read)
        if (reads ? [401, 403, 429].includes(byRead) : byRead !== 403) wrong.push([method, path, "read", byRead])
      }
    }
    expect(wrong).toEqual([])
    for (const path of [
      "/api/v1/health",
      "/api/health/",
      "/api/v1/runs/health",
      "/api/v1/status/ready",
      "/api//health",
      "/api/v1/session/x",
    ]) {
      expect([path, (await ask("GET", path, null)).status]).toEqual([path, expect.toSatisfy((status) => status === 401 || status === 429)])
    }
    expect((await ask("GET", "/api/v1/status", admin)).status).toBe(200)
    const sdkRoutes = [
      "/v0/runs/x/batch",
      "/v0/runs/x/actions",
      "/v1/events",
      "/v1/events/x",
      "/v1/events/x/runs",
      "/v1/runs/x",
      "/v1/runs/x/jobs",
      "/v1/apps/shop/functions",
      "/v1/cancellations",
      "/v1/none",
    ].map((path) => ["GET", path] as const)
    const sdkCommands = [
      ...["/fn/register", "/invoke/shop-f", "/v1/signals", "/v1/cancellations", "/v1/checkpoint/x/async", "/v0/telemetry"].map(
        (path) => ["POST", path] as const,
      ),
      ...["/fn/remove", "/v0/runs/x", "/v1/runs/x", "/v1/cancellations/x"].map((path) => ["DELETE", path] as const),
    ]
    for (const [method, path] of [...sdkRoutes, ...sdkCommands]) {
      for (const key of [null, "undefined", read, keys.eventKeys[0] ?? ""]) {
        const { status } = await ask(method, path, key, {})
        if (status !== 401 && status !== 429) wrong.push([method, path, key, status])
      }
      const { status } = await ask(method, path, admin, {})
      if (status === 401 || status === 403 || status >= 500) wrong.push([method, path, "admin", status])
    }
    expect(wrong).toEqual([])
  })

  it("shows no payload to who may only look, whatever the route", async () => {
    let seen = 0
    for (const path of Object.values(paths)) {
      if (path === paths.stream || path === paths.fanoutWait) continue
      const [plain, hidden] = await Promise.all([admin, read].map(async (key) => (await ask("GET", filled(path), key)).text()))
      if (plain?.includes(secret) === true) seen++
      expect([path, hidden?.includes(secret)]).toEqual([path, false])
    }
    // The run, its event, its schedule and the list of these.
    expect(seen).toBe(4)
    const run = await (await ask("GET", `/api/v1/runs/${ids["run"]}`, read)).json()
    expect(run).toMatchObject({ state: "completed", data: '"(hidden)"', output: '"(hidden)"', logs: [], steps: [{ output: '"(hidden)"' }] })
  })

  it("tells admins their keys apart, and never what they are", async () => {
    const text = await (await ask("GET", paths.keys, admin)).text()
    const { items } = JSON.parse(text) as { items: KeySummary[] }
    expect(items.map(({ kind, signs }) => [kind, signs])).toEqual([
      ["signing", true],
      ["event", false],
      ["admin", false],
      ["read", false],
    ])
    const printed = createHash("sha256").update(`fanfare fingerprint ${read}`).digest("hex")
    expect(items[3]?.fingerprint).toBe(printed.slice(0, 8))
    const all = Object.values(keys).flat()
    expect(all.filter((key) => text.includes(key.slice(0, 12)) || text.includes(key.slice(-6)))).toEqual([])
    const prefixed = await createAccess({ ...keys, signingKeys: ["signkey-prod-ffeeddccbbaa99887766554433221100", ...keys.signingKeys] })
    expect(prefixed.keys.slice(0, 2)).toMatchObject([{ signs: true }, { signs: false, fingerprint: items[0]?.fingerprint }])
  })

  it("refuses keys that are none", async () => {
    for (const [more, field] of [
      [{ adminKeys: ["short"] }, "adminKeys"],
      [{ readKeys: ["x".repeat(31)] }, "readKeys"],
      [{ signingKeys: [] }, "signingKeys"],
      [{ eventKeys: [] }, "eventKeys"],
    ] as const) {
      await expect(createAccess({ ...keys, ...more })).rejects.toMatchObject({ code: "invalid_option", field })
    }
    await expect(createAccess({ readKeys: keys.readKeys })).rejects.toMatchObject({ field: "signingKeys" })
  })
})

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { compileCondition } from "../../src/core/expression.ts"
import { Telemetry } from "../../src/engine/telemetry.ts"
import { Fanfare } from "../../src/index.ts"
import { createServer } from "../../src/server.ts"
import { createAccess } from "../../src/server/access.ts"
import { type ApiParts, createApi } from "../../src/server/api.ts"
import { printable } from "../../src/server/console.ts"

// Threats of docs/security.md that no other test is about.
const folder = mkdtempSync(join(tmpdir(), "fanfare-threats-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const keys = {
  signingKeys: ["00112233445566778899aabbccddeeff"],
  eventKeys: ["event-key-0123456789"],
  adminKeys: ["admin-key-0123456789-0123456789ab"],
  readKeys: ["read-key-0123456789-0123456789abc"],
}
const all = Object.values(keys).flat()

describe("keys", () => {
  it("stand in no log, no answer and no file, whatever is done with them", async () => {
    const written: string[] = []
    const write = process.stdout.write.bind(process.stdout)
    process.stdout.write = (chunk: string | Uint8Array) => (written.push(String(chunk)), true)
    const answers: string[] = []
    try {
      const app = new Fanfare({ id: "shop" })
      app.createFunction({ id: "f", triggers: [{ event: "shop/go" }], retries: 0 }, ({ logger }) => {
        logger.info("it runs")
        throw new Error("no")
      })
      const server = await createServer({ client: app, db: join(folder, "keys.db"), http: { port: 0, ...keys }, logs: "json" })
      await server.start()
      const json = { "content-type": "application/json" }
      const tried: [string, RequestInit][] = [
        ...all.map((key): [string, RequestInit] => [`/e/${key}`, { method: "POST", headers: json, body: '{"name":"shop/go"}' }]),
        ...all.map((key): [string, RequestInit] => ["/api/v1/runs", { headers: { authorization: `Bearer ${key}` } }]),
        ...all.map((key): [string, RequestInit] => ["/api/v1/session", { method: "POST", headers: json, body: JSON.stringify({ key }) }]),
        ["/api/v1/status", { headers: { authorization: `Bearer ${keys.adminKeys[0]}` } }],
        ["/api/v1/nothing", { headers: { authorization: `Bearer ${keys.adminKeys[0]}` } }],
        ["/e/wrong-0123456789", { method: "POST", headers: json, body: "{" }],
      ]
      for (const [path, init] of tried) {
        const answer = await fetch(`${server.url}${path}`, init)
        answers.push(JSON.stringify([...answer.headers]), await answer.text())
      }
      await server.stop()
    } finally {
      process.stdout.write = write
    }
    expect(written.join("")).toContain("it runs")
    const files = readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1"))
    for (const text of [written.join(""), answers.join(""), ...files]) expect(all.filter((key) => text.includes(key))).toEqual([])
    expect(readdirSync(folder).map((name) => statSync(join(folder, name)).mode & 0o077)).toEqual(readdirSync(folder).map(() => 0))
  })
})

describe("an error inside the server", () => {
  it("is answered without what it was", async () => {
    const secret = "ENOENT /var/lib/secret at store.ts:12"
    const fails = (): never => {
      throw new Error(secret)
    }
    const parts = {
      engine: { telemetry: new Telemetry(), intake: { functions: { list: fails }, send: fails }, registry: { definitions: new Map() } },
      reader: { runs: fails, run: fails },
      access: await createAccess({}),
      stream: { touched: () => undefined },
      eventRates: { take: () => undefined },
      apps: {},
    } as unknown as ApiParts
    const api = createApi(parts)
    for (const [method, path] of [
      ["GET", "/api/v1/runs"],
      ["GET", "/api/v1/functions"],
      ["POST", "/api/v1/events"],
      ["GET", "/v1/runs/x"],
      ["POST", "/e/any"],
    ] as const) {
      const body = method === "POST" ? { body: '{"name":"a/b"}', headers: { "content-type": "application/json" } } : {}
      const answer = await api.request(`http://127.0.0.1${path}`, { method, ...body })
      const text = await answer.text()
      expect([path, answer.status, text]).toEqual([path, 500, expect.stringContaining("something went wrong inside Fanfare")])
      expect(text).not.toMatch(/ENOENT|store\.ts|secret|at /)
    }
  })
})

describe("an expression", () => {
  it("cannot take long, however it is written and whatever the event is", () => {
    const list = Array.from({ length: 2_000 }, (_, i) => i)
    const event = {
      name: "a",
      id: "i",
      ts: 0,
      data: { list, text: "a".repeat(400_000), short: "x".repeat(80), deep: list.map((n) => ({ n })) },
    }
    const costly = [
      "event.data.list.all(a, event.data.list.all(b, event.data.list.all(c, a + b + c >= 0)))",
      "event.data.list.exists(a, event.data.list.exists(b, a + b < 0))",
      "event.data.text.matches('^[a-z]*[a-z]*[a-z]*[0-9]$')",
      "event.data.text.matches('a*a*a*a*a*b')",
      "event.data.list.exists(a, event.data.short.matches('x*x*x*y'))",
      `${"event.data.text + ".repeat(200)}event.data.text == ''`,
      `${"(".repeat(300)}true${")".repeat(300)}`,
      "event.data.deep.filter(a, event.data.deep.map(b, b.n).size() > a.n).size() > 0",
    ]
    for (const source of costly) {
      const before = process.cpuUsage()
      try {
        compileCondition(source, "if")(event)
      } catch {
        // Refused is as good.
      }
      expect([source.slice(0, 60), process.cpuUsage(before).user < 400_000]).toEqual([source.slice(0, 60), true])
    }
  })
})

describe("names that prototypes have", () => {
  it("are data in events and nothing else", async () => {
    const got: unknown[] = []
    const app = new Fanfare({ id: "shop" })
    app.createFunction({ id: "f", triggers: [{ event: "shop/go" }] }, ({ event }) => void got.push({ ...event.data }))
    const server = await createServer({ client: app, db: join(folder, "proto.db"), http: { port: 0 }, logs: "none" })
    await server.start()
    for (const path of ["/e/key", "/api/v1/events"]) {
      const body =
        '{"name":"shop/go","data":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"a":{"__proto__":{"polluted":1}}}}'
      await fetch(`${server.url}${path}`, { method: "POST", headers: { "content-type": "application/json" }, body })
    }
    for (const id of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect([
        id,
        (
          await fetch(`${server.url}/api/v1/functions/${id}/pause`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: "{}",
          })
        ).status,
      ]).toEqual([id, 404])
    }
    await server.stop()
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined()
    expect(Object.getPrototypeOf(got[0] ?? {})).toBe(Object.prototype)
  })
})

describe("text for a terminal", () => {
  it("has no character that a terminal obeys", () => {
    for (const text of ["\u001b[2J", "\u001b]0;title\u0007", "a\u0008b", "\u009b31m", "\r\u001b[A"]) {
      // oxlint-disable-next-line no-control-regex -- control characters are exactly what must not be there
      expect(printable(text)).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/)
    }
  })
})

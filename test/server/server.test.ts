import { mkdtempSync, rmSync } from "node:fs"
import { get } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { createServer, type FanfareServer, type ServerOptions } from "../../src/server.ts"
import { sqlite } from "../../src/sqlite.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-server-"))
let files = 0
const file = (): string => join(folder, `${files++}.db`)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function started(app: Fanfare, db: string, more: Partial<ServerOptions> = {}): Promise<FanfareServer> {
  const server = await createServer({ client: app, db: sqlite(db), logs: "none", http: { port: 0 }, ...more })
  await server.start()
  return server
}

interface Listed {
  readonly items: readonly { id: string; state: string; attempt: number; error: { name: string } | null }[]
}
const runs = async (server: FanfareServer): Promise<Listed["items"]> =>
  ((await (await fetch(`${server.url}/api/v1/runs?limit=500`)).json()) as Listed).items

describe("a server that stops", () => {
  it("lets running attempts end, hands the rest back uncounted, and loses nothing", { timeout: 30_000 }, async () => {
    const db = file()
    const app = new Fanfare({ id: "app" })
    let begun = 0
    let ended = 0
    app.createFunction({ id: "slow", triggers: [{ event: "app/slow" }] }, async () => {
      begun++
      await delay(150)
      ended++
    })
    const first = await started(app, db, { concurrency: 5 })
    await app.send(Array.from({ length: 40 }, () => ({ name: "app/slow" })))
    while (begun < 5) await delay(5)
    await first.stop()
    expect(ended).toBe(begun)
    expect(begun).toBeLessThan(40)
    const second = await started(app, db, { concurrency: 40 })
    while (ended < 40) await delay(10)
    await delay(50)
    const all = await runs(second)
    expect(all.map(({ state, attempt }) => [state, attempt])).toEqual(Array.from({ length: 40 }, () => ["completed", 1]))
    await second.stop()
    expect(begun).toBe(40)
  })

  it("aborts what outlives its grace and hands it back too", async () => {
    const db = file()
    const app = new Fanfare({ id: "app" })
    let lives = 0
    let aborted = 0
    app.createFunction({ id: "stuck", triggers: [{ event: "app/stuck" }] }, ({ signal }) => {
      signal.addEventListener("abort", () => aborted++)
      return ++lives === 1 ? new Promise(() => {}) : "free"
    })
    const first = await started(app, db, { stopGrace: 50 })
    await app.send({ name: "app/stuck" })
    while (lives < 1) await delay(5)
    await first.stop()
    expect(aborted).toBe(1)
    const second = await started(app, db)
    while ((await runs(second))[0]?.state !== "completed") await delay(5)
    await second.stop()
  })

  it("takes no more events, and frees its file", async () => {
    const db = file()
    const app = new Fanfare({ id: "app" })
    const server = await started(app, db)
    await expect(createServer({ client: app, db }).then((other) => other.start())).rejects.toMatchObject({
      code: "store_in_use",
      message: expect.stringContaining(`process ${process.pid}`),
    })
    await expect(server.start()).rejects.toMatchObject({ code: "invalid_option" })
    await server.stop()
    await server.stop()
    await expect(app.send({ name: "x" })).rejects.toMatchObject({ code: "not_connected" })
    const again = await started(app, db)
    await again.stop()
  })
})

describe("a server that starts", () => {
  const app = new Fanfare({ id: "app" })
  const bad: readonly [string, unknown, string][] = [
    ["an unknown option", { client: app, port: 1 }, "port"],
    ["concurrency 0", { client: app, concurrency: 0 }, "concurrency"],
    ["a retention below a day", { client: app, retentionDays: 0.5 }, "retentionDays"],
    ["a grace that is no duration", { client: app, stopGrace: "soon" }, "stopGrace"],
    ["a port that is none", { client: app, http: { port: 70_000 } }, "http.port"],
    ["a client that is no app", { client: [app, app.createFunction({ id: "f", triggers: [] }, () => null)] }, "client[1]"],
    ["two apps of one id", { client: [app, new Fanfare({ id: "app" })] }, "client"],
  ]
  it.each(bad)("refuses %s, naming it", async (_, options, field) => {
    await expect(createServer(options as ServerOptions)).rejects.toMatchObject({ code: "invalid_option", field })
  })

  it("says which port is taken, and leaves the file free", async () => {
    const db = file()
    const first = await started(app, file())
    const port = Number(new URL(first.url ?? "").port)
    const second = await createServer({ client: new Fanfare({ id: "other" }), db, http: { port }, logs: "none" })
    await expect(second.start()).rejects.toMatchObject({ field: "http.port", message: expect.stringContaining(`port ${port} is in use`) })
    const third = await started(new Fanfare({ id: "third" }), db)
    await third.stop()
    await first.stop()
  })

  it("refuses two functions of one id, and a thousand and first", () => {
    const own = new Fanfare({ id: "own" })
    own.createFunction({ id: "f", triggers: [] }, () => null)
    expect(() => own.createFunction({ id: "f", triggers: [] }, () => null)).toThrow('two functions share the id "f"')
    for (let i = 1; i < 1_000; i++) own.createFunction({ id: `f${i}`, triggers: [] }, () => null)
    expect(() => own.createFunction({ id: "last", triggers: [] }, () => null)).toThrow("1000 functions already")
    expect(() => new Fanfare({ id: "no spaces" })).toThrow("is not an id")
  })

  it("answers only those who call it by a local name", async () => {
    const server = await started(app, file())
    const port = new URL(server.url ?? "").port
    const status = await new Promise<number | undefined>((resolve) => {
      get({ host: "127.0.0.1", port, path: "/api/health", headers: { host: "evil.example" } }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
    })
    expect(status).toBe(400)
    await server.stop()
  })

  it("keeps the other runs going while one blocks the event loop, and says who it was", { timeout: 30_000 }, async () => {
    const own = new Fanfare({ id: "own" })
    own.createFunction({ id: "blocks", triggers: [{ event: "own/go" }] }, () => {
      const until = Date.now() + 2_500
      while (Date.now() < until);
      return "done"
    })
    own.createFunction({ id: "others", triggers: [{ event: "own/go" }] }, () => "done")
    const server = await started(own, file())
    await own.send({ name: "own/go" })
    while ((await runs(server)).some(({ state }) => state !== "completed")) await delay(20)
    expect((await runs(server)).map(({ attempt }) => attempt)).toEqual([1, 1])
    await server.stop()
  })
})

import { setTimeout as delay } from "node:timers/promises"
import { fork } from "node:child_process"
import { once } from "node:events"
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Inngest } from "inngest"
import { connect } from "inngest/connect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { postgres } from "../../src/postgres.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"
import { startPostgres, type TestServer } from "../store/postgres.ts"
import { listen } from "./events.ts"
import { quiet } from "./sdk-apps.ts"

let database: TestServer
beforeAll(async () => {
  database = await startPostgres()
})
afterAll(() => database.stop())

const running: FanfareServer[] = []
async function start(app: Fanfare, url: string, keys: object = {}): Promise<FanfareServer> {
  const server = await createServer({ client: app, db: postgres(url), logs: "none", http: { port: 0, ...keys }, stopGrace: "1s" })
  await server.start()
  running.push(server)
  return server
}
afterAll(async () => void (await Promise.all(running.map((server) => server.stop()))))

async function get<T>(server: FanfareServer, path: string): Promise<T> {
  return (await (await fetch(`${server.url}/api/v1/${path}`)).json()) as T
}

async function until(condition: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const end = performance.now() + ms
  while (performance.now() < end) {
    if (await condition()) return
    await delay(10)
  }
  expect.unreachable("it did not come about")
}

describe("nodes on one PostgreSQL", () => {
  it("call an app that registered with another of them, also when that one is gone", async () => {
    const url = await database.database()
    const called: string[] = []
    const app = createHttp((request, response) => {
      called.push(request.headers["x-run-id"] as string)
      response.writeHead(200, { "x-inngest-sdk": "test" }).end("1")
    })
    await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve))
    const here = `http://127.0.0.1:${(app.address() as AddressInfo).port}/`
    const first = await start(new Fanfare({ id: "first" }), url)
    const second = await start(new Fanfare({ id: "second" }), url)
    const fn = { id: "shop-fn", triggers: [{ event: "shop/sold" }], steps: { step: { runtime: { type: "http", url: here } } } }
    const post = (server: FanfareServer, path: string, body: unknown): Promise<Response> =>
      fetch(`${server.url}${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
    expect((await post(first, "/fn/register", { url: here, appName: "shop", functions: [fn] })).status).toBe(200)
    await first.stop()
    expect((await post(second, "/e/key", { name: "shop/sold" })).status).toBe(200)
    await until(() => called.length === 1)
    app.close()
    app.closeAllConnections()
  })

  it("have a worker's app run by the one that it has connected to, whoever is told of the event", async () => {
    const url = await database.database()
    const first = await start(new Fanfare({ id: "first" }), url)
    const second = await start(new Fanfare({ id: "second" }), url)
    const client = new Inngest({ id: "demo", isDev: true, baseUrl: second.url ?? "", logger: quiet })
    const work = client.createFunction({ id: "work", triggers: [{ event: "t/work" }] }, () => "done")
    const worker = await connect({ apps: [{ client, functions: [work] }], isolateExecution: false, handleShutdownSignals: [] })
    const headers = { "content-type": "application/json" }
    await until(async () => {
      const { items } = await get<{ items: { functionIds: string[]; workers: number; error: string | null }[] }>(first, "apps")
      return items[0]?.functionIds[0] === "demo-work" && items[0].workers === 0 && items[0].error === null
    })
    await fetch(`${first.url}/e/any`, { method: "POST", headers, body: '{"name":"t/work"}' })
    await until(async () => (await get<{ items: { state: string }[] }>(first, "runs")).items[0]?.state === "completed")
    await worker.close()
    for (const server of [first, second]) await server.stop()
  })

  it("keep what an app tells of steps, whichever of them it tells", async () => {
    const url = await database.database()
    const first = await start(new Fanfare({ id: "first" }), url)
    const second = await start(new Fanfare({ id: "second" }), url)
    const post = (server: FanfareServer, path: string, body: unknown): Promise<Response> =>
      fetch(`${server.url}${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
    const told: number[] = []
    const memos: string[][] = []
    const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      let text = ""
      for await (const chunk of request) text += String(chunk)
      const { ctx, steps } = JSON.parse(text) as { ctx: { run_id: string; qi_id: string }; steps: object }
      memos.push(Object.keys(steps).toSorted())
      const step = (id: string): object => ({ id, op: "StepRun", name: id, data: id })
      const tell = async (server: FanfareServer, id: string, item = ctx.qi_id): Promise<void> =>
        void told.push((await post(server, `/v1/checkpoint/${ctx.run_id}/async`, { qi_id: item, steps: [step(id)] })).status)
      const isFirst = memos.length === 1
      if (isFirst) {
        await tell(first, "a")
        await tell(second, "b")
        // Of a claim that does not hold any more.
        await tell(first, "c", `9.${Number(ctx.qi_id.split(".")[1]) + 1}`)
      }
      const ops = isFirst ? [{ id: "nap", op: "Sleep", name: "1s" }] : [{ id: "complete", op: "RunComplete", data: "end" }]
      response.writeHead(206, { "x-inngest-sdk": "js:v4.24.0", "x-inngest-req-version": "2" }).end(JSON.stringify(ops))
    }
    const app = createHttp((request, response) => void answer(request, response))
    await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve))
    const here = `http://127.0.0.1:${(app.address() as AddressInfo).port}/`
    const fn = { id: "shop-fn", triggers: [{ event: "shop/sold" }], steps: { step: { runtime: { type: "http", url: here } } } }
    expect((await post(first, "/fn/register", { url: here, appName: "shop", sdk: "js:v4.24.0", functions: [fn] })).status).toBe(200)
    await until(async () => (await get<{ items: object[] }>(second, "functions")).items.length > 0)
    await post(first, "/e/key", { name: "shop/sold" })
    await until(async () => (await get<{ items: { state: string }[] }>(first, "runs")).items[0]?.state === "completed")
    expect(told).toEqual([200, 200, 409])
    expect(memos).toEqual([[], ["a", "b", "nap"]])
    app.close()
    app.closeAllConnections()
  })

  it("refuse a login that was ended on another of them", async () => {
    const url = await database.database()
    const keys = { signingKeys: ["00112233445566778899aabbccddeeff"], eventKeys: ["event-key-0123456789"] }
    const [first, second] = await Promise.all([1, 2].map(() => start(new Fanfare({ id: "shop" }), url, keys)))
    if (first === undefined || second === undefined) throw new Error("two servers expected")
    const session = (server: FanfareServer, method: string, cookie: string, body?: object): Promise<Response> =>
      fetch(`${server.url}/api/v1/session`, {
        method,
        headers: { "content-type": "application/json", cookie },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    const login = async (): Promise<string> =>
      (await session(first, "POST", "", { key: keys.signingKeys[0] })).headers.get("set-cookie")?.split(";")[0] ?? ""
    const runs = async (cookie: string): Promise<number[]> =>
      Promise.all([first, second].map(async ({ url: at }) => (await fetch(`${at}/api/v1/runs`, { headers: { cookie } })).status))
    const [ended, other] = [await login(), await login()]
    expect(await runs(ended)).toEqual([200, 200])
    await session(second, "DELETE", ended)
    expect([await runs(ended), await runs(other)]).toEqual([
      [401, 401],
      [200, 200],
    ])
  })

  it("tell who listens to one of them what the others do", async () => {
    const url = await database.database()
    const jobs = new Fanfare({ id: "jobs" })
    jobs.createFunction({ id: "f", triggers: [{ event: "jobs/go" }] }, () => null)
    await start(jobs, url)
    const web = await start(new Fanfare({ id: "web" }), url)
    const listening = await listen(web.url ?? "")
    await until(() => listening.heard.length > 0)
    const { fanoutId } = await jobs.send([{ name: "jobs/go" }, { name: "jobs/go" }])
    await until(() => listening.heard.slice(1).some(({ change }) => change.runs && change.fanouts.includes(fanoutId ?? "")))
    await until(() => listening.heard.slice(1).some(({ change }) => change.functions === "all"))
    listening.close()
  })

  it("host different functions: each runs where its code is, also one that a sender had never heard of", async () => {
    const url = await database.database()
    const web = new Fanfare({ id: "web" })
    const webServer = await start(web, url)
    const ran: string[] = []
    const jobs = new Fanfare({ id: "jobs" })
    jobs.createFunction({ id: "late", triggers: [{ event: "shop/sold" }] }, () => void ran.push("late"))
    const jobsServer = await start(jobs, url)
    const began = performance.now()
    await web.send({ name: "shop/sold" })
    await until(() => ran.length === 1)
    // A bell, not the next look of a second later.
    expect(performance.now() - began).toBeLessThan(900)
    const { items } = await get<{ items: { functionIds: string[]; alive: boolean }[] }>(webServer, "nodes")
    expect(items.map(({ functionIds, alive }) => [functionIds, alive])).toEqual(
      expect.arrayContaining([
        [[], true],
        [["jobs-late"], true],
      ]),
    )
    await jobsServer.stop()
  })

  it("park runs whose function nobody hosts, show it, and go on when somebody does", async () => {
    const url = await database.database()
    const sender = new Fanfare({ id: "sender" })
    const ran: number[] = []
    const worker = (): Fanfare => {
      const app = new Fanfare({ id: "worker" })
      app.createFunction({ id: "work", triggers: [{ event: "x/work" }] }, ({ event }) => void ran.push(Number(event.data["i"])))
      return app
    }
    const first = await start(worker(), url)
    const senderServer = await start(sender, url)
    await first.stop()
    await sender.send({ name: "x/work", data: { i: 1 } })
    await delay(300)
    const [run] = (await get<{ items: { state: string; reason: string; attempt: number }[] }>(senderServer, "runs")).items
    expect(run).toMatchObject({ state: "ready", attempt: 0, reason: "parked: no live node hosts its function" })
    await start(worker(), url)
    await until(() => ran.length === 1)
  })

  it("may run an old and a new version side by side: steps are matched by their ids, and what does not fit is reported", async () => {
    const url = await database.database()
    const ran: string[] = []
    const version = (name: string, second: string): Fanfare => {
      const app = new Fanfare({ id: "shop" })
      app.createFunction({ id: "order", triggers: [{ event: "shop/order" }] }, async ({ step }) => {
        await step.run("charge", () => void ran.push(`${name} charge`))
        await step.sleep("a moment", 400)
        await step.run(second, () => void ran.push(`${name} ${second}`))
        return name
      })
      app.createFunction({ id: "changed", triggers: [{ event: "shop/changed" }], retries: 0 }, async ({ step }) => {
        if (name === "old") {
          await step.run("same id", () => 1)
          await step.sleep("nap", 400)
        } else await step.sleep("same id", 10)
      })
      return app
    }
    const old = version("old", "ship")
    const oldServer = await start(old, url)
    await old.send([{ name: "shop/order" }, { name: "shop/changed" }])
    await until(() => ran.length === 1)
    await oldServer.stop()
    const newServer = await start(version("new", "deliver"), url)
    await until(() => ran.length === 2)
    expect(ran).toEqual(["old charge", "new deliver"])
    let failed: { error: { name: string; message: string } } | undefined
    await until(async () => {
      failed = (await get<{ items: { error: { name: string; message: string } }[] }>(newServer, "runs?state=failed")).items[0]
      return failed !== undefined
    })
    expect(failed?.error.message).toMatch(/"same id" was kept as a run by an earlier attempt .* step\.sleep/)
  })

  it("keep a node alive whose user code blocks its event loop, and take over from one that is frozen", { timeout: 40_000 }, async () => {
    const url = await database.database()
    const child = fork(new URL("./blocking-node.ts", import.meta.url), [url], { execArgv: ["--disable-warning=ExperimentalWarning"] })
    await once(child, "message")
    const ran: string[] = []
    const app = new Fanfare({ id: "blocked" })
    app.createFunction(
      { id: "block", triggers: [{ event: "b/block" }], retries: 5 },
      ({ event }) => void ran.push(String(event.data["what"])),
    )
    child.send({ what: "block" })
    await once(child, "message")
    const server = await start(app, url)
    // The child's event loop stands still for 7 s; its runs stay its own.
    await delay(6_500)
    expect(ran).toEqual([])
    await once(child, "message")
    child.kill("SIGSTOP")
    await delay(100)
    await app.send({ name: "b/block", data: { what: "mine" } })
    await until(() => ran.includes("mine"))
    child.kill("SIGCONT")
    child.kill("SIGKILL")
    await server.stop()
  })

  it("decide by the database's time, however wrong their own clocks are", { timeout: 30_000 }, async () => {
    const url = await database.database()
    const { Engine } = await import("../../src/engine/engine.ts")
    const { systemClock, systemRandom } = await import("../../src/engine/system.ts")
    const { localTransport } = await import("../../src/transport/local.ts")
    const ends: { skew: number; at: number }[] = []
    const engines = await Promise.all(
      [-300_000, 300_000].map(async (skew) => {
        const app = new Fanfare({ id: "skewed" })
        app.createFunction({ id: "sleepy", triggers: [{ event: "s/sleepy" }], retries: 3 }, async ({ step, attempt }) => {
          await step.sleep("a second", 1_000)
          if (attempt === 0) throw new Error("again")
          ends.push({ skew, at: Date.now() })
        })
        const opened = await postgres(url).open(systemClock)
        const engine = new Engine({
          store: opened.store,
          reader: opened.reader,
          listen: opened.listen,
          exclusive: false,
          apps: [app],
          transport: localTransport([app]),
          clock: { now: () => Date.now() + skew, after: systemClock.after },
          random: systemRandom,
          host: `skew ${skew}`,
          pid: 1,
        })
        await engine.start()
        return { app, engine, opened, skew }
      }),
    )
    await delay(1_500)
    // Neither takes the other for dead, and what one sends is due for both.
    const sent = Date.now()
    await Promise.all(engines.flatMap(({ app }) => Array.from({ length: 5 }, () => app.send({ name: "s/sleepy" }))))
    const reader = engines[0]?.opened.reader
    const completed = async (): Promise<number> => (await reader?.runs({ state: "completed" }))?.items.length ?? 0
    // A second's sleep and a retry after a second and a half at most: nobody waits five minutes, and nobody wakes at once.
    await until(async () => (await completed()) === 10, 8_000)
    expect(Math.min(...ends.map(({ at }) => at)) - sent).toBeGreaterThan(1_900)
    expect((await reader?.nodes())?.map(({ alive }) => alive)).toEqual([true, true])
    for (const { engine, opened } of engines) {
      await engine.stop()
      await opened.reader.close()
      await opened.store.close()
    }
  })
})

import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import fc from "fast-check"
import { Inngest } from "inngest"
import { connect } from "inngest/connect"
import { afterAll, afterEach, describe, expect, it } from "vitest"
import { WebSocket } from "ws"
import { limits } from "../../src/core/limits.ts"
import type { RunSummary } from "../../src/core/views.ts"
import { type AppSummary, paths } from "../../src/protocol/api.ts"
import { connectProtocol, readReply, readWorkerMessage } from "../../src/protocol/connect.ts"
import { ProtocolError } from "../../src/protocol/ops.ts"
import { readMessage, writeMessage } from "../../src/protocol/protobuf.ts"
import { createServer, type FanfareServer, type ServerOptions } from "../../src/server.ts"
import { workApp } from "./connect-worker.ts"
import { quiet } from "./sdk-apps.ts"
import { until } from "./sdk-suite.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-connect-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const started: Pick<FanfareServer, "stop">[] = []
afterEach(async () => void (await Promise.all(started.splice(0).map((server) => server.stop()))))
let stores = 0
const signingKey = "00112233445566778899aabbccddeeff"
const keys = { signingKeys: [signingKey], eventKeys: ["an-event-key-of-tests"] }

async function start(http: Partial<ServerOptions["http"]> = {}): Promise<FanfareServer & { readonly url: string }> {
  const server = await createServer({ db: join(folder, `${++stores}.db`), http: { port: 0, ...http }, logs: "none", stopGrace: "5s" })
  await server.start()
  started.push(server)
  return server as FanfareServer & { readonly url: string }
}

async function get<T>(url: string, path: string): Promise<T> {
  return (await (await fetch(url + path)).json()) as T
}

const apps = async (url: string): Promise<readonly AppSummary[]> => (await get<{ items: AppSummary[] }>(url, paths.apps)).items
const runs = async (url: string): Promise<readonly RunSummary[]> => (await get<{ items: RunSummary[] }>(url, paths.runs)).items

function send(url: string, name: string, data: object = {}): Promise<Response> {
  return fetch(`${url}/e/any`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name, data }) })
}

function begin(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  return fetch(`${url}/v0/connect/start`, { method: "POST", headers: { "content-type": "application/protobuf", ...headers }, body: "" })
}

const inThisThread = { isolateExecution: false, handleShutdownSignals: [] }
const kinds = { connect: 1, ready: 4, ack: 5, reply: 6, extend: 12 }

/** A worker that says what a test wants. */
class HandMade {
  readonly socket: WebSocket
  /** Kinds and contents of what it was told. */
  readonly heard: [kind: number, payload: Uint8Array][] = []
  closed: [code: number, reason: string] | null = null

  constructor(gateway: string, headers: Readonly<Record<string, string>> = {}) {
    this.socket = new WebSocket(gateway, [connectProtocol], { headers })
    this.socket.on("message", (data: Buffer) => {
      const message = readMessage(data)
      this.heard.push([message.number(1), message.bytes(2)])
    })
    this.socket.on("close", (code, reason) => void (this.closed = [code, reason.toString()]))
    this.socket.on("error", () => undefined)
  }

  /** One that has connected in earnest, with a function `hand-f` for `hand/go`. */
  static async of(url: string, { token, functions = ["f"] }: { token?: string; functions?: readonly string[] } = {}): Promise<HandMade> {
    const answer = readMessage(new Uint8Array(await (await begin(url)).arrayBuffer()))
    const worker = new HandMade(answer.text(2))
    await worker.hears(0)
    const steps = { step: { runtime: { type: "ws", url: "wss://x" } } }
    const all = functions.map((name) => ({ id: `hand-${name}`, triggers: [{ event: name === "f" ? "hand/go" : `hand/${name}` }], steps }))
    const app = writeMessage({ 1: "hand", 4: JSON.stringify(all) })
    worker.say(kinds.connect, {
      1: answer.text(1),
      3: writeMessage({ 1: token ?? answer.text(4) }),
      5: app,
      6: 1,
      11: "v4.0.0",
      12: "typescript",
    })
    return worker
  }

  say(kind: number, payload: Parameters<typeof writeMessage>[0] = {}): void {
    this.socket.send(writeMessage({ 1: kind, 2: writeMessage(payload) }))
  }

  /** Waits for a message of this kind. */
  hears(kind: number): Promise<Uint8Array> {
    return until(async () => this.heard.find(([each]) => each === kind)?.[1], `a message of the kind ${kind}`, 30)
  }

  /** Waits until the connection is closed; gives why. */
  ends(): Promise<[code: number, reason: string]> {
    return until(async () => this.closed, "the end of a connection", 30)
  }
}

describe("a worker", { timeout: 120_000 }, () => {
  it("takes no more requests than it says, and the other runs stay in line", async () => {
    const { url } = await start()
    let busy = 0
    let most = 0
    let open: () => void = () => undefined
    const gate = new Promise<void>((resolve) => (open = resolve))
    const client = new Inngest({ id: "demo", isDev: true, baseUrl: url, logger: quiet })
    const work = client.createFunction({ id: "work", triggers: [{ event: "t/work" }] }, async () => {
      most = Math.max(most, ++busy)
      await gate
      busy--
    })
    const worker = await connect({ apps: [{ client, functions: [work] }], maxWorkerConcurrency: 2, ...inThisThread })
    await client.send(Array.from({ length: 10 }, () => ({ name: "t/work" })))
    await until(async () => busy === 2, "the first runs", 30)
    expect((await runs(url)).map(({ state }) => state).toSorted()).toEqual([...Array<string>(8).fill("ready"), "running", "running"])
    open()
    await until(async () => (await runs(url)).every(({ state }) => state === "completed"), "the end of all", 30)
    expect(most).toBe(2)
    expect(await apps(url)).toMatchObject([{ id: "demo", workers: 1, error: null, functionIds: ["demo-work"] }])
    await worker.close()
    await until(async () => (await apps(url))[0]?.workers === 0, "the worker's leave")
    await client.send({ name: "t/work" })
    expect((await runs(url))[0]?.state).toBe("ready")
    await until(async () => (await apps(url))[0]?.error === "no worker is connected", "the word of its leave")
  })

  it("that is killed in the middle of a run loses nothing: another one goes on with it", async () => {
    const { url } = await start()
    const said: unknown[] = []
    const child = fork(fileURLToPath(new URL("connect-worker.ts", import.meta.url)), [url], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    })
    started.push({ stop: async () => void child.kill("SIGKILL") })
    child.on("message", (what) => void said.push(what))
    await until(async () => said.includes("connected"), "the first worker", 30)
    await send(url, "t/work", { ms: 10_000 })
    await until(async () => said.includes("during"), "the step", 30)
    const other = await connect({ apps: [workApp(url, "two", () => said.push("two"))], ...inThisThread })
    child.kill("SIGKILL")
    const ended = async (n: number): Promise<RunSummary | undefined> => {
      const all = await runs(url)
      return all.length === n && all.every(({ endedAt }) => endedAt !== null) ? all[0] : undefined
    }
    const run = await until(() => ended(1), "the end of the run", 30)
    const { output } = await get<{ output: string }>(url, `/api/v1/runs/${run.id}`)
    expect([run.state, JSON.parse(output)]).toEqual(["completed", ["one", "two", 0]])
    // It ends what it has before it goes.
    await send(url, "t/work", { ms: 300 })
    await until(async () => said.filter((what) => what === "two").length === 2, "the second run", 30)
    await other.close()
    expect(await until(() => ended(2), "its end", 30)).toMatchObject({ state: "completed", attempt: 1 })
  })

  it("whose connection breaks goes on over another one; its old version changes nothing while the new one is connected", async () => {
    const { url } = await start()
    const one = await HandMade.of(url)
    await one.hears(2)
    one.say(kinds.ready)
    await send(url, "hand/go")
    const request = readMessage(await one.hears(3))
    one.say(kinds.ack, { 1: request.text(1) })
    const next = await HandMade.of(url, { functions: ["f", "g"] })
    await next.hears(2)
    one.socket.terminate()
    const back = await HandMade.of(url)
    await back.hears(2)
    expect((await apps(url))[0]).toMatchObject({ functionIds: ["hand-f", "hand-g"], workers: 2 })
    back.say(kinds.extend, { 1: request.text(1), 10: request.text(13) })
    expect(readMessage(await back.hears(13)).text(6)).toBe(request.text(13))
    const reply = writeMessage({ 1: request.text(1), 5: 1, 6: "7", 9: "x", 10: 2 })
    const headers = { "content-type": "application/protobuf" }
    const flushed = await fetch(`${url}/v0/connect/flush`, { method: "POST", headers, body: reply })
    expect(readMessage(new Uint8Array(await flushed.arrayBuffer())).text(1)).toBe(request.text(1))
    await until(async () => (await runs(url))[0]?.state === "completed", "the run")
    expect((await runs(url))[0]).toMatchObject({ attempt: 1 })
    back.say(kinds.extend, { 1: request.text(1), 10: request.text(13) })
    await until(async () => back.heard.some(([kind, said]) => kind === 13 && readMessage(said).text(6) === ""), "the word that it is over")
  })

  it("is let go when the server stops: with what it has under way to the end, and told to go elsewhere", async () => {
    const server = await start()
    const [busy, idle] = [await HandMade.of(server.url), await HandMade.of(server.url)]
    for (const each of [busy, idle]) await each.hears(2)
    busy.say(kinds.ready)
    await until(async () => (await send(server.url, "hand/go")).ok, "an event")
    const requestId = readMessage(await busy.hears(3)).text(1)
    busy.say(kinds.ack, { 1: requestId })
    const { id } = (await runs(server.url))[0] ?? { id: "" }
    const stopped = server.stop()
    await idle.hears(11)
    expect(busy.heard.map(([kind]) => kind)).not.toContain(11)
    busy.say(kinds.reply, { 1: requestId, 5: 1, 6: '"done"', 9: "x", 10: 2 })
    await busy.hears(7)
    await busy.hears(11)
    await stopped
    const again = await createServer({ db: join(folder, `${stores}.db`), http: { port: 0 }, logs: "none" })
    await again.start()
    started.push(again)
    expect(await get(again.url ?? "", `/api/v1/runs/${id}`)).toMatchObject({ state: "completed", attempt: 1, output: '"done"' })
  })
})

describe("who is no worker", { timeout: 60_000 }, () => {
  it("gets nowhere without the key, with a wrong one, or with a token that is none of ours", async () => {
    const { url } = await start(keys)
    expect((await begin(url)).status).toBe(401)
    expect((await begin(url, { authorization: "Bearer 0123456789abcdef0123456789abcdef" })).status).toBe(401)
    const other = await start()
    const stranger = await HandMade.of(other.url, { token: "t=1&s=2" })
    expect(await stranger.ends()).toEqual([4000, "the session token is none of this server"])
    expect(await apps(other.url)).toEqual([])
  })

  it("is refused when a page of a browser asks, under a foreign name, elsewhere, or in another language", async () => {
    const { url } = await start()
    const gateway = `${url.replace("http", "ws")}/v0/connect/gateway`
    for (const headers of [{ origin: "http://evil.example" }, { "sec-fetch-site": "cross-site" }, { host: "evil.example" }]) {
      const page = new HandMade(gateway, headers)
      const [, response] = (await once(page.socket, "unexpected-response")) as [unknown, { statusCode: number }]
      expect(response.statusCode).toBe(403)
    }
    const other = new WebSocket(gateway, ["chat"])
    other.on("error", () => undefined)
    expect(((await once(other, "unexpected-response")) as [unknown, { statusCode: number }])[1].statusCode).toBe(400)
    // Who would like to speak another version of HTTP is answered in this one.
    const asked = request(`${url}/health`, { headers: { connection: "upgrade", upgrade: "h2c" } })
    asked.end()
    const [answer] = (await once(asked, "response")) as [{ statusCode: number; resume(): void }]
    answer.resume()
    expect(answer.statusCode).toBe(200)
  })

  it("is closed for garbage, and harms no other", async () => {
    const { url } = await start()
    const good = await HandMade.of(url)
    await good.hears(2)
    good.say(kinds.ready)
    const gateway = `${url.replace("http", "ws")}/v0/connect/gateway`
    const said: [() => Promise<HandMade>, (bad: HandMade) => void, number][] = [
      [async () => new HandMade(gateway), ({ socket }) => socket.send("text"), 1003],
      [async () => new HandMade(gateway), ({ socket }) => socket.send(Buffer.from([255, 255, 255])), 1007],
      [async () => new HandMade(gateway), (bad) => bad.say(kinds.ready), 1007],
      [async () => new HandMade(gateway), (bad) => bad.say(kinds.connect, { 1: "none" }), 4000],
      [async () => new HandMade(gateway), ({ socket }) => socket.send(Buffer.alloc(limits.workerMessageBytes + 1)), 1009],
      [() => HandMade.of(url), (bad) => bad.say(kinds.reply, { 1: Uint8Array.of(255) }), 1007],
      [() => HandMade.of(url), (bad) => bad.say(kinds.connect, { 1: "again" }), 4000],
    ]
    for (const [open, say, code] of said) {
      const bad = await open()
      await bad.hears(0)
      say(bad)
      expect((await bad.ends())[0]).toBe(code)
    }
    await send(url, "hand/go")
    const requestId = readMessage(await good.hears(3)).text(1)
    good.say(kinds.reply, { 1: requestId, 5: 1, 6: "1", 9: "x", 10: 2 })
    await until(async () => (await runs(url))[0]?.state === "completed", "the run")
  })

  it("has no more places than there are", async () => {
    const { url } = await start()
    const gateway = `${url.replace("http", "ws")}/v0/connect/gateway`
    const silent = Array.from({ length: limits.workersNew }, () => new HandMade(gateway))
    for (const each of silent) await each.hears(0)
    const late = new HandMade(gateway)
    expect(((await once(late.socket, "unexpected-response")) as [unknown, { statusCode: number }])[1].statusCode).toBe(503)
    expect((await begin(url)).status).toBe(429)
    silent[0]?.socket.terminate()
    await until(async () => (await begin(url)).status === 200, "a place")
  })
})

describe("what workers say", () => {
  it("is understood or refused, whatever it is", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const read of [readWorkerMessage, readReply]) {
          try {
            read(bytes)
          } catch (error) {
            if (!(error instanceof ProtocolError)) throw error
          }
        }
      }),
      { numRuns: 2_000 },
    )
    const fields = fc.dictionary(fc.integer({ min: 1, max: 20 }).map(String), fc.string({ unit: "grapheme", minLength: 1 }))
    fc.assert(
      fc.property(fields, (said) => {
        const read = readMessage(writeMessage(said))
        for (const [field, value] of Object.entries(said)) expect(read.text(Number(field))).toBe(value)
      }),
    )
    for (const number of [1, 127, 128, 2 ** 31, 2 ** 53 - 1]) expect(readMessage(writeMessage({ 3: number })).number(3)).toBe(number)
  })
})

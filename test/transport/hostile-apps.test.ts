import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, beforeAll, expect, it } from "vitest"
import type { Page, RunDetail, RunSummary } from "../../src/core/views.ts"
import { assemble, type FanfareServer, type Internals } from "../../src/server/create.ts"
import { seededRandom } from "../../src/testing/random.ts"
import { localTransport } from "../../src/transport/local.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-hostile-"))
const seed = Number(process.env["SEED"] ?? 7)
const random = seededRandom(seed)
const runs = 240
const good = 150

const sdk = { "x-inngest-sdk": "hostile:v1", "x-inngest-req-version": "2" }
const bomb = gzipSync(Buffer.alloc(40_000_000))
const deep = `${"[".repeat(50_000)}${"]".repeat(50_000)}`
const op = (fields: object): string => JSON.stringify([{ id: "a", name: "a", displayName: "a", ...fields }])

type Behaviour = (answer: ServerResponse, request: IncomingMessage) => void
const says =
  (status: number, body: string | Buffer, headers: Record<string, string> = sdk): Behaviour =>
  (answer) =>
    void answer.writeHead(status, headers).end(body)

/** What an app may do to whoever calls it. */
const behaviours: Readonly<Record<string, Behaviour>> = {
  "a login page": says(200, "<html>sign in</html>", { "content-type": "text/html" }),
  "a page of a proxy": says(502, "<html>bad gateway</html>", { "content-type": "text/html" }),
  "a redirect": says(302, "", { location: "http://169.254.169.254/" }),
  "a bomb": says(200, bomb, { ...sdk, "content-encoding": "gzip" }),
  "no JSON": says(206, "{"),
  "no ops": says(206, "12"),
  "deep JSON": says(206, deep),
  "an op without an id": says(206, JSON.stringify([{ op: "StepRun", data: 1 }])),
  "an unknown op": says(206, op({ op: "Frobnicate" })),
  "too many ops": says(206, JSON.stringify(Array.from({ length: 5_000 }, (_, i) => ({ id: `${i}`, op: "StepRun", data: i })))),
  "the same op for ever": says(206, op({ op: "StepRun", data: 1 })),
  "nothing for ever": says(206, "[]"),
  "another new step for ever": (answer) =>
    says(206, op({ id: `${Math.floor(random.next() * 1e9)}`, op: "StepRun", data: "x".repeat(10_000) }))(answer, null as never),
  "a plan that it never does": says(206, op({ op: "StepPlanned" })),
  "a sleep of a thousand years": says(206, op({ op: "Sleep", name: "365000d" })),
  "a wait for nonsense": says(206, op({ op: "WaitForEvent", name: "", opts: { if: "((", timeout: "1s" } })),
  "an invoke of nobody": says(206, op({ op: "InvokeFunction", opts: { function_id: "nobody" } })),
  "a request for our secrets": says(206, op({ op: "Gateway", opts: { url: "http://169.254.169.254/latest/meta-data" } })),
  "a fan-out of nothing": says(206, op({ op: "FanOut", opts: { total: 5 } })),
  "a fan-out for ever": (answer, request) => {
    const asked = request.url?.includes("stepId=a") === true
    const events = Array.from({ length: 50 }, () => ({ name: "h/nobody", data: {} }))
    says(206, op(asked ? { op: "SourcePart", opts: { events } } : { op: "FanOut", opts: { total: 100 } }))(answer, request)
  },
  "a streamed answer without an end": says(201, "    "),
  "an endless answer": (answer) => {
    answer.writeHead(200, sdk)
    const more = (): void => {
      if (answer.destroyed) return
      if (answer.write("x".repeat(1_000_000))) setImmediate(more)
      else answer.once("drain", more)
    }
    more()
  },
  "an answer that stops in the middle": (answer) => {
    answer.writeHead(200, { ...sdk, "content-length": "100" })
    answer.write("x")
    setTimeout(() => answer.destroy(), 5)
  },
  "no answer": (answer) => void setTimeout(() => answer.destroy(), 5_000),
  "no HTTP": (_, request) => void request.socket.end("nonsense\r\n\r\n"),
  "a hang-up": (_, request) => void request.socket.destroy(),
}

let server: FanfareServer & Internals
let hostile: Server
let fine: Server
beforeAll(async () => {
  server = await assemble({ db: join(folder, "1.db"), http: { port: 0 }, logs: "none", stopGrace: "1s" }, [], localTransport([]))
  await server.start()
  const names = Object.keys(behaviours)
  hostile = createHttp((request, answer) => {
    request.resume()
    // One behaviour for each run, whatever it is asked.
    const run = String(request.headers["x-run-id"])
    const chosen = chosenFor.get(run) ?? names[Math.floor(random.next() * names.length)] ?? ""
    chosenFor.set(run, chosen)
    behaviours[chosen]?.(answer, request)
  })
  fine = createHttp((request, answer) => {
    request.resume()
    request.on("end", () => says(200, '"fine"')(answer, request))
  })
  for (const [app, name] of [
    [hostile, "hostile"],
    [fine, "fine"],
  ] as const) {
    await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve))
    await server.apps?.register(registration(name, (app.address() as AddressInfo).port))
  }
})
afterAll(async () => {
  for (const app of [hostile, fine]) {
    app.close()
    app.closeAllConnections()
  }
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

const chosenFor = new Map<string, string>()

function registration(appName: string, port: number): object {
  const url = `http://127.0.0.1:${port}/api?fnId=${appName}-f&stepId=step`
  const step = { id: "step", name: "step", runtime: { type: "http", url }, retries: { attempts: 0 } }
  const functions = [{ id: `${appName}-f`, name: "f", triggers: [{ event: `h/${appName}` }], timeouts: { finish: "4s" }, steps: { step } }]
  return { url, appName, sdk: "hostile:v1", functions }
}

const get = async <T>(path: string): Promise<T> => (await (await fetch(new URL(path, server.url ?? ""))).json()) as T

async function send(name: string, count: number): Promise<void> {
  const body = JSON.stringify(Array.from({ length: count }, (_, n) => ({ name, data: { n } })))
  const headers = { "content-type": "application/json" }
  expect((await fetch(new URL("/e/dev", server.url ?? ""), { method: "POST", headers, body })).status).toBe(200)
}

async function ended(functionId: string, count: number, seconds: number): Promise<RunSummary[]> {
  for (let i = 0; i < seconds * 10; i++) {
    const { items } = await get<Page<RunSummary>>(`/api/v1/runs?function=${functionId}&limit=500`)
    const over = items.filter(({ endedAt }) => endedAt !== null)
    if (over.length === count) return over
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  const { items } = await get<Page<RunSummary>>(`/api/v1/runs?function=${functionId}&limit=500`)
  const open = items.filter(({ endedAt }) => endedAt === null).map(({ id, state, reason }) => [chosenFor.get(id), state, reason])
  throw new Error(`seed ${seed}: ${JSON.stringify(open)} did not end`)
}

it("meets whatever an app does with a failure that is recorded, in bounded memory, and keeps the other apps going", {
  timeout: 60_000,
}, async () => {
  await send("h/hostile", runs)
  const before = process.memoryUsage().rss
  await send("h/fine", good)
  const fineRuns = await ended("fine-f", good, 20)
  expect(fineRuns.filter(({ state }) => state !== "completed")).toEqual([])
  const all = await ended("hostile-f", runs, 40)
  expect((process.memoryUsage().rss - before) / 1e6).toBeLessThan(500)
  expect(new Set(chosenFor.values()).size).toBeGreaterThan(Object.keys(behaviours).length * 0.8)
  for (const { id, state } of all) {
    const what = `${chosenFor.get(id)}: ${state}`
    // The first of these is what a fan-out that is too long for what was announced, or another bound, comes to as well.
    expect(what).toMatch(/: (failed|cancelled)$/)
    const { failure, steps } = await get<RunDetail>(`/api/v1/runs/${id}`)
    if (state === "failed") expect(failure?.message, what).not.toBe("")
    expect(steps.length).toBeLessThanOrEqual(1_100)
  }
  // Nothing is left over, and the server still does what it is asked.
  expect(server.engine?.running).toBe(0)
  await send("h/fine", 1)
  await ended("fine-f", good + 1, 10)
})

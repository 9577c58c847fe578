import { type ChildProcess, fork } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { FanoutSummary, Page } from "../src/core/views.ts"
import { assemble } from "../src/server/create.ts"
import { localTransport } from "../src/transport/local.ts"

// Fan-outs to an app that is called over HTTP, and requests to the event API: node bench/http.ts [events] [steps per run] [rounds]
const events = Number(process.argv[2] ?? 10_000)
const steps = process.argv[3] ?? "0"
const rounds = Number(process.argv[4] ?? 3)
const connections = 200
// What Node computes for a process that has just begun is slow: the first round says what a cold app gives.
const folder = mkdtempSync(join(tmpdir(), "fanfare-bench-"))
const server = await assemble(
  { db: join(folder, "bench.db"), http: { port: 0 }, logs: "none", concurrency: connections },
  [],
  localTransport([]),
)
await server.start()
const url = server.url ?? ""
const app = start("./http-app.ts", [url, steps])
let firstAt = 0
app.on("message", (message: { first?: number }) => {
  if (firstAt === 0) firstAt = message.first ?? 0
})
const { port } = await told<{ port: number }>(app)
const appUrl = `http://127.0.0.1:${port}/api/inngest`
await server.apps?.sync(appUrl)

for (let round = 1; round <= rounds; round++) {
  const { rate, text } = await fanOut()
  const bare = steps === "0" ? await requests("calls", `${appUrl}?fnId=bench-leaf&stepId=step`, events, connections) : null
  console.log(`round ${round}: ${text}`)
  if (bare !== null) console.log(`  a bare client gets ${Math.round(bare)} answers/s of the same app: ratio ${(rate / bare).toFixed(2)}`)
}
for (const at of [64, 8]) {
  console.log(`requests with one event, ${at} at once: ${Math.round(await requests("sends", `${url}/e/bench`, events, at))}/s`)
}
app.kill()
await server.stop()
rmSync(folder, { recursive: true, force: true })

/** One send of all events, as the SDK makes it, to the end of their last run. */
async function fanOut(): Promise<{ rate: number; text: string }> {
  const list = Array.from({ length: events }, (_, i) => ({ name: "bench/leaf", data: { i, first: i === 0 }, ts: Date.now() }))
  const seed = Buffer.from(crypto.getRandomValues(new Uint8Array(10))).toString("base64")
  const body = JSON.stringify(list)
  const cpuBefore = process.cpuUsage()
  const appBefore = cpuOf(app.pid)
  firstAt = 0
  const began = Date.now()
  const answer = await fetch(`${url}/e/bench`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-inngest-event-id-seed": `${began},${seed}` },
    body,
  })
  const sentMs = Date.now() - began
  if (!answer.ok) throw new Error(await answer.text())
  for (;;) {
    const page = (await (await fetch(`${url}/api/v1/fanouts`)).json()) as Page<FanoutSummary>
    const fanout = page.items[0]
    if (fanout === undefined || fanout.completed + fanout.failed < events) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      continue
    }
    const rate = (events / ((fanout.lastEndAt ?? 0) - began)) * 1_000
    const { user, system } = process.cpuUsage(cpuBefore)
    const own = Math.round((user + system) / events)
    const theirs = Math.round(((cpuOf(app.pid) - appBefore) * 10_000) / events)
    const text =
      `${events} runs with ${steps} steps: ${Math.round(rate)} runs/s, ${fanout.failed} failed; durable after ${sentMs} ms; ` +
      `first start ${firstAt - began - sentMs} ms after that; processor time of each run: server ${own} µs, app ${theirs} µs`
    return { rate, text }
  }
}

async function requests(kind: "calls" | "sends", to: string, count: number, at: number): Promise<number> {
  return (await told<{ perSecond: number }>(start("./http-bare.ts", [kind, to, String(count), String(at)]))).perSecond
}

function start(script: string, args: readonly string[]): ChildProcess {
  return fork(new URL(script, import.meta.url), args, {
    // The SDK copies its environment with each call: one as small as in a container.
    env: { PATH: process.env["PATH"], NODE_ENV: "production" },
    execArgv: ["--disable-warning=ExperimentalWarning"],
  })
}

function told<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve) => child.once("message", (message) => resolve(message as T)))
}

/** Hundredths of a second that a process has computed, where the system tells. */
function cpuOf(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
    return Number(fields[11]) + Number(fields[12])
  } catch {
    return 0
  }
}

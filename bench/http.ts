import { fork } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { FanoutSummary, Page } from "../src/core/views.ts"
import { assemble } from "../src/server/create.ts"
import { localTransport } from "../src/transport/local.ts"

// A fan-out to an app that is called over HTTP: node bench/http.ts [events] [steps per run]
const events = Number(process.argv[2] ?? 10_000)
const steps = process.argv[3] ?? "0"
const folder = mkdtempSync(join(tmpdir(), "fanfare-bench-"))
const server = await assemble(
  { db: join(folder, "bench.db"), http: { port: 0 }, logs: "none", concurrency: Number(process.env["CONCURRENCY"] ?? 200) },
  [],
  localTransport([]),
)
await server.start()
const url = server.url ?? ""
const app = fork(new URL("./http-app.ts", import.meta.url), [url, steps], {
  // The SDK copies its environment with each call: one as small as in a container.
  env: { PATH: process.env["PATH"], NODE_ENV: "production" },
  execArgv: ["--disable-warning=ExperimentalWarning"],
})
let firstAt = 0
app.on("message", (message: { first?: number }) => {
  firstAt = message.first ?? firstAt
})
const { port } = await new Promise<{ port: number }>((resolve) => app.once("message", resolve))
await server.apps?.sync(`http://127.0.0.1:${port}/api/inngest`)

const body = JSON.stringify(Array.from({ length: events }, (_, i) => ({ name: "bench/leaf", data: { i }, ts: Date.now() })))
const cpuBefore = process.cpuUsage()
const appBefore = cpuOf(app.pid)
const began = Date.now()
const answer = await fetch(`${url}/e/bench`, {
  method: "POST",
  headers: { "content-type": "application/json", "x-inngest-event-id-seed": `${began},AAECAwQFBgcICQ==` },
  body,
})
const sentMs = Date.now() - began
if (!answer.ok) throw new Error(await answer.text())
for (;;) {
  const page = (await (await fetch(`${url}/api/v1/fanouts`)).json()) as Page<FanoutSummary>
  const fanout = page.items[0]
  if (fanout !== undefined && fanout.completed + fanout.failed === events) {
    const ms = (fanout.lastEndAt ?? 0) - began
    const rate = Math.round((events / ms) * 1_000)
    console.log(
      `${events} runs with ${steps} steps over HTTP: ${rate} runs/s; accepted in ${sentMs} ms; first start ${firstAt - began - sentMs} ms after the answer, ${firstAt - began} ms after the send began; ${fanout.failed} failed`,
    )
    const { user, system } = process.cpuUsage(cpuBefore)
    const own = (user + system) / events
    console.log(
      `processor time for each run: server ${Math.round(own)} µs, app ${Math.round(((cpuOf(app.pid) - appBefore) * 10_000) / events)} µs`,
    )
    break
  }
  await new Promise((resolve) => setTimeout(resolve, 50))
}
app.kill()
await server.stop()
rmSync(folder, { recursive: true, force: true })

/** Hundredths of a second that a process has computed, where the system tells. */
function cpuOf(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
    return Number(fields[11]) + Number(fields[12])
  } catch {
    return 0
  }
}

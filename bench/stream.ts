import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { assemble } from "../src/server/create.ts"
import { localTransport } from "../src/transport/local.ts"

// What the live stream costs a server on which 5,000 runs end in a second: node bench/stream.ts [updates per second] [listeners]
const perSecond = Number(process.argv[2] ?? 5_000)
const listeners = Number(process.argv[3] ?? 10)
const seconds = 10
const folder = mkdtempSync(join(tmpdir(), "fanfare-bench-"))
const server = await assemble({ db: join(folder, "bench.db"), http: { port: 0 }, logs: "none" }, [], localTransport([]))
await server.start()
const { engine } = server
if (engine === null) throw new Error("the engine did not start")

/** The share of a core that this process takes while facts are told; `heard`: events that came to all listeners. */
async function measure(): Promise<number> {
  const before = process.cpuUsage()
  const began = performance.now()
  for (let i = 0; performance.now() - began < seconds * 1_000; ) {
    for (const due = ((performance.now() - began) / 1_000) * perSecond; i < due; i++) {
      const run = { runId: `run_${i}`, functionId: `app-f${i % 20}`, fanoutId: `fan_${Math.floor(i / 10_000)}` }
      engine?.telemetry.emit({ name: "run.ended", ...run, state: "completed", attempt: 1, ms: 1, delayMs: 1, failure: null })
    }
    await delay(10)
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6 / ((performance.now() - began) / 1_000)
}

const alone = await measure()
let bytes = 0
let events = 0
const open = await Promise.all(Array.from({ length: listeners }, () => fetch(`${server.url}/api/v1/stream`)))
for (const { body } of open) {
  void (async () => {
    for await (const chunk of body ?? []) {
      bytes += chunk.length
      events++
    }
  })().catch(() => undefined)
}
const heard = await measure()
process.stdout.write(
  `${perSecond} updates/s, ${listeners} listeners (in the same process): ${((heard - alone) * 100).toFixed(1)} % of a core more than without ` +
    `(${(alone * 100).toFixed(1)} %); ${(events / listeners / seconds).toFixed(1)} events/s each, ${Math.round(bytes / Math.max(1, events))} bytes each\n`,
)
await server.stop()
rmSync(folder, { recursive: true, force: true })

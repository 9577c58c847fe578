import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { parseArgs } from "node:util"
import { Fanfare } from "../../src/index.ts"
import { createServer } from "../../src/server.ts"
import { sqlite } from "../../src/sqlite.ts"

// node --expose-gc test/proof/soak.ts [--minutes 60] [--rate 300] [--json]
// One engine under a steady load of everything that leaves something in memory: steps, retries, sleeps, keys, a schedule. What must not
// grow with the number of runs that have been: the heap after a collection, and the memory of the process.
const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    rate: { type: "string", default: "300" },
    json: { type: "boolean", default: false },
  },
})
const minutes = Number(values.minutes)
const collect = globalThis.gc
if (collect === undefined) throw new Error("start it with node --expose-gc")
const folder = mkdtempSync(join(tmpdir(), "fanfare-soak-"))
const app = new Fanfare({ id: "soak" })
let begun = 0
app.createFunction(
  {
    id: "mixed",
    triggers: [{ event: "soak/mixed" }],
    retries: 3,
    backoff: { type: "fixed", base: "100ms" },
    concurrency: { limit: 20, key: "event.data.tenant" },
  },
  async ({ event, step, attempt }) => {
    begun++
    const i = Number(event.data["i"])
    await step.run("work", () => "x".repeat(100))
    if (i % 20 === 0 && attempt === 0) throw new Error("the first attempt fails")
    if (i % 50 === 0) await step.sleep("pause", "1s")
  },
)
app.createFunction({ id: "each-second", triggers: [{ cron: "* * * * * *" }] }, () => null)
const server = await createServer({ client: app, db: sqlite(join(folder, "soak.db")), http: { port: 0 }, logs: "none" })
await server.start()

interface Sample {
  readonly hours: number
  readonly heapMb: number
  readonly rssMb: number
}
const samples: Sample[] = []
const began = performance.now()
const end = began + minutes * 60_000
let sent = 0
let sampledAt = began
const every = Math.max(2_000, (minutes * 60_000) / 120)
while (performance.now() < end) {
  const part = Math.max(1, Math.round(Number(values.rate) / 10))
  await app.send(Array.from({ length: part }, () => ({ name: "soak/mixed", data: { i: sent++, tenant: `tenant ${sent % 97}` } })))
  await delay(100)
  if (performance.now() - sampledAt < every) continue
  sampledAt = performance.now()
  collect()
  samples.push({
    hours: (sampledAt - began) / 3_600_000,
    heapMb: process.memoryUsage().heapUsed / 1e6,
    rssMb: process.memoryUsage.rss() / 1e6,
  })
}
await delay(3_000)
const status = (await (await fetch(`${server.url}/api/v1/status`)).json()) as Record<string, number>
await server.stop()
const bytes = readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
rmSync(folder, { recursive: true, force: true })
// The first fifth is warm-up: caches fill, code is compiled.
const steady = samples.slice(Math.ceil(samples.length / 5))
const grown = (pick: (sample: Sample) => number): number =>
  round(slope(steady, pick) * ((steady.at(-1)?.hours ?? 0) - (steady[0]?.hours ?? 0)))
const figures = {
  minutes,
  runs: sent,
  attempts: begun,
  runsPerSecond: Math.round(sent / (minutes * 60)),
  left: (status["ready"] ?? 0) + (status["running"] ?? 0) + (status["waiting"] ?? 0),
  heapMbPerHour: round(slope(steady, ({ heapMb }) => heapMb)),
  rssMbPerHour: round(slope(steady, ({ rssMb }) => rssMb)),
  heapGrownMb: grown(({ heapMb }) => heapMb),
  rssGrownMb: grown(({ rssMb }) => rssMb),
  rssMb: Math.round(steady.at(-1)?.rssMb ?? 0),
  storeBytesPerRun: Math.round(bytes / sent),
}
console.log(values.json ? JSON.stringify(figures) : figures)
process.exit(0)

/** Least squares, per hour. */
function slope(points: readonly Sample[], pick: (sample: Sample) => number): number {
  const x = mean(points.map(({ hours }) => hours))
  const y = mean(points.map(pick))
  const over = points.reduce((sum, point) => sum + (point.hours - x) * (pick(point) - y), 0)
  return over / (points.reduce((sum, { hours }) => sum + (hours - x) ** 2, 0) || 1)
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, n) => sum + n, 0) / (numbers.length || 1)
}

function round(n: number): number {
  return Math.round(n * 100) / 100
}

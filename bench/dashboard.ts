import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { gzipSync } from "node:zlib"
import pg from "pg"
import { Fanfare } from "fanfare"
import { createServer } from "fanfare/server"
import { createIds, idBefore } from "#house/core/id.js"
import { systemRandom } from "#house/engine/system.js"
import type { Column, Db } from "#house/store/db.js"
import { migrate } from "#house/store/migrate.js"
import { browse, followed } from "./browse.ts"
import { openPlaces } from "./place.ts"

// npm run bench:dashboard                     what a browser loads first, and what each page's questions take with a million runs
// npm run bench:dashboard -- --db postgres    the same on a PostgreSQL
// npm run bench:dashboard -- --runs 100000    with fewer runs
// npm run bench:dashboard -- --browse         in a browser besides: until each page is shown, how a list scrolls, how busy following keeps it
// npm run bench:dashboard -- --serve          goes on, so that the pages can be looked at
const { values } = parseArgs({
  options: {
    db: { type: "string", default: "sqlite" },
    runs: { type: "string", default: "1000000" },
    browse: { type: "boolean", default: false },
    serve: { type: "boolean", default: false },
  },
})
const runs = Number(values.runs)
const fanoutRuns = Math.min(100_000, runs)
const functions = 200
const firstLoadMost = 130_000
const answerMostMs = 100
const rounds = 20
const problems: string[] = []

/** What the document names, and what that imports at once. */
function firstLoad(): { script: number; style: number; all: number } {
  const folder = fileURLToPath(new URL("../dist/dashboard", import.meta.url))
  const html = readFileSync(join(folder, "index.html"), "utf8")
  const named = [...html.matchAll(/"\.\/(assets\/[^"]+\.(?:js|css))"/g)].map(([, name]) => name ?? "")
  const size = (name: string): number => gzipSync(readFileSync(join(folder, name)), { level: 9 }).length
  const sum = (names: readonly string[]): number => names.reduce((bytes, name) => bytes + size(name), 0)
  return {
    script: sum(named.filter((name) => name.endsWith(".js"))),
    style: sum(named.filter((name) => name.endsWith(".css"))),
    all: sum(readdirSync(join(folder, "assets")).map((name) => `assets/${name}`)),
  }
}

const day = 86_400_000
const chunk = 10_000

type Rows = readonly (readonly (string | number | null)[])[]

async function put(db: Db, table: string, columns: readonly Column[], rows: Rows): Promise<void> {
  const names = columns.map(([name]) => name).join(", ")
  if (rows.length > 0) {
    await db.execute(`insert into ${table} (${names}) select ${names} from ${db.dialect.rows("$1", columns)} as j where true`, [
      JSON.stringify(rows),
    ])
  }
}

const text = (...names: string[]): Column[] => names.map((name) => [name, "text"])
const number = (...names: string[]): Column[] => names.map((name) => [name, "bigint"])
const causeOf = (n: number): string => `MailError: upstream answered # @ deliver (shop/mail${n % 7}.ts)`
const failure = JSON.stringify({ name: "MailError", message: "upstream answered 503" })

/** Runs of the last day: 200 functions, one fan-out of 100,000 at the end, one in a hundred has failed, one in fifty of the fan-out waits. */
async function fill(db: Db): Promise<void> {
  const end = await db.now()
  let time = end - day
  const newId = createIds({ now: () => Math.floor(time) }, systemRandom)
  let fanoutId: string | null = null
  let [completed, failed] = [0, 0]
  for (let from = 0; from < runs; from += chunk) {
    const made = Array.from({ length: Math.min(chunk, runs - from) }, (_, k) => {
      const n = from + k
      time += (day - 60_000) / runs
      if (fanoutId === null && n >= runs - fanoutRuns) fanoutId = newId("fan")
      const state = n % 100 === 7 ? "failed" : n % 50 === 3 && fanoutId !== null ? null : "completed"
      if (fanoutId !== null) [completed, failed] = [completed + Number(state === "completed"), failed + Number(state === "failed")]
      return { n, event: newId("evt"), run: newId("run"), functionId: `shop-f${n % functions}`, at: Math.floor(time), state, fanoutId }
    })
    await db.tx(async (tx) => {
      const events = made.map((m) => [m.event, "shop/digest.due", `{"user":"u_${m.n}"}`, m.at, m.at, m.fanoutId])
      await put(tx, "event", [...text("id", "name", "data"), ...number("ts", "received_at"), ...text("fanout_id")], events)
      const rows = made.map((m) => [m.run, m.functionId, m.event, m.fanoutId, m.at, m.at])
      await put(tx, "run", [...text("id", "function_id", "event_id", "fanout_id"), ...number("created_at", "rank")], rows)
      const results = made.flatMap((m) => {
        if (m.state === null) return []
        const cause = m.state === "failed" ? [failure, causeOf(m.n)] : [null, null]
        return [[m.run, m.state, 1, "null", ...cause, m.at, m.at + 40]]
      })
      const ends = [...text("run_id", "state"), ...number("attempt"), ...text("output", "failure", "fingerprint")]
      await put(tx, "result", [...ends, ...number("started_at", "ended_at")], results)
      const waiting = made.flatMap((m) => (m.state === null ? [[m.run, m.functionId, m.at, 0, 0, 0]] : []))
      await put(tx, "ready", [...text("run_id", "function_id"), ...number("rank", "attempt", "fence", "losses")], waiting)
    })
  }
  const at = end - day / 10
  const counts = ["events", "taken", "total", "completed", "failed", "cancelled", "created_at", "grown_at", "sealed_at"]
  const columns = [...text("id", "name"), ...number(...counts, "ended_before", "base_ended", "base_failed", "joins")]
  await put(db, "fanout", columns, [
    [fanoutId, "shop/digest.due", fanoutRuns, fanoutRuns, fanoutRuns, completed, failed, 0, at, at, at, 0, 0, 0, 0],
  ])
  const groups = [...text("fanout_id", "fingerprint"), ...number("failures", "first_at", "last_at"), ...text("run_id")]
  const causes = Array.from({ length: 7 }, (_, k) => [fanoutId, causeOf(k), Math.floor(failed / 7), at, end, "run_0"])
  await put(db, "failure_group", groups, causes)
  await register(db, end)
  await db.execute("analyze")
}

async function register(db: Db, end: number): Promise<void> {
  const client = new Fanfare({ id: "shop" })
  const definitions = Array.from(
    { length: functions },
    (_, i) => client.createFunction({ id: `f${i}`, triggers: [] }, () => null).definition,
  )
  const offered = definitions.map((definition) => [definition.id, "shop", JSON.stringify(definition), end])
  await put(db, "function", [...text("id", "app_id", "definition"), ...number("updated_at")], offered)
  const minute = 60_000
  const tally = (functionId: string, back: number): (string | number)[] => {
    const at = Math.floor(end / minute) * minute - back * minute
    return [functionId, at, "node_a", 690, 7, 3, '{"20":400,"24":200,"40":97}', '{"10":600,"30":97}']
  }
  const ofAll = Array.from({ length: day / minute }, (_, back) => tally("", back))
  const ofEach = definitions.flatMap(({ id }) => Array.from({ length: 60 }, (_, back) => tally(id, back)))
  const columns = [...text("function_id"), ...number("at"), ...text("node_id"), ...number("completed", "failed", "retried")]
  await put(db, "tally", [...columns, ...text("durations", "delays")], [...ofAll, ...ofEach])
}

async function timed(url: string): Promise<{ median: number; p95: number; bytes: number }> {
  const times: number[] = []
  let bytes = 0
  for (let i = 0; i < rounds; i++) {
    const began = performance.now()
    const response = await fetch(url)
    bytes = (await response.arrayBuffer()).byteLength
    times.push(performance.now() - began)
    if (!response.ok) problems.push(`${url} answered ${response.status}`)
  }
  const sorted = times.toSorted((a, b) => a - b)
  return { median: sorted[rounds / 2] ?? 0, p95: sorted[Math.ceil(rounds * 0.95) - 1] ?? 0, bytes }
}

const loaded = firstLoad()
console.log(
  `first load ${(loaded.script / 1e3).toFixed(1)} kB of script and ${(loaded.style / 1e3).toFixed(1)} kB of style, zipped (at most ${firstLoadMost / 1e3} kB); all pages ${(loaded.all / 1e3).toFixed(1)} kB`,
)
if (loaded.script > firstLoadMost) problems.push("the first load is over its budget")

const places = await openPlaces(values.db === "postgres" ? "postgres" : "sqlite")
const place = await places.next()
const db = await places.connect(place)
await migrate(db)
const began = performance.now()
await fill(db)
await db.close()
if (values.db === "postgres") {
  // What autovacuum does with rows that were there for a while.
  const client = new pg.Client({ connectionString: place })
  await client.connect()
  await client.query("vacuum analyze")
  await client.end()
}
console.log(`${runs.toLocaleString("en-US")} runs written in ${((performance.now() - began) / 1e3).toFixed(1)} s\n`)

const server = await createServer({ db: place, http: { port: 0 }, logs: "none" })
await server.start()
const api = `${server.url}/api/v1`
const firstId = async (path: string): Promise<string> =>
  ((await (await fetch(`${api}/${path}`)).json()) as { items: { id: string }[] }).items[0]?.id ?? ""
const [fanout, failed, event] = [await firstId("fanouts"), await firstId("runs?state=failed"), await firstId("events")]
const middle = idBefore("run", Date.now() - day / 2)
const questions: Readonly<Record<string, readonly string[]>> = {
  Overview: ["activity?range=1h", "activity?range=24h", "status", "fanouts?limit=20", "functions", "failures", "nodes"],
  Runs: [
    "runs?limit=100",
    `runs?limit=100&after=${middle}`,
    "runs?limit=100&state=failed",
    "runs?limit=100&state=ready",
    "runs?limit=100&state=waiting",
    "runs?limit=100&state=skipped",
    "runs?limit=100&function=shop-f7",
    `runs?limit=100&state=failed&fanout=${fanout}`,
  ],
  Run: [`runs/${failed}?preview=65536`, `runs/${failed}/fanouts`],
  "Fan-out": [`fanouts/${fanout}`, `fanouts/${fanout}/failures`, `fanouts/${fanout}/cells`, `fanouts/${fanout}/cells/${fanoutRuns - 1}`],
  Functions: ["functions/activity", "activity?range=7d&function=shop-f7", "limits?function=shop-f7"],
  Failures: ["failures", "operations"],
  Schedules: ["schedules?limit=50"],
  Nodes: ["nodes", "limits?limit=100"],
  Events: ["events?limit=50", `events/${event}?preview=65536`, `runs?event=${event}`],
}
for (const [page, paths] of Object.entries(questions)) {
  for (const path of paths) {
    const { median, p95, bytes } = await timed(`${api}/${path}`)
    const slow = p95 > answerMostMs
    if (slow) problems.push(`${path}: p95 ${p95.toFixed(0)} ms`)
    console.log(
      `${slow ? "✗" : "✓"} ${page.padEnd(10)} ${path
        .replaceAll(/_[0-9a-z]{10,}/g, "_…")
        .slice(0, 60)
        .padEnd(62)} ${median.toFixed(1).padStart(7)} ms  p95 ${p95.toFixed(1).padStart(7)} ms  ${(bytes / 1e3).toFixed(1).padStart(7)} kB`,
    )
  }
}
console.log(problems.length === 0 ? "\nall within their budgets" : `\n${problems.join("\n")}`)
if (values.browse) {
  console.log("")
  const paths = {
    Overview: "/",
    Runs: "/runs",
    Failed: "/runs?state=failed",
    Run: `/runs/${failed}`,
    "Fan-out": `/fan-outs/${fanout}`,
    Functions: "/functions",
    Function: "/functions/shop-f7",
    Events: "/events",
    Failures: "/failures",
    Nodes: "/nodes",
  }
  problems.push(...(await browse(server.url ?? "", paths, runs)), ...(await followed(await places.next())))
  console.log(problems.length === 0 ? "\nall within their budgets" : `\n${problems.join("\n")}`)
}
if (values.serve) {
  console.log(`\n${server.url}`)
  await new Promise((resolve) => process.once("SIGINT", resolve))
}
await server.stop()
await places.close()
process.exit(problems.length === 0 ? 0 : 1)

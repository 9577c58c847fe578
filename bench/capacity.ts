import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Fanfare } from "fanfare"
import { createServer } from "fanfare/server"
import pg from "pg"
import { startPostgres } from "../test/store/postgres.ts"

// node bench/capacity.ts [--runs 50000] [--json]
// What one run costs, for the model in docs/capacity.md: processor time of both sides, commits, WAL, rows and bytes that stay, dead rows and
// the time to clear them. Costs, not speeds: they hardly depend on what else the machine does.
const { values } = parseArgs({ options: { runs: { type: "string", default: "50000" }, json: { type: "boolean", default: false } } })
const runs = Number(values.runs)
const idleSeconds = 15
const say = (line: string): void => {
  if (!values.json) console.log(line)
}
const figures: Record<string, Record<string, number>> = {}
for (const work of ["noop", "step"] as const) {
  figures[`postgres, ${work}`] = await onPostgres(work)
  say(`postgres, ${work}: ${JSON.stringify(figures[`postgres, ${work}`])}`)
  figures[`sqlite, ${work}`] = await onSqlite(work)
  say(`sqlite, ${work}: ${JSON.stringify(figures[`sqlite, ${work}`])}`)
}
if (values.json) console.log(JSON.stringify({ runs, ...figures }))
process.exit(0)

/** A fan-out of so many runs on a warm engine, and processor time of this process per run. */
async function engineOn(place: string, work: "noop" | "step"): Promise<{ go(n: number): Promise<number>; stop(): Promise<void> }> {
  const app = new Fanfare({ id: "bench" })
  app.createFunction({ id: "noop", triggers: [{ event: "bench/noop" }] }, () => undefined)
  app.createFunction({ id: "step", triggers: [{ event: "bench/step" }] }, ({ step }) => step.run("work", () => 1))
  const server = await createServer({ client: app, db: place, logs: "none" })
  await server.start()
  const go = async (n: number): Promise<number> => {
    const events = Array.from({ length: n }, (_, i) => ({ name: `bench/${work}`, data: { i, text: "x".repeat(150) } }))
    const before = process.cpuUsage()
    const { fanoutId } = await app.send(events)
    await app.fanouts.wait(fanoutId ?? "")
    const used = process.cpuUsage(before)
    return (used.user + used.system) / n
  }
  await go(1_000)
  return { go, stop: () => server.stop() }
}

async function onPostgres(work: "noop" | "step"): Promise<Record<string, number>> {
  const server = await startPostgres(["autovacuum=off"])
  const place = await server.database()
  const engine = await engineOn(place, work)
  const client = new pg.Client({ connectionString: place })
  await client.connect()
  const one = async (sql: string): Promise<Record<string, number>> => {
    const { rows } = await client.query(sql)
    return Object.fromEntries(Object.entries(rows[0] as object).map(([name, value]) => [name, Number(value)]))
  }
  const look = async () => {
    // Statistics of other sessions come with a delay.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    return {
      ...(await one("select wal_records, wal_fpi, wal_bytes from pg_stat_wal")),
      ...(await one("select xact_commit, tup_inserted, tup_updated, tup_deleted from pg_stat_database where datname = current_database()")),
      ...(await one(
        "select coalesce(sum(pg_table_size(relid)), 0) as tables, coalesce(sum(pg_indexes_size(relid)), 0) as indexes, sum(n_dead_tup) as dead from pg_stat_user_tables",
      )),
      cpu: serverMicroseconds(server.folder),
      client: clientMicroseconds(),
      ...(await one("select count(*) as connections from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")),
    } as Record<string, number>
  }
  // A node that has nothing to do, all that it asks included.
  const quiet = await look()
  await new Promise((resolve) => setTimeout(resolve, idleSeconds * 1_000))
  const still = await look()
  const idle = (name: string): number => ((still[name] ?? 0) - (quiet[name] ?? 0)) / (idleSeconds + 1.5)
  const before = await look()
  const spent = await engine.go(runs)
  const after = await look()
  const began = performance.now()
  await client.query("vacuum")
  const vacuumMs = performance.now() - began
  await client.end()
  await engine.stop()
  await server.stop()
  const per = (name: string): number => ((after[name] ?? 0) - (before[name] ?? 0)) / runs
  return rounded({
    clientMicroseconds: spent,
    connections: still["connections"] ?? 0,
    idleCommitsPerSecond: idle("xact_commit"),
    idleWalBytesPerSecond: idle("wal_bytes"),
    idleServerMicrosecondsPerSecond: idle("cpu"),
    idleClientMicrosecondsPerSecond: idle("client"),
    serverMicroseconds: per("cpu"),
    commits: per("xact_commit"),
    walBytes: per("wal_bytes"),
    walFullPages: per("wal_fpi"),
    rowsInserted: per("tup_inserted"),
    rowsUpdated: per("tup_updated"),
    rowsDeleted: per("tup_deleted"),
    tableBytes: per("tables"),
    indexBytes: per("indexes"),
    deadRows: per("dead"),
    vacuumMicroseconds: (vacuumMs * 1_000) / runs,
  })
}

async function onSqlite(work: "noop" | "step"): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-capacity-"))
  const size = (): number =>
    readdirSync(folder).reduce((sum, file) => sum + (file.endsWith(".db") ? statSync(join(folder, file)).size : 0), 0)
  const engine = await engineOn(join(folder, "capacity.db"), work)
  const before = size()
  const written = bytesWritten()
  const clientMicroseconds = await engine.go(runs)
  const writtenBytes = (bytesWritten() - written) / runs
  await engine.stop()
  const fileBytes = (size() - before) / runs
  rmSync(folder, { recursive: true, force: true })
  return rounded({ clientMicroseconds, fileBytes, writtenBytes })
}

function clientMicroseconds(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** What this process has had written to disks. */
function bytesWritten(): number {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? 0)
}

/** Processor time of the server and all its processes that are there now. */
function serverMicroseconds(folder: string): number {
  const main = readFileSync(join(folder, "data", "postmaster.pid"), "utf8").split("\n")[0]
  let ticks = 0
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    let stat: string
    try {
      stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    } catch {
      continue
    }
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    if (pid === main || fields[1] === main) ticks += Number(fields[11]) + Number(fields[12])
  }
  // 100 a second on Linux.
  return ticks * 10_000
}

function rounded(numbers: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(numbers).map(([name, n]) => [name, Math.round(n * 100) / 100]))
}

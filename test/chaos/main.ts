import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { parseArgs } from "node:util"
import type { Db } from "../../src/store/db.ts"
import { countOrphans } from "../../src/store/orphans.ts"
import { postgresPlace } from "../../src/store/open-postgres.ts"
import { openPostgres } from "../../src/store/postgres.ts"
import { openSqlite } from "../../src/store/sqlite.ts"
import { systemClock } from "../../src/engine/system.ts"
import { startPostgres } from "../store/postgres.ts"
import { clusterChaos } from "./cluster.ts"
import { killLoop } from "./kill.ts"

// npm run chaos -- --kills 100                   one engine on an SQLite file, killed in the middle of a fan-out
// npm run chaos -- --db postgres                 three nodes on one PostgreSQL: killed, frozen, cut off, the server restarted
//   --kills 50 --freezes 10 --restarts 10 --cuts 1000 --children 10000 --seed 1
//   --json                                      the report only, as one JSON object
const number = (fallback: number) => ({ type: "string", default: String(fallback) }) as const
const { values } = parseArgs({
  options: {
    db: { type: "string", default: "sqlite" },
    kills: { type: "string" },
    freezes: number(10),
    restarts: number(10),
    cuts: number(1_000),
    children: number(10_000),
    seed: number(1),
    json: { type: "boolean", default: false },
  },
})
const say = (line: unknown): void => {
  if (!values.json) console.log(line)
}
const ok = await (values.db === "postgres" ? cluster() : single())
process.exit(ok ? 0 : 1)

/** Says what is left; whether nothing of it is wrong. */
function judge(report: Readonly<Record<string, unknown>>, wrong: Readonly<Record<string, readonly string[]>>, orphans: number): boolean {
  for (const line of Object.values(wrong).flat().slice(0, 20)) say(line)
  const counts = Object.fromEntries(Object.entries(wrong).map(([kind, lines]) => [kind, lines.length]))
  const all = { ...report, ...counts, orphans }
  console.log(values.json ? JSON.stringify(all) : all)
  return Object.values(counts).every((n) => n === 0) && orphans === 0
}

async function cluster(): Promise<boolean> {
  const server = await startPostgres()
  let said = 0
  const plan = {
    kills: Number(values.kills ?? 50),
    freezes: Number(values.freezes),
    restarts: Number(values.restarts),
    cuts: Number(values.cuts),
    children: Number(values.children),
    seed: Number(values.seed),
  }
  const { url, ...report } = await clusterChaos(server, plan, (line) => {
    if (Date.now() - said < 5_000) return
    said = Date.now()
    say(line)
  })
  const db = await openPostgres({ ...postgresPlace(url), connections: 1, use: "engine", wait: (ms) => delay(ms), newId: randomUUID })
  const orphans = await orphansOf(db)
  await server.stop()
  const { lost, duplicates, unfinished, stale, ...rest } = report
  return judge(rest, { lost, duplicates, unfinished, stale }, orphans)
}

async function single(): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-chaos-"))
  const file = join(folder, "chaos.db")
  const report = await killLoop(file, Number(values.kills ?? 100), Number(values.seed), say)
  const orphans = await orphansOf(openSqlite({ file, clock: systemClock }))
  if (report.unfinished.length === 0) rmSync(folder, { recursive: true })
  else say(folder)
  const { restartMs, loadMs, openMs, lost, duplicates, unfinished, integrity, ...rest } = report
  return judge(
    { ...rest, restart: spread(restartMs), load: spread(loadMs), open: spread(openMs) },
    { lost, duplicates, unfinished, damaged: integrity === "ok" ? [] : [integrity] },
    orphans,
  )
}

function spread(times: readonly number[]): { p50: number; p99: number; max: number } {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number): number => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}

/** Rows that nothing leads to, of all kinds, as `fanfare doctor` counts them. */
async function orphansOf(db: Db): Promise<number> {
  const found = (await countOrphans(db)).filter(({ n }) => n > 0)
  for (const { kind, n } of found) say(`${n} ${kind.name}`)
  await db.close()
  return found.reduce((sum, { n }) => sum + n, 0)
}

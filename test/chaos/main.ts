import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { startPostgres } from "../store/postgres.ts"
import { clusterChaos } from "./cluster.ts"
import { killLoop } from "./kill.ts"

// npm run chaos -- --kills 100                   one engine on an SQLite file, killed in the middle of a fan-out
// npm run chaos -- --db postgres                 three nodes on one PostgreSQL: killed, frozen, cut off, the server restarted
//   --kills 50 --freezes 10 --restarts 10 --cuts 1000 --children 10000 --seed 1
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
  },
})
const ok = await (values.db === "postgres" ? cluster() : single())
process.exit(ok ? 0 : 1)

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
  const report = await clusterChaos(server, plan, (line) => {
    if (Date.now() - said < 5_000) return
    said = Date.now()
    console.log(line)
  })
  await server.stop()
  const { lost, duplicates, unfinished, stale } = report
  for (const line of [...lost, ...duplicates, ...unfinished, ...stale].slice(0, 20)) console.log(line)
  console.log({ ...report, lost: lost.length, duplicates: duplicates.length, unfinished: unfinished.length, stale: stale.length })
  return lost.length + duplicates.length + unfinished.length + stale.length === 0
}

async function single(): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-chaos-"))
  const report = await killLoop(join(folder, "chaos.db"), Number(values.kills ?? 100), Number(values.seed), console.log)
  if (report.unfinished.length === 0) rmSync(folder, { recursive: true })
  else console.log(report.unfinished, folder)
  const restarts = report.restartMs.toSorted((a, b) => a - b)
  console.log({
    kills: report.kills,
    acknowledged: report.acknowledged,
    lost: report.lost.length,
    duplicates: report.duplicates.length,
    unfinished: report.unfinished.length,
    integrity: report.integrity,
    restartMsMedian: Math.round(restarts[Math.floor(restarts.length / 2)] ?? 0),
    restartMsMax: Math.round(restarts.at(-1) ?? 0),
  })
  return report.lost.length + report.duplicates.length + report.unfinished.length === 0 && report.integrity === "ok"
}

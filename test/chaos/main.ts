import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { killLoop } from "./kill.ts"

// npm run chaos -- --kills 100
const { values } = parseArgs({ options: { kills: { type: "string", default: "100" }, seed: { type: "string", default: "1" } } })
const folder = mkdtempSync(join(tmpdir(), "fanfare-chaos-"))
const report = await killLoop(join(folder, "chaos.db"), Number(values.kills), Number(values.seed), console.log)
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
process.exit(report.lost.length + report.duplicates.length + report.unfinished.length === 0 && report.integrity === "ok" ? 0 : 1)

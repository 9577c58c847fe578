import { parseArgs } from "node:util"
import { simulate } from "./simulate.ts"

// npm run simulate -- --seeds 2000 --from 1      checks that many seeds
// npm run simulate -- --replay 4711              one seed, with its trace
const { values } = parseArgs({
  options: { seeds: { type: "string", default: "2000" }, from: { type: "string", default: "1" }, replay: { type: "string" } },
})

if (values.replay !== undefined) {
  const { trace, violations } = await simulate(Number(values.replay))
  console.log(trace.join("\n"))
  console.log(violations.length === 0 ? "no violation" : violations.join("\n"))
  process.exit(violations.length === 0 ? 0 : 1)
}

const began = performance.now()
const from = Number(values.from)
const seeds = Number(values.seeds)
const coverage = new Map<string, number>()
let failed = 0
let crashes = 0
let runs = 0
let virtualMs = 0
for (let seed = from; seed < from + seeds; seed++) {
  const result = await simulate(seed)
  crashes += result.crashes
  runs += result.runs
  virtualMs += result.virtualMs
  for (const [pair, n] of result.coverage) coverage.set(pair, (coverage.get(pair) ?? 0) + n)
  if (result.violations.length === 0) continue
  failed++
  console.log(`seed ${seed}:\n  ${result.violations.slice(0, 5).join("\n  ")}\n  replay: npm run simulate -- --replay ${seed}`)
}
const minutes = (performance.now() - began) / 60_000
console.log(
  `${seeds} seeds (${from} to ${from + seeds - 1}), ${failed} failed; ${Math.round(seeds / minutes)} seeds a minute; ` +
    `${crashes} node deaths, ${runs} runs, ${(virtualMs / 3_600_000).toFixed(1)} simulated hours, ${coverage.size} pairs of command and fault`,
)
process.exit(failed === 0 ? 0 : 1)

import { parseArgs } from "node:util"
import { allZones, changes, differences, leftOutDays, policies, sample, shapes } from "./dst.ts"

// npm run dst: every change of the clocks from 2020 to 2040 in every zone, for each shape of cron line under each policy.
//   --sample 100                  so many of the changes, and all days that were left out
//   --json                        one JSON object on standard output
const { values } = parseArgs({ options: { sample: { type: "string" }, json: { type: "boolean", default: false } } })
const began = performance.now()
const every = changes(allZones)
const all = [...(values.sample === undefined ? every : sample(every, Number(values.sample), 1)), ...leftOutDays()]
let wrong = 0
for (const each of all) {
  for (const difference of differences(each)) {
    if (++wrong <= 20 && !values.json) console.log(difference)
  }
}
const seconds = Math.round((performance.now() - began) / 1_000)
const zones = new Set(all.map(({ zone }) => zone)).size
const figures = { zones, changes: all.length, shapes: shapes.length, policies: policies.length, differences: wrong, seconds }
console.log(
  values.json
    ? JSON.stringify(figures)
    : `${zones} zones, ${all.length} changes of the clocks, ${shapes.length} shapes, ${policies.length} policies: ${wrong} differences; ${seconds} s`,
)
process.exit(wrong === 0 ? 0 : 1)

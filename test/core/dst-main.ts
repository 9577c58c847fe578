import { allZones, changes, differences, leftOutDays, policies, shapes } from "./dst.ts"

// npm run dst: every change of the clocks from 2020 to 2040 in every zone, for each shape of cron line under each policy.
const began = performance.now()
const all = [...changes(allZones), ...leftOutDays()]
let wrong = 0
for (const each of all) {
  for (const difference of differences(each)) {
    if (++wrong <= 20) console.log(difference)
  }
}
const seconds = Math.round((performance.now() - began) / 1_000)
console.log(
  `${allZones.length} zones, ${all.length} changes of the clocks, ${shapes.length} shapes, ${policies.length} policies: ${wrong} differences; ${seconds} s`,
)
process.exit(wrong === 0 ? 0 : 1)

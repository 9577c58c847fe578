import { fanout } from "./measure.ts"

const [place = "", jobs = "1000"] = process.argv.slice(2)
process.send?.(await fanout(place, Number(jobs), false))
process.disconnect?.()

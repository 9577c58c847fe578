import { fanout } from "./measure.ts"

const [file = "", jobs = "1000"] = process.argv.slice(2)
process.send?.(await fanout(file, Number(jobs), false))
process.disconnect?.()

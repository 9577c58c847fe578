import { parseArgs } from "node:util"
import { fuzz } from "./fuzz.ts"

// npm run fuzz -- [inputs] [seed] [--json]: reads so many odd inputs, as whoever reaches a server may send them.
const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: "boolean", default: false } } })
const inputs = Number(positionals[0] ?? 1_000_000)
const seed = Number(positionals[1] ?? Date.now() % 2 ** 31)
const began = Date.now()
const readers: Record<string, number> = {}
let broken: string | null = null
try {
  fuzz(inputs, seed, (reader, each) => {
    readers[reader] = each
    if (!values.json) console.log(`${reader}: ${each} inputs`)
  })
} catch (error) {
  if (!values.json) throw error
  broken = String(error)
}
const seconds = Math.round((Date.now() - began) / 1_000)
if (values.json) console.log(JSON.stringify({ inputs, seed, seconds, readers, broken }))
else console.log(`${inputs} inputs in ${seconds} s, seed ${seed}: each was read, or refused with a reason`)
process.exit(broken === null ? 0 : 1)

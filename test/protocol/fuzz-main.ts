import { fuzz } from "./fuzz.ts"

// node test/protocol/fuzz-main.ts [inputs] [seed]: reads so many odd inputs, as whoever reaches a server may send them.
const inputs = Number(process.argv[2] ?? 1_000_000)
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31)
const began = Date.now()
fuzz(inputs, seed, (reader, each) => console.log(`${reader}: ${each} inputs`))
console.log(`${inputs} inputs in ${Math.round((Date.now() - began) / 1_000)} s, seed ${seed}: each was read, or refused with a reason`)

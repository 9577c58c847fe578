import { fuzz } from "./fuzz.ts"

// npm run fuzz:http [inputs] [seed]: a million requests, nearly right or not at all, to real servers.
const inputs = Number(process.argv[2] ?? 1_000_000)
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31))
const began = performance.now()
let told = 0
process.stdout.write(`seed ${seed}\n`)
const { answers, faults, ...done } = await fuzz(seed, inputs, (count) => {
  if (count - told < 50_000) return
  told = count
  process.stdout.write(`${count} inputs, ${Math.round(count / ((performance.now() - began) / 1_000))}/s\n`)
})
process.stdout.write(
  `${done.inputs} inputs in ${Math.round((performance.now() - began) / 1_000)} s; answers ${JSON.stringify(answers)}; ${faults.length} faults\n`,
)
for (const fault of faults.slice(0, 20)) process.stdout.write(`\n${fault}\n`)
process.exit(faults.length > 0 ? 1 : 0)

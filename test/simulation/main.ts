import { parseArgs } from "node:util"
import { findMutant, mutants } from "./mutants.ts"
import { simulate } from "./simulate.ts"
import { faults } from "./world.ts"

// npm run simulate -- --seeds 2000 --from 1      checks that many seeds
// npm run simulate -- --replay 4711              one seed, with its trace
// npm run simulate -- --mutants                  whether the checks find bugs that are put in on purpose
//   --twice 20                                   runs the first so many seeds again: they must do the same
//   --json                                       one JSON object on standard output
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "1" },
    replay: { type: "string" },
    mutants: { type: "boolean", default: false },
    twice: { type: "string", default: "0" },
    json: { type: "boolean", default: false },
  },
})
const say = (line: string): void => {
  if (!values.json) console.log(line)
}
if (values.replay !== undefined) process.exit(await replay(Number(values.replay)))
process.exit(await (values.mutants ? hunt() : check(Number(values.from), Number(values.seeds))))

async function replay(seed: number): Promise<number> {
  const { trace, violations } = await simulate(seed)
  console.log(trace.join("\n"))
  console.log(violations.length === 0 ? "no violation" : violations.join("\n"))
  return violations.length === 0 ? 0 : 1
}

async function hunt(): Promise<number> {
  const found: { mutant: string; seed: number | null }[] = []
  for (const [mutant, mutate] of Object.entries(mutants)) {
    const seed = await findMutant(mutate, 300)
    found.push({ mutant, seed })
    say(`${seed === null ? "✗ not found" : `✓ seed ${seed}`}: ${mutant}`)
  }
  if (values.json) console.log(JSON.stringify({ mutants: found }))
  return found.every(({ seed }) => seed !== null) ? 0 : 1
}

async function check(from: number, seeds: number): Promise<number> {
  const began = performance.now()
  const coverage = new Map<string, number>()
  const total = { failed: 0, deaths: 0, runs: 0, virtualMs: 0, unequal: 0 }
  for (let seed = from; seed < from + seeds; seed++) {
    const result = await simulate(seed)
    total.deaths += result.crashes
    total.runs += result.runs
    total.virtualMs += result.virtualMs
    for (const [pair, n] of result.coverage) coverage.set(pair, (coverage.get(pair) ?? 0) + n)
    if (seed < from + Number(values.twice) && (await simulate(seed)).trace.join("\n") !== result.trace.join("\n")) {
      total.unequal++
      say(`seed ${seed} did not do the same twice`)
    }
    if (result.violations.length === 0) continue
    total.failed++
    say(`seed ${seed}:\n  ${result.violations.slice(0, 5).join("\n  ")}\n  replay: npm run simulate -- --replay ${seed}`)
  }
  const minutes = (performance.now() - began) / 60_000
  const commands = [...new Set([...coverage.keys()].map((pair) => pair.split(" ")[0] ?? ""))]
  const pairs = commands.flatMap((command) => faults.map((fault) => `${command} ${fault}`))
  const unmet = pairs.filter((pair) => !coverage.has(pair))
  const hours = Math.round(total.virtualMs / 360_000) / 10
  const perMinute = Math.round(seeds / minutes)
  say(
    `${seeds} seeds (${from} to ${from + seeds - 1}), ${total.failed} failed; ${perMinute} seeds a minute; ${total.deaths} node deaths, ` +
      `${total.runs} runs, ${hours} simulated hours, ${pairs.length - unmet.length} of ${pairs.length} pairs of command and fault`,
  )
  if (values.json) {
    const { failed, deaths, runs, unequal } = total
    console.log(
      JSON.stringify({
        from,
        seeds,
        failed,
        deaths,
        runs,
        hours,
        perMinute,
        commands: commands.length,
        pairs: pairs.length,
        unmet,
        twice: Number(values.twice),
        unequal,
      }),
    )
  }
  return total.failed + total.unequal === 0 ? 0 : 1
}

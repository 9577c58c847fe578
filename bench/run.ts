import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { bareLoop } from "./bare-loop.ts"
import { type FanoutFigures, fanout, growth, history, latency, recovery } from "./measure.ts"

// npm run bench                  all figures, for people
// npm run bench -- --json        one JSON object
// npm run bench -- --quick       small numbers, to see that it works
const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, quick: { type: "boolean", default: false } } })
const folder = mkdtempSync(join(tmpdir(), "fanfare-bench-"))
const jobs = values.quick ? 2_000 : 10_000
const rounds = values.quick ? 1 : 5
let files = 0
const file = (): string => join(folder, `${files++}.db`)
const say = (line: string): void => void (values.json || console.log(line))

/** The engine and the bare loop in turn, so that both meet the same weather; each figure is the median. */
async function compared(withStep: boolean): Promise<FanoutFigures & { ratioToBareLoop: number }> {
  const figures: FanoutFigures[] = []
  const ratios: number[] = []
  for (let i = 0; i < rounds; i++) {
    const bare = await bareLoop(file(), jobs, withStep)
    const measured = await fanout(file(), jobs, withStep)
    figures.push(measured)
    ratios.push(measured.runsPerSecond / bare.runsPerSecond)
  }
  const median = (pick: (each: FanoutFigures) => number): number => middle(figures.map(pick))
  return {
    jobs,
    sendMs: median((each) => each.sendMs),
    makespanMs: median((each) => each.makespanMs),
    runsPerSecond: median((each) => each.runsPerSecond),
    ratioToBareLoop: Math.round(middle(ratios) * 100) / 100,
    rssMb: Math.max(...figures.map((each) => each.rssMb)),
    loopDelayP99Ms: median((each) => each.loopDelayP99Ms),
  }
}

function middle(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}

try {
  say(`fan-out of ${jobs} no-op runs, and the same row work in a bare SQLite loop, ${rounds} rounds each …`)
  const noop = await compared(false)
  say(JSON.stringify(noop))
  say("the same with one step in each run …")
  const steps = await compared(true)
  say(JSON.stringify(steps))
  say("start latency of single events on an idle engine …")
  const idle = await latency(file(), values.quick ? 100 : 300)
  say(JSON.stringify(idle))
  say("growth …")
  const grown = await growth(file, values.quick ? [1_000, 2_000] : [1_000, 10_000, 100_000])
  say(JSON.stringify(grown))
  say("a history of finished runs in the file …")
  const past = await history(file(), file(), values.quick ? 20_000 : 1_000_000)
  say(JSON.stringify(past))
  say("recovery after SIGKILL …")
  const recoveryMs = await recovery(file())
  const all = { store: "sqlite", fanout: noop, steps, latency: idle, growth: grown, history: past, recoveryMs }
  if (values.json) console.log(JSON.stringify(all))
  else console.log(JSON.stringify(all, null, 2))
} finally {
  rmSync(folder, { recursive: true, force: true })
}

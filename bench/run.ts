import { parseArgs } from "node:util"
import { bareLoop } from "./bare-loop.ts"
import { counting, fanouts } from "./fanouts.ts"
import { flow } from "./flow.ts"
import { type FanoutFigures, fanout, growth, history, latency, recovery } from "./measure.ts"
import { nodes } from "./nodes.ts"
import { openPlaces } from "./place.ts"

// npm run bench                        all figures, for people
// npm run bench -- --db postgres       the same on a PostgreSQL that is started for it
// npm run bench -- --json              one JSON object
// npm run bench -- --quick             small numbers, to see that it works
// npm run bench -- --only fanout       one of fanout, steps, latency, growth, history, flow, recoveryMs, pinned, nodes
const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    db: { type: "string", default: "sqlite" },
    only: { type: "string" },
  },
})
const store = values.db === "postgres" ? "postgres" : "sqlite"
const places = await openPlaces(store)
const jobs = values.quick ? 2_000 : 10_000
const rounds = values.quick ? 1 : 5
const all: Record<string, unknown> = { store }

async function measure(name: string, what: string, work: () => Promise<unknown>): Promise<void> {
  if (values.only !== undefined && values.only !== name) return
  if (!values.json) console.log(what)
  all[name] = await work()
  if (!values.json) console.log(JSON.stringify(all[name]))
}

/** The engine and the bare loop in turn, so that both meet the same weather; each figure is the median. */
async function compared(withStep: boolean): Promise<FanoutFigures & { ratioToBareLoop: number }> {
  const figures: FanoutFigures[] = []
  const ratios: number[] = []
  for (let i = 0; i < rounds; i++) {
    const bare = await bareLoop(await places.connect(await places.next()), jobs, withStep)
    const measured = await fanout(await places.next(), jobs, withStep)
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

/** The second of two large fan-outs, whose dead rows may not be cleared, against one in a store without such a transaction. */
async function pinned(size: number): Promise<{ jobs: number; runsPerSecond: number; ratioToUnpinned: number }> {
  const rates: number[][] = [[], []]
  for (let i = 0; i < (values.quick ? 1 : 3); i++) {
    for (const [k, rate] of rates.entries()) {
      const place = await places.next()
      await fanout(place, 100, false)
      const release = k === 0 ? await places.pin(place) : async () => undefined
      await fanout(place, size, false)
      rate.push((await fanout(place, size, false)).runsPerSecond)
      await release()
    }
  }
  const [held = [], free = []] = rates
  return { jobs: size, runsPerSecond: middle(held), ratioToUnpinned: Math.round((middle(held) / middle(free)) * 100) / 100 }
}

function middle(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}

try {
  await measure("fanout", `fan-out of ${jobs} no-op runs, and the same row work in a bare loop, ${rounds} rounds each …`, () =>
    compared(false),
  )
  await measure("steps", "the same with one step in each run …", () => compared(true))
  await measure("latency", "start latency of single events on an idle engine …", async () =>
    latency(await places.next(), values.quick ? 100 : 300),
  )
  await measure("growth", "growth …", () => growth(() => places.next(), values.quick ? [1_000, 2_000] : [1_000, 10_000, 100_000]))
  await measure("history", "a history of finished runs …", async () =>
    history(await places.next(), await places.next(), values.quick ? 20_000 : 1_000_000),
  )
  await measure("flow", "a backlog of one key in front of others, and as many keys as runs …", () =>
    flow(places, values.quick ? 5_000 : 100_000),
  )
  await measure("recoveryMs", "recovery after SIGKILL …", async () => recovery(await places.next()))
  await measure("joins", "a fan-out that is joined per one that is only sent, and its page …", async () =>
    fanouts(places, values.quick ? 2_000 : 100_000, values.quick ? 1 : 5),
  )
  if (store === "postgres")
    await measure("counting", "four nodes end the runs of one fan-out …", () => counting(places, values.quick ? 5_000 : 100_000, 4))
  if (store === "postgres")
    await measure("pinned", "under a long transaction that pins the horizon …", () => pinned(values.quick ? 5_000 : 100_000))
  if (store === "postgres") await measure("nodes", "two nodes, one dies, one leaves …", () => nodes(places, jobs, values.quick ? 2 : 10))
  if (values.json) console.log(JSON.stringify(all))
} finally {
  await places.close()
}

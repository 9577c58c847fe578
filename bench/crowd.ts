import { parseArgs } from "node:util"
import { Fanfare } from "../src/index.ts"
import { seededRandom } from "../src/testing/random.ts"
import type { App } from "../src/core/app.ts"
import { World } from "../test/simulation/world.ts"

// node bench/crowd.ts [--nodes 100] [--seconds 60] [--events 20000] [--json]
// More nodes than a machine has room for: real engines under a virtual clock on one store in memory. How often they ask the store when
// there is nothing to do and when there is, and what becomes of the runs when a third of the nodes die meanwhile.
const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "100" },
    seconds: { type: "string", default: "60" },
    events: { type: "string", default: "20000" },
    json: { type: "boolean", default: false },
  },
})
const seconds = Number(values.seconds)
const results = []
for (const nodes of [1, 10, Number(values.nodes)]) {
  const result = await crowd(nodes, Number(values.events))
  results.push(result)
  if (!values.json) console.log(JSON.stringify(result))
}
if (values.json) console.log(JSON.stringify({ seconds, results }))
process.exit(results.every(({ unfinished, doubled }) => unfinished + doubled === 0) ? 0 : 1)

async function crowd(nodes: number, events: number): Promise<Record<string, number> & { unfinished: number; doubled: number }> {
  const random = seededRandom(nodes, "crowd")
  const apps = (): App[] => {
    const app = new Fanfare({ id: "crowd" })
    app.createFunction({ id: "noop", triggers: [{ event: "crowd/noop" }], retries: 20 }, () => null)
    return [app]
  }
  const world = await World.open({ seed: nodes, nodes, faults: { slow: 0, refused: 0, crash: 0, jump: 0 }, skewMs: 1_000, apps })
  for (const node of world.nodes) node.boot()
  await world.pass(10_000)
  const asked = (): number => world.trace.length
  const before = asked()
  await world.pass(seconds * 1_000)
  const idle = (asked() - before) / seconds / nodes
  const loaded = asked()
  const part = Math.ceil(events / seconds)
  for (let second = 0; second < seconds; second++) {
    const up = world.nodes.filter(({ engine }) => engine !== null)
    const sender = up[Math.floor(random.next() * up.length)]
    await world.pass(0)
    const sent = sender?.engine?.intake.send(
      Array.from({ length: part }, (_, i) => ({ name: "crowd/noop", id: `${second} ${i}`, data: {} })),
    )
    await world.pass(1_000)
    await sent
    // Never the last one that is up.
    if (nodes > 1 && second % 3 === 0 && second < seconds / 2) world.nodes[Math.floor(random.next() * (nodes - 1)) + 1]?.crash()
  }
  world.heal()
  for (let i = 0; i < 60 && (await count(world, "select count(*) as n from run where id not in (select run_id from result)")) > 0; i++) {
    await world.pass(1_000)
  }
  const commands = asked() - loaded
  const result = {
    nodes,
    idleCommandsPerNodeSecond: round(idle),
    runs: await count(world, "select count(*) as n from run"),
    deaths: world.crashes,
    commandsPerRun: round(commands / events),
    unfinished: await count(world, "select count(*) as n from run where id not in (select run_id from result)"),
    doubled: await count(world, "select count(*) as n from (select event_id from run group by event_id having count(*) > 1) as d"),
  }
  await world.close()
  return result
}

async function count(world: World, sql: string): Promise<number> {
  const [row] = await world.db.query<{ n: number }>(sql)
  return row?.n ?? 0
}

function round(n: number): number {
  return Math.round(n * 1_000) / 1_000
}

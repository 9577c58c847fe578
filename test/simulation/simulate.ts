import type { Random } from "../../src/core/ports.ts"
import type { EventInput } from "../../src/core/event.ts"
import type { Store } from "../../src/store/store.ts"
import { seededRandom } from "../../src/testing/random.ts"
import { checkAll, checkNow } from "./checks.ts"
import { storeOn } from "../../src/store/store.ts"
import { createApps, flowEvents, Ledger, tenants } from "./workload.ts"
import { World } from "./world.ts"

export interface Simulation {
  readonly seed: number
  readonly violations: readonly string[]
  readonly trace: readonly string[]
  readonly coverage: ReadonlyMap<string, number>
  readonly crashes: number
  readonly runs: number
  readonly virtualMs: number
}

/** One seed: a cluster, a workload, faults, a healing, and what must be true in the end. */
export async function simulate(seed: number, mutate?: (store: Store) => Store): Promise<Simulation> {
  const random = seededRandom(seed, "plan")
  const ledger = new Ledger()
  const world = await World.open({ seed, ...plan(random), apps: createApps(seed, ledger), ...(mutate === undefined ? {} : { mutate }) })
  const began = world.clock.now()
  const violations: string[] = []
  for (const node of world.nodes) node.boot()
  const rounds = 3 + Math.floor(random.next() * 4)
  for (let round = 0; round < rounds; round++) {
    sendSome(world, ledger, random, round)
    await world.pass(500 + random.next() * 4_000)
    if (random.next() < world.options.faults.jump) {
      world.clock.jump(random.next() * 120_000)
      world.interruptions++
    }
    await turnLimits(world, random)
    violations.push(...(await checkNow(world.db)))
  }
  await settleLimits(world)
  world.heal()
  await world.pass(6_000)
  // Schedules would go on for ever: the liveness phase has an end.
  await world.db.execute("update schedule set next_at = null")
  for (let i = 0; i < 120 && (await unfinished(world)); i++) await world.pass(5_000)
  violations.push(...(await checkNow(world.db)), ...(await checkAll(world, ledger)))
  const [row] = await world.db.query<{ n: number }>("select count(*) as n from run")
  const { trace, coverage, crashes } = world
  const virtualMs = world.clock.now() - began
  await world.close()
  return { seed, violations, trace, coverage, crashes, runs: row?.n ?? 0, virtualMs }
}

/** Faults differ from seed to seed: some only crash, some only lag, some have none. */
function plan(random: Random): Pick<World["options"], "nodes" | "faults" | "skewMs"> {
  const maybe = (chance: number, most: number): number => (random.next() < chance ? random.next() * most : 0)
  return {
    nodes: 1 + Math.floor(random.next() * 3),
    faults: { slow: maybe(0.5, 0.05), refused: maybe(0.5, 0.05), crash: maybe(0.7, 0.06), jump: maybe(0.3, 0.3) },
    skewMs: maybe(0.4, 2_000),
  }
}

function sendSome(world: World, ledger: Ledger, random: Random, round: number): void {
  const sends = 1 + Math.floor(random.next() * 3)
  for (let i = 0; i < sends; i++) {
    const node = world.nodes[Math.floor(random.next() * world.nodes.length)]
    const flows = random.next() < 0.35
    const names = flows ? flowEvents : ["sim/plain", "sim/steps", "sim/parent", "sim/child", "sim/join"]
    const name = names[Math.floor(random.next() * names.length)] ?? "sim/plain"
    const n = 1 + Math.floor(random.next() * (flows ? 6 : 3))
    const tenant = (): string => tenants[Math.floor(random.next() * tenants.length)] ?? "hot"
    const events = Array.from({ length: n }, (_, k) => ({ name, data: flows ? { k, tenant: tenant() } : { k }, id: `${round}.${i}.${k}` }))
    if (node?.engine === null || node === undefined) continue
    deliver(ledger, events, node)
    // The same send again, as a client does that did not hear an answer.
    const other = world.nodes[Math.floor(random.next() * world.nodes.length)]
    if (random.next() < 0.3 && other !== undefined) world.clock.after(random.next() * 3_000, () => deliver(ledger, events, other))
  }
}

function deliver(ledger: Ledger, events: readonly (EventInput & { id: string })[], node: World["nodes"][number]): void {
  if (node.engine === null) return
  ledger.unknown.push(events.map(({ id }) => id))
  node.engine.intake.send(events).then(
    ({ ids }) => {
      for (const [i, id] of ids.entries()) ledger.acked.push({ id, name: events[i]?.name ?? "", key: events[i]?.id })
    },
    () => undefined,
  )
}

/** Somebody pauses a function, lets it go on, or changes a limit, while everything runs. */
async function turnLimits(world: World, random: Random): Promise<void> {
  const store = storeOn(world.db, world.clock)
  const name = flowEvents[Math.floor(random.next() * flowEvents.length)]?.replace("/", "-").replace(".", "-") ?? ""
  const x = random.next()
  if (x < 0.2) await store.pause(name, random.next() < 0.5 ? "keep" : "skip")
  else if (x < 0.4) await store.pause(name, null)
  else if (x < 0.5) await store.setLimit("env:shared", 1)
  else if (x < 0.6) await store.setLimit("env:shared", null)
}

async function settleLimits({ db, clock }: World): Promise<void> {
  const store = storeOn(db, clock)
  for (const { id } of await db.query<{ id: string }>("select id from function where paused is not null")) await store.pause(id, null)
  await store.setLimit("env:shared", null)
}

async function unfinished(world: World): Promise<boolean> {
  const [row] = await world.db.query<{ n: number }>(
    "select (select count(*) from run where id not in (select run_id from result)) + (select count(*) from finished) as n",
  )
  return (row?.n ?? 0) > 0
}

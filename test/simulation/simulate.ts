import type { Random } from "../../src/core/ports.ts"
import type { EventInput } from "../../src/core/event.ts"
import type { FanOutRules } from "../../src/core/gate.ts"
import { pullOf } from "../../src/sdk/source.ts"
import { storeOn } from "../../src/store/store.ts"
import { seededRandom } from "../../src/testing/random.ts"
import type { Engine } from "../../src/engine/engine.ts"
import { checkAll, checkNow } from "./checks.ts"
import { beats, createApps, flowEvents, Ledger, pausing, tenants } from "./workload.ts"
import { World, type WorldOptions } from "./world.ts"

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
export async function simulate(seed: number, mutate?: WorldOptions["mutate"]): Promise<Simulation> {
  const random = seededRandom(seed, "plan")
  const ledger = new Ledger()
  const world = await World.open({ seed, ...plan(random), apps: createApps(seed, ledger), ...(mutate === undefined ? {} : { mutate }) })
  const began = world.clock.now()
  const violations: string[] = []
  for (const node of world.nodes) node.boot()
  const scheduled = random.next() < 0.5
  const rounds = 1 + Math.floor(random.next() * 3)
  for (let round = 0; round < rounds; round++) {
    sendSome(world, ledger, random, round)
    if (random.next() < 0.35) letLoose(world, ledger, random, round)
    await meddle(world, ledger, random)
    if (scheduled) for (let i = 0; i < 2; i++) changeSchedules(world, random, began)
    disturb(world, ledger, random)
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
  const going = new Set<string>()
  // What is wrong already may never end.
  for (let i = 0; i < 120 && violations.length === 0 && (await unfinished(world)); i++) {
    await goOn(world, ledger, going)
    await world.pass(5_000)
  }
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
    skewMs: maybe(0.5, random.next() < 0.5 ? 2_000 : 30_000),
  }
}

const kinds = [
  "sim/plain",
  "sim/steps",
  "sim/parent",
  "sim/child",
  "sim/join",
  "sim/produce",
  "sim/wait",
  "sim/wait",
  "sim/stoppable",
  "sim/call",
]
const cancellable = new Set(["sim-waiter", "sim-stoppable", "sim-caller", "sim-steps"])

/** Answers, stops and cancels that race with what the runs do. */
function disturb(world: World, ledger: Ledger, random: Random): void {
  for (let i = 0; i < 3; i++) {
    const node = world.nodes[Math.floor(random.next() * world.nodes.length)]
    const kind = random.next()
    const k = `${Math.floor(random.next() * 3)}`
    world.clock.after(random.next() * 30_000, () => {
      if (node?.engine === null || node === undefined) return
      if (kind < 0.7) tell(world, ledger, node.engine, kind < 0.5 ? "sim/answer" : "sim/stop", k)
      else void cancelOne(world, ledger, node.engine, random.next())
    })
  }
}

function tell(world: World, ledger: Ledger, engine: Engine, name: string, k: string): void {
  const from = world.clock.now()
  engine.intake.send([{ name, data: { k } }]).then(
    () => ledger.told.push({ name, k, from, until: world.clock.now() }),
    () => undefined,
  )
}

async function cancelOne(world: World, ledger: Ledger, engine: Engine, x: number): Promise<void> {
  const { items } = await engine.intake.runs.list({ limit: 50 })
  const open = items.filter(({ functionId, endedAt }) => cancellable.has(functionId) && endedAt === null)
  const run = open[Math.floor(x * open.length)]
  if (run === undefined) return
  const { cancelled } = await engine.intake.runs.cancel(run.id).catch(() => ({ cancelled: false }))
  if (cancelled) ledger.cancelled.set(run.id, world.clock.now())
}

function sendSome(world: World, ledger: Ledger, random: Random, round: number): void {
  const sends = 1 + Math.floor(random.next() * 3)
  for (let i = 0; i < sends; i++) {
    const node = world.nodes[Math.floor(random.next() * world.nodes.length)]
    const flows = random.next() < 0.3
    const names = flows ? flowEvents : kinds
    const name = names[Math.floor(random.next() * names.length)] ?? "sim/plain"
    const n = 1 + Math.floor(random.next() * (flows ? 6 : 3))
    const tenant = (): string => tenants[Math.floor(random.next() * tenants.length)] ?? "hot"
    const events = Array.from({ length: n }, (_, k) => ({
      name,
      data: flows ? { k: `${k}`, tenant: tenant() } : { k: `${k}` },
      id: `${round}.${i}.${k}`,
    }))
    if (node?.engine === null || node === undefined) continue
    deliver(ledger, events, node)
    // The same send again, as a client does that did not hear an answer.
    const other = world.nodes[Math.floor(random.next() * world.nodes.length)]
    if (random.next() < 0.3 && other !== undefined) world.clock.after(random.next() * 3_000, () => deliver(ledger, events, other))
  }
}

/** Upserts that repeat themselves, pauses, backfills: from whichever node, whether it lives to see the answer or not. */
function changeSchedules(world: World, random: Random, began: number): void {
  const node = world.nodes[Math.floor(random.next() * world.nodes.length)]
  const id = beats[Math.floor(random.next() * beats.length)]?.id ?? ""
  const x = random.next()
  const from = Math.max(began, world.clock.now() - 8_000) - Math.floor(random.next() * 8_000)
  if (node?.engine === null || node === undefined) return
  const { schedules } = node.engine.intake
  const change = async (): Promise<unknown> => {
    await schedules.upsert("sim", beats)
    if (x < 0.15) return schedules.pause(id, { app: "sim", note: "simulated" })
    if (x < 0.4) return schedules.resume(id, { app: "sim" })
    return x < 0.85 ? schedules.backfill(id, from, world.clock.now(), { app: "sim", overlap: "queue" }) : null
  }
  change().catch(() => undefined)
}

function deliver(
  ledger: Ledger,
  events: readonly (EventInput & { id: string })[],
  node: World["nodes"][number],
  rules: FanOutRules = {},
): void {
  if (node.engine === null) return
  ledger.unknown.push(events.map(({ id }) => id))
  node.engine.intake.send(events, { rules }).then(
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

/** Fan-outs with rules, and from sources: what the world may ask to be let loose. */
function letLoose(world: World, ledger: Ledger, random: Random, round: number): void {
  const node = world.nodes[Math.floor(random.next() * world.nodes.length)]
  if (node?.engine === null || node === undefined) return
  const n = 2 + Math.floor(random.next() * 8)
  const rules = rulesOf[Math.floor(random.next() * rulesOf.length)] ?? {}
  if (random.next() < 0.5) {
    deliver(
      ledger,
      Array.from({ length: n }, (_, i) => ({ name: "sim/leaf", data: { i }, id: `gated ${round} ${i}` })),
      node,
      rules,
    )
  } else {
    ledger.sources.set(`source ${round}`, n)
    produce(world, ledger, node, `source ${round}`)
  }
}

const rulesOf: readonly FanOutRules[] = [
  { canary: 2 },
  { canary: "50%", breaker: { failures: 1 } },
  { breaker: { failures: "30%", min: 2 } },
  { spread: "3s" },
  { rate: 4, canary: 1 },
]

/** Sends a source, or goes on with it: several nodes may do so at the same time. */
function produce(world: World, ledger: Ledger, node: World["nodes"][number], key: string, ended: () => void = () => undefined): void {
  const { engine, life } = node
  const label = `${key} ${world.clock.now()} ${node.name}`
  const chance = (what: string): number => (world.faulty ? seededRandom(world.options.seed, what).next() : 0.5)
  const page = pausing(node, label, ledger.sources.get(key) ?? 0, () => node.lives(life), chance)
  engine?.intake
    .sendSource(
      { key, runId: null, rules: { canary: 1 } },
      pullOf(page, (event) => event),
    )
    .then(ended, ended)
}

/** Someone cancels, retries or resumes a fan-out, whatever its state. */
async function meddle(world: World, ledger: Ledger, random: Random): Promise<void> {
  const fanouts = await world.db.query<{ id: string }>("select id from fanout where name = 'sim/leaf' order by id desc limit 3")
  const id = fanouts[Math.floor(random.next() * fanouts.length)]?.id
  const engine = world.nodes[Math.floor(random.next() * world.nodes.length)]?.engine
  const x = random.next()
  if (id === undefined || engine === null || engine === undefined) return
  const { fanouts: all } = engine.intake
  if (x < 0.15) {
    ledger.cancelledFanouts.add(id)
    all.cancel(id).catch(() => undefined)
  } else if (x < 0.4) {
    ledger.retried.add(id)
    // The same attempt of a run may begin again.
    world.interruptions++
    all.retry(id).catch(() => undefined)
  } else if (x < 0.5) all.resume(id).catch(() => undefined)
}

/** In the end every source is gone on with until it is whole, and what was stopped goes on. */
async function goOn(world: World, ledger: Ledger, going: Set<string>): Promise<void> {
  const [node] = world.nodes
  if (node === undefined) return
  for (const key of ledger.sources.keys()) {
    if (!key.startsWith("source")) continue
    const [row] = await world.db.query<{ sealed_at: number | null }>("select sealed_at from fanout where key = $1", [key])
    if (row?.sealed_at == null && !going.has(key)) {
      going.add(key)
      produce(world, ledger, node, key, () => going.delete(key))
    }
  }
  // A run that has failed does not go on with its source: a day later the fan-out is sealed.
  await world.db.execute("update fanout set grown_at = 0 where sealed_at is null and run_id in (select run_id from result)")
  await storeOn(world.db, world.clock).prune(0, 10)
  const paused = await world.db.query<{ id: string }>("select id from fanout where paused_at is not null")
  for (const { id } of paused) node.engine?.intake.fanouts.resume(id).catch(() => undefined)
}

async function unfinished(world: World): Promise<boolean> {
  const [row] = await world.db.query<{ n: number }>(
    `select (select count(*) from run where id not in (select run_id from result)) + (select count(*) from finished)
       + (select count(*) from fanout where sealed_at is null) + (select count(*) from operation where ended_at is null) as n`,
  )
  return (row?.n ?? 0) > 0
}

import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openConnections, type Connection, type SpikeStore } from "./connections.ts"
import { createLimits, type Held, type Variant, variants } from "./limit-variants.ts"

// node bench/spikes/limits.ts [runs]
// Limits per key, three ways, on SQLite and PostgreSQL 18: a backlog of one key in front of another, a key per run, three limits per run,
// and four connections of which one is killed now and then.
const runs = Number(process.argv[2] ?? 100_000)
const pad = (i: number): string => String(i).padStart(12, "0")

interface Scenario {
  readonly name: string
  readonly rows: readonly Held[]
  /** Stop when that many have ended. */
  readonly stopAfter: number
  readonly only?: Variant
}

const backlog = (n: number): Held[] => [
  ...Array.from({ length: n }, (_, i): Held => ({ id: `a${pad(i)}`, keys: [["a", 10]] })),
  ...Array.from({ length: 1_000 }, (_, i): Held => ({ id: `b${pad(i)}`, keys: [["b", 10]] })),
]
const scenarios: readonly Scenario[] = [
  { name: `${runs} runs of one key (limit 10) in front of 1,000 of another: 2,000 runs`, rows: backlog(runs), stopAfter: 2_000 },
  {
    name: "20,000 keys with one run each, limit 1",
    rows: Array.from({ length: 20_000 }, (_, i) => ({ id: `r${pad(i)}`, keys: [[`k${i}`, 1]] })),
    stopAfter: 20_000,
  },
  {
    name: "5,000 runs with three limits: function 50, one of 100 keys 2, shared 30",
    rows: Array.from({ length: 5_000 }, (_, i) => ({
      id: `r${pad(i)}`,
      keys: [
        ["function", 50],
        [`key${i % 100}`, 2],
        ["shared", 30],
      ],
    })),
    stopAfter: 5_000,
  },
]

async function measure(c: Connection, variant: Variant, { rows, stopAfter }: Scenario): Promise<string> {
  const limits = createLimits(c, variant)
  await c.reset()
  await limits.create()
  for (let i = 0; i < rows.length; i += 5_000) await c.tx(() => limits.add(rows.slice(i, i + 5_000)))
  const claims: number[] = []
  const began = performance.now()
  let ended = 0
  let held: Held[] = []
  while (ended < stopAfter && performance.now() - began < 20_000) {
    const start = performance.now()
    const last = held
    held = await c.tx(async () => {
      if (last.length > 0) await limits.settle(last)
      return limits.claim(100)
    })
    claims.push(performance.now() - start)
    ended += last.length
  }
  const seconds = (performance.now() - began) / 1_000
  claims.sort((a, b) => a - b)
  const p99 = claims[Math.floor(claims.length * 0.99)] ?? 0
  return `${Math.round(ended / seconds)} runs/s, turn p99 ${p99.toFixed(1)} ms${ended < stopAfter ? `, given up after ${ended}` : ""}`
}

/** Four nodes, each on its own connection; now and then one is cut off in the middle of a transaction and its leases are taken over. */
async function deaths(store: SpikeStore, variant: Variant): Promise<string> {
  const { connection } = store
  const total = 6_000
  const setup = createLimits(connection, variant)
  await connection.reset()
  await setup.create()
  const rows = Array.from(
    { length: total },
    (_, i): Held => ({
      id: `r${pad(i)}`,
      keys: [
        ["function", 40],
        [`key${i % 20}`, 3],
      ],
    }),
  )
  await connection.tx(() => setup.add(rows))
  let deadlocks = 0
  let killed = 0
  let over = 0
  const left = async (): Promise<number> =>
    total - ((await connection.query<{ n: string | number }>("select count(*) as n from ended", [])).map(({ n }) => Number(n))[0] ?? 0)
  const node = async (id: number): Promise<void> => {
    let life = 0
    let other = await store.another()
    let limits = createLimits(other.connection, variant, `n${id}.${life}`)
    let held: Held[] = []
    while ((await left()) > 0) {
      const dies = Math.random() < 0.02
      try {
        const last = held
        held = await other.connection.tx(async () => {
          if (last.length > 0) await limits.settle(last)
          const claimed = await limits.claim(10)
          if (dies) await other.kill()
          return claimed
        })
      } catch (error) {
        const code = (error as { code?: string }).code
        if (code === "40P01") deadlocks++
        if (dies) killed++
        held = []
        await other.end().catch(() => undefined)
        other = await store.another()
        const dead = `n${id}.${life}`
        limits = createLimits(other.connection, variant, `n${id}.${++life}`)
        await other.connection
          .tx(() => limits.takeOver(dead))
          .catch((again: unknown) => {
            if ((again as { code?: string }).code === "40P01") deadlocks++
          })
      }
      over += await setup.exceeded()
      if (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await other.end()
  }
  const began = performance.now()
  const end = await Promise.race([
    Promise.all([0, 1, 2, 3].map(node)).then(() => "all ended"),
    new Promise<string>((resolve) => setTimeout(resolve, 60_000, "stuck")),
  ])
  const seconds = (performance.now() - began) / 1_000
  const stuck = end === "stuck" ? `, ${await left()} never ended` : ""
  return `${end}${stuck} in ${seconds.toFixed(1)} s; ${killed} deaths, ${over} times over a limit, ${deadlocks} deadlocks`
}

const folder = mkdtempSync(join(tmpdir(), "fanfare-spike-"))
chmodSync(folder, 0o755)
const { stores, close } = await openConnections(folder)
try {
  for (const store of stores) {
    console.log(`\n${store.name}`)
    for (const scenario of scenarios) {
      console.log(`  ${scenario.name}`)
      for (const variant of variants) console.log(`    ${variant.padEnd(18)} ${await measure(store.connection, variant, scenario)}`)
    }
    if (store.name === "SQLite") continue
    console.log("  four connections with random deaths, 6,000 runs with two limits")
    for (const variant of variants) console.log(`    ${variant.padEnd(18)} ${await deaths(store, variant)}`)
  }
} finally {
  await close()
  rmSync(folder, { recursive: true, force: true })
}
process.exit(0)

import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { parseArgs } from "node:util"
import { defineFunction } from "../src/core/definition.ts"
import { defaultPolicies } from "../src/core/schedule.ts"
import type { CheckedSchedule } from "../src/core/schedules.ts"
import { Loop } from "../src/engine/loop.ts"
import { systemClock, systemRandom } from "../src/engine/system.ts"
import { Telemetry } from "../src/engine/telemetry.ts"
import { createTicker } from "../src/engine/ticker.ts"
import type { Db } from "../src/store/db.ts"
import { postgresPlace } from "../src/store/open-postgres.ts"
import { openPostgres, upgradePostgres } from "../src/store/postgres.ts"
import { openSqlite } from "../src/store/sqlite.ts"
import { openStore, type Store } from "../src/store/store.ts"
import { startPostgres } from "../test/store/postgres.ts"

// node bench/schedules.ts [--db postgres] [--schedules 1000000] [--seconds 30] [--json]
// So many schedules, a thousandth of them due in each second: how late their moments are decided, and what the ticker costs its node. The store
// is in this thread, and nothing else runs here: all that this process uses is the ticker's.
const { values } = parseArgs({
  options: {
    db: { type: "string", default: "sqlite" },
    schedules: { type: "string", default: "1000000" },
    seconds: { type: "string", default: "30" },
    json: { type: "boolean", default: false },
  },
})
const schedules = Number(values.schedules)
const seconds = Number(values.seconds)
const periodMs = 1_000_000

async function open(): Promise<{ db: Db; close: () => Promise<void> }> {
  if (values.db === "postgres") {
    const server = await startPostgres(["max_wal_size=4GB"])
    const options = { ...postgresPlace(await server.database()), wait: (ms: number) => delay(ms), newId: randomUUID }
    await upgradePostgres({ ...options, connections: 1, use: "upgrade" })
    const db = await openPostgres({ ...options, connections: 4, use: "engine" })
    return { db, close: () => db.close().then(() => server.stop()) }
  }
  const folder = mkdtempSync(join(tmpdir(), "fanfare-bench-"))
  const db = openSqlite({ file: join(folder, "bench.db"), clock: systemClock })
  return { db, close: () => db.close().then(() => rmSync(folder, { recursive: true, force: true })) }
}

async function fill(store: Store): Promise<number> {
  const definition = defineFunction("bench", { id: "f", triggers: [] })
  const changes = [
    { kind: "app.put", appId: "bench", functionIds: [definition.id], at: 1 },
    { kind: "function.put", definition, at: 1 },
  ] as const
  await store.turn({ units: [{ changes, guard: null, registry: null }], claim: null })
  const began = performance.now()
  const origin = Date.now() - periodMs
  for (let from = 0; from < schedules; from += 1_000) {
    const part = Array.from(
      { length: Math.min(1_000, schedules - from) },
      (_, i): CheckedSchedule => ({
        id: `bench-user-${from + i}`,
        functionId: definition.id,
        event: null,
        // A period apart each, begun at a moment of their own.
        rule: { kind: "every", everyMs: periodMs, anchorAt: origin + Math.floor(((from + i) * periodMs) / schedules) },
        policies: defaultPolicies,
        data: `{"user":${from + i}}`,
        tag: null,
      }),
    )
    await store.upsertSchedules(part)
  }
  return (schedules / (performance.now() - began)) * 1_000
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0
}

const { db, close } = await open()
const store = await openStore(db, systemClock)
const rate = await fill(store)
if (!values.json) console.log(`${values.db}: ${schedules} schedules upserted at ${Math.round(rate)}/s`)
let looks = 0
const counted: Pick<Store, "tick"> = { tick: (chance) => (looks++, store.tick(chance)) }
const ticker = createTicker({
  store: counted,
  committer: { ring: () => undefined },
  executor: { supersede: () => undefined },
  clock: systemClock,
  random: systemRandom,
  telemetry: new Telemetry(),
  pollMs: 1_000,
})
const loop = new Loop(ticker, systemClock, (_agent, error) => console.error(error))
loop.start()
// What came due while they were made is caught up first.
for (let behind = 1; behind > 0; await delay(500)) {
  const [row] = await db.query<{ n: number }>("select count(*) as n from schedule where next_at is not null and next_at < $1", [
    Date.now() - 1_000,
  ])
  behind = row?.n ?? 0
}
await delay(2_000)
const since = Date.now()
const cpu = process.cpuUsage()
looks = 0
await delay(seconds * 1_000)
const used = process.cpuUsage(cpu)
const until = Date.now()
await loop.stop()
const late = (
  await db.query<{ late: number }>("select decided_at - at as late from tick where decided_at > $1 and decided_at <= $2", [since, until])
)
  .map((row) => row.late)
  .toSorted((a, b) => a - b)
const share = ((used.user + used.system) / 1_000 / (until - since)) * 100
const figures = {
  schedules,
  seconds,
  moments: late.length,
  p50: quantile(late, 0.5),
  p99: quantile(late, 0.99),
  max: late.at(-1) ?? 0,
  share,
}
if (values.json) console.log(JSON.stringify(figures))
else
  console.log(
    `${late.length} moments in ${seconds} s (${Math.round(late.length / seconds)}/s), ${looks} looks; late p50 ${quantile(late, 0.5)} ms, p99 ${quantile(late, 0.99)} ms, ` +
      `most ${late.at(-1) ?? 0} ms; ticker ${share.toFixed(1)} % of one core`,
  )
await close()
process.exit(0)

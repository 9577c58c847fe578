import { randomUUID } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Unit } from "../../src/core/change.ts"
import { defineFunction } from "../../src/core/definition.ts"
import type { ClaimedRun } from "../../src/core/run.ts"
import { defaultPolicies } from "../../src/core/schedule.ts"
import { systemClock } from "../../src/engine/system.ts"
import type { Db } from "../../src/store/db.ts"
import { postgresPlace } from "../../src/store/open-postgres.ts"
import { openPostgres } from "../../src/store/postgres.ts"
import { openStore, type Store, storeOn } from "../../src/store/store.ts"
import { startPostgres, type TestServer } from "./postgres.ts"

let server: TestServer
let dbs: Db[]
let db: Db
let stores: Store[]
beforeAll(async () => {
  server = await startPostgres()
  const place = postgresPlace(await server.database())
  const open = (): Promise<Db> => openPostgres({ ...place, connections: 3, use: "engine", wait: (ms) => delay(ms), newId: randomUUID })
  dbs = await Promise.all(Array.from({ length: 4 }, open))
  const [first, ...others] = dbs
  if (first === undefined) throw new Error("a connection expected")
  db = first
  stores = [await openStore(db, systemClock), ...others.map((other) => storeOn(other, systemClock))]
}, 60_000)
afterAll(async () => {
  await Promise.all(dbs.map((each) => each.close()))
  await server.stop()
})

function settle(run: ClaimedRun): Unit {
  const settlement = { to: "completed", output: "1", failure: null } as const
  return {
    changes: [{ kind: "run.settle", run, attempt: run.attempt, startedAt: 5, endedAt: 9, settlement }],
    guard: { runId: run.id, fence: run.fence },
    registry: null,
  }
}

describe("nodes on PostgreSQL", () => {
  it("decide each moment of schedules once, while others backfill, pause and change the same ones", { timeout: 30_000 }, async () => {
    const definition = defineFunction("app", { id: "f", triggers: [] })
    const changes = [
      { kind: "app.put", appId: "app", functionIds: [definition.id], at: 1 },
      { kind: "function.put", definition, at: 1 },
    ] as const
    await stores[0]?.turn({ units: [{ changes, guard: null, registry: null }], claim: null })
    const anchorAt = (await db.now()) - 20_000
    const overlaps = ["allow", "skip", "queue", "cancel"] as const
    const wishes = Array.from({ length: 200 }, (_, i) => ({
      id: `app-s${i}`,
      functionId: definition.id,
      event: null,
      rule: { kind: "every" as const, everyMs: 1_000, anchorAt },
      policies: { ...defaultPolicies, overlap: overlaps[i % 4] ?? "allow" },
      data: null,
      tag: null,
    }))
    await stores[0]?.upsertSchedules(wishes)
    const end = Date.now() + 4_000
    let drawn = 0
    const chance = (i: number): [number, number] => [(++drawn * 0.618 + i / 7) % 1, (drawn * 0.414) % 1]
    const work = stores.map(async (store, i) => {
      while (Date.now() < end) {
        await store.tick(chance(i))
        const id = `app-s${(drawn * 7) % 200}`
        if (i === 1) await store.backfill(chance(i), { id, from: anchorAt, to: anchorAt + 19_000, overlap: "allow" })
        if (i === 2) await store.pauseSchedule(id, null).then(() => store.resumeSchedule(id))
        if (i === 3) await store.upsertSchedules([...wishes.slice(0, 50), ...wishes.slice(150)].toReversed())
        const claimed = await store.turn({ units: [], claim: { nodeId: `node_${i}`, functionIds: [definition.id], limit: 20, after: "" } })
        const units = (claimed.claim?.runs ?? []).map(settle)
        if (units.length > 0) await store.turn({ units, claim: null })
      }
    })
    await Promise.all(work)
    const twice = await db.query("select e.id from event as e where (select count(*) from run as r where r.event_id = e.id) <> 1")
    const torn = await db.query(
      "select t.at from tick as t where (t.run_id is not null) <> (t.outcome in ('fired', 'caught_up', 'backfilled')) or (t.run_id is not null and not exists (select 1 from run where run.id = t.run_id))",
    )
    const [counts] = await db.query<{ runs: number; ticks: number }>(
      "select (select count(*) from run) as runs, (select count(*) from tick where run_id is not null) as ticks",
    )
    // One outcome for each moment, and a run for each that started one.
    expect([twice, torn]).toEqual([[], []])
    expect(counts?.runs).toBe(counts?.ticks)
    expect(counts?.ticks).toBeGreaterThan(400)
    const left = await db.query(
      `select s.id, m from schedule as s cross join lateral generate_series(cast($1 as bigint) + 22000, s.last_tick_at, 1000) as m
         where not exists (select 1 from tick as t where t.schedule_id = s.id and t.at = m) and coalesce(s.waiting_at, 0) <> m`,
      [anchorAt],
    )
    expect(left).toEqual([])
  })
})

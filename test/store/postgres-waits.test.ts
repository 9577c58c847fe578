import { randomUUID } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Unit, UnitResult } from "../../src/core/change.ts"
import { systemClock } from "../../src/engine/system.ts"
import { commitUnits } from "../../src/store/commit.ts"
import type { Db } from "../../src/store/db.ts"
import { postgresPlace } from "../../src/store/open-postgres.ts"
import { openPostgres } from "../../src/store/postgres.ts"
import { openReader, openStore, type Store, storeOn } from "../../src/store/store.ts"
import { startPostgres, type TestServer } from "./postgres.ts"
import { cancel, claimOne, complete, event, newRun, park, register, unit } from "./waits.ts"

let server: TestServer
let db: Db
let first: Store
let second: Store
beforeAll(async () => {
  server = await startPostgres()
  const place = await server.database()
  const open = (): Promise<Db> =>
    openPostgres({ ...postgresPlace(place), connections: 4, use: "engine", wait: (ms) => delay(ms), newId: randomUUID })
  db = await open()
  first = await openStore(db, systemClock)
  second = storeOn(await open(), systemClock)
  await first.watch([{ name: "app/paid", path: "data.n" }])
}, 120_000)
afterAll(async () => {
  await second.close()
  await first.close()
  await server.stop()
}, 60_000)

const far = Date.now() + 3_600_000
const commit = async (store: Store, ...units: Unit[]): Promise<readonly UnitResult[]> => (await store.turn({ units, claim: null })).results

async function started(): Promise<NonNullable<Awaited<ReturnType<typeof claimOne>>>["run"]> {
  await commit(first, unit(newRun().changes))
  const claimed = await claimOne(first)
  if (claimed === null) throw new Error("a run expected")
  return claimed.run
}

/** A transaction that has brought its event and is not committed yet. */
async function halfSent(n: number): Promise<{ finish: () => Promise<void>; brought: Promise<void> }> {
  let open: () => void = () => undefined
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  let told: () => void = () => undefined
  const brought = new Promise<void>((resolve) => {
    told = resolve
  })
  const whole = db.tx(async (tx) => {
    await commitUnits(tx, [{ ...event({ n }), registry: 1_000 }], await tx.now())
    told()
    await gate
  })
  return {
    brought,
    finish: async () => {
      open()
      await whole
    },
  }
}

describe("a wait that begins while an event is being committed", () => {
  it("is acknowledged after that event, or gets it: never in between", async () => {
    const run = await started()
    const sending = await halfSent(1)
    await sending.brought
    let acknowledged = false
    const begun = commit(second, park(run, far, register(run))).then(() => {
      acknowledged = true
    })
    await delay(300)
    expect(acknowledged).toBe(false)
    await sending.finish()
    await begun
    // That one was committed before the wait was acknowledged; the next one is not missed.
    expect(await commit(first, event({ n: 1 }))).toMatchObject([{ delivered: [run.id] }])
    await first.wake(10)
    const again = await claimOne(first)
    if (again !== null) await commit(first, complete(again.run))
  })

  it("for a name that nobody waited for yet is not begun before every sender knows the name", async () => {
    const sending = await halfSent(2)
    await sending.brought
    expect(await second.watch([{ name: "app/new", path: "" }])).toBe(false)
    await sending.finish()
    expect(await second.watch([{ name: "app/new", path: "" }])).toBe(true)
    // Whoever decided without knowing it has to decide again.
    expect(await commit(first, { ...event({ n: 2 }, "app/new"), registry: 1 })).toEqual([{ kind: "stale" }])
    expect((await first.functions()).watched).toContainEqual({ name: "app/new", path: "" })
  })

  it("is woken exactly once, whoever is first of event, timeout, cancel and the run that parks", { timeout: 120_000 }, async () => {
    const reader = openReader(db)
    const seen = { event: 0, timeout: 0, cancelled: 0 }
    for (let round = 0; round < 60; round++) {
      const run = await started()
      const n = 1_000 + round
      const wait = register(run, { key: `data.n=${n}`, dueAt: round % 3 === 0 ? Date.now() : far })
      await commit(first, unit(wait, { runId: run.id, fence: run.fence }))
      const cancels = round % 5 === 0
      const results = await Promise.all([
        commit(first, park(run, far, [])),
        commit(second, event({ n })),
        second.wake(10),
        commit(second, event({ n })),
        ...(cancels ? [commit(first, cancel(run.id))] : []),
      ])
      const delivered = results.flat().filter((result) => "delivered" in result).length
      await first.wake(10)
      // What another node put in line is found by a look a second later: both are asked.
      const again = (await claimOne(first)) ?? (await claimOne(second))
      const detail = await reader.run(run.id)
      const output = detail?.steps[0]?.output
      if (cancels) {
        expect(detail).toMatchObject({ state: "cancelled" })
        expect(again).toBeNull()
        expect(delivered).toBeLessThanOrEqual(1)
        seen.cancelled++
      } else {
        expect(again?.run.id, `round ${round}`).toBe(run.id)
        expect({ delivered, round, results, detail }).toMatchObject({ delivered: output === "null" ? 0 : 1 })
        seen[output === "null" ? "timeout" : "event"]++
        if (again !== null) await commit(first, complete(again.run))
      }
      expect(await db.query("select 1 from wait where run_id = $1", [run.id])).toEqual([])
    }
    // All lock in one order: nobody was ever thrown out to let another pass.
    const [row] = await db.query<{ deadlocks: number }>("select deadlocks from pg_stat_database where datname = current_database()")
    expect(row?.deadlocks).toBe(0)
    for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(0)
  })

  it("is cancelled or ends, and not both", { timeout: 60_000 }, async () => {
    for (let round = 0; round < 40; round++) {
      const run = await started()
      // They take turns in asking first; which one comes first is up to the server.
      const early = round % 2 === 0 ? null : commit(second, cancel(run.id))
      const [[a], [b]] = await Promise.all([commit(first, complete(run)), early ?? commit(second, cancel(run.id))])
      expect([String(a?.kind), String(b?.kind)].toSorted()).toEqual(b?.kind === "applied" ? ["applied", "fenced"] : ["applied", "gone"])
      expect(await db.query("select state from result where run_id = $1", [run.id])).toHaveLength(1)
    }
  })
})

import { fork } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { existsSync, utimesSync, writeFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import pg from "pg"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Change, Unit } from "../../src/core/change.ts"
import type { Entry } from "../../src/core/entry.ts"
import type { ClaimedRun, LimitClaim, NewRun } from "../../src/core/run.ts"
import { eventTopic, startKey } from "../../src/core/wait.ts"
import { systemClock } from "../../src/engine/system.ts"
import { postgres, postgresPlace } from "../../src/store/open-postgres.ts"
import { openPostgres } from "../../src/store/postgres.ts"
import { presenceOn } from "../../src/store/presence.ts"
import { openStore, type Store, storeOn } from "../../src/store/store.ts"
import { completed, guardOf, pair, settle, unit } from "./conformance.ts"
import { startPostgres, type TestServer } from "./postgres.ts"
import { event } from "./waits.ts"

let server: TestServer
let place: string
let stores: readonly [Store, Store]
beforeAll(async () => {
  // So that one that happens costs the test 50 ms and not a second.
  server = await startPostgres(["deadlock_timeout=50ms"])
  place = await server.database()
  const open = (): ReturnType<typeof openPostgres> =>
    openPostgres({ ...postgresPlace(place), connections: 6, use: "engine", wait: (ms) => delay(ms), newId: randomUUID })
  stores = [await openStore(await open(), systemClock), storeOn(await open(), systemClock)]
  await stores[0].watch(["", "data.n"].map((path) => ({ name: "app/paid", path })))
}, 120_000)
afterAll(() => server.stop(), 60_000)

describe("nodes of one machine", () => {
  it("see at once that one was killed, not only frozen, and nothing of nodes elsewhere", async () => {
    const presence = presenceOn()
    // Only Linux has it.
    if (presence === null) return
    const schema = "presence"
    const { store, reader } = await postgres(place, { schema }).open(systemClock)
    const [here, elsewhere, killed] = ["a", "b", "c"].map((name) => `node_${process.pid}${name}${Date.now()}`) as [string, string, string]
    const left = `/dev/shm/fanfare-${elsewhere}old`
    writeFileSync(left, "")
    utimesSync(left, 1, 1)
    for (const nodeId of [here, elsewhere]) await store.pulse({ id: nodeId, host: "h", pid: 1, functionIds: ["app-f"] }, false)
    await store.turn({ units: [unit(pair())], claim: { nodeId: elsewhere, functionIds: ["app-f"], limit: 1, after: "" } })
    await store.turn({ units: [unit(pair()), unit(pair())], claim: null })
    const child = fork(new URL("./leaving-node.ts", import.meta.url), [place, schema, killed])
    expect(await once(child, "message")).toEqual([2, undefined])
    const lost = async (): Promise<number> => (await store.lost(here, 10)).filter(({ nodeId }) => nodeId === killed).length
    expect(await lost()).toBe(0)
    expect(existsSync(left)).toBe(false)
    child.kill("SIGSTOP")
    expect(presence.ended(killed)).toBe(false)
    child.kill("SIGKILL")
    await once(child, "exit")
    expect([here, elsewhere, killed].map((nodeId) => presence.ended(nodeId))).toEqual([false, false, true])
    expect(await lost()).toBe(2)
    expect((await reader.nodes()).find(({ id: nodeId }) => nodeId === killed)?.alive).toBe(false)
    await reader.close()
    await store.close()
  })
})

/** How often PostgreSQL threw a transaction out to let another one pass. What connections have counted is known when they are closed. */
async function deadlocks(): Promise<number> {
  for (const store of stores) await store.close()
  const client = new pg.Client({ connectionString: place })
  await client.connect()
  const { rows } = await client.query<{ deadlocks: string }>("select deadlocks from pg_stat_database where datname = current_database()")
  await client.end()
  return Number(rows[0]?.deadlocks)
}

let seed = 7
const chance = (n: number): number => {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
  return Math.floor((seed / 2_147_483_648) * n)
}

const tenant = (n: number): LimitClaim => ({ key: `fn:app-f:${n}`, max: 1 })
const most = (key: string): number | null =>
  key.startsWith("fn:app-f:") || key.startsWith("singleton:") ? 1 : key === "fn:app-f" ? 4 : key.startsWith("env:") ? 2 : null
const shared = (n: number): LimitClaim => ({ key: `env:${n}`, max: 2 })

/** Watches for an event as `cancelOn` does, and for a time as `timeouts` do. */
function watching(added: readonly Change[]): Change[] {
  const run = added.find((change) => change.kind === "run.add")?.run
  if (run === undefined) return [...added]
  const base = { condition: null, topic: "", key: "" }
  return [
    ...added,
    {
      kind: "wait.add",
      runId: run.id,
      wait: { ...base, stepKey: "cancel", kind: "cancel", topic: eventTopic("app/paid"), key: `data.n=${chance(3)}`, dueAt: null },
    },
    {
      kind: "wait.add",
      runId: run.id,
      wait: { ...base, stepKey: startKey, kind: "deadline", dueAt: Date.now() + chance(500) },
    },
  ]
}

/** New runs of all kinds, few keys, so that everyone meets everyone. */
function arrival(): Unit {
  const entries: Entry[][] = [
    [],
    [],
    [{ kind: "debounce", key: `debounce:${chance(2)}`, periodMs: 20, timeoutMs: null, ts: Date.now() }],
    [{ kind: "singleton", key: `singleton:${chance(2)}`, mode: "cancel" }],
  ]
  const rules = entries[chance(4)] ?? []
  const limits: LimitClaim[] = [
    ...rules.flatMap((rule): LimitClaim[] => {
      if (rule.kind === "debounce") return [{ key: rule.key, max: 1, hold: "debounce" }]
      return rule.kind === "singleton" ? [{ key: rule.key, max: 1, hold: "taken" }] : []
    }),
    tenant(chance(3)),
    { key: "fn:app-f", max: 4 },
    shared(chance(3)),
  ]
  const over: Partial<NewRun> = { dueAt: 1, limits, ...(rules.length === 0 ? {} : { entries: rules }) }
  return unit(watching(pair(over)))
}

const claimed = async (store: Store): Promise<readonly ClaimedRun[]> =>
  (await store.turn({ units: [], claim: { nodeId: "node_a", functionIds: ["app-f"], limit: 4, after: "" } })).claim?.runs ?? []

describe("a run that ends while another one comes to wait for its place", { timeout: 120_000 }, () => {
  it("lets it start, though it locks no limit that nobody seemed to wait for", async () => {
    const arrive = (): Unit => unit(pair({ dueAt: 1, limits: [{ key: "fn:app-f:place", max: 1 }] }))
    await stores[0].turn({ units: [arrive()], claim: null })
    for (let i = 0; i < 30; i++) {
      let before: readonly ClaimedRun[] = []
      // What it waits for is at most the look that whoever found the place taken has planned: no sweep for missed releases helps here.
      for (let looks = 0; looks < 400 && before.length === 0; looks++) {
        before = await claimed(stores[0])
        if (before.length === 0) await delay(2).then(() => stores[0].wake(20))
      }
      expect(before, `run ${i}`).toHaveLength(1)
      await Promise.all([
        stores[0].turn({ units: before.map((run) => settle(run, completed)), claim: null }),
        delay(i % 4).then(() => stores[1].turn({ units: [arrive()], claim: null })),
      ])
    }
    for (const run of await claimed(stores[0])) await stores[0].turn({ units: [settle(run, completed)], claim: null })
  })
})

describe("whoever locks several rows", { timeout: 120_000 }, () => {
  it("takes them in one order: nobody waits for one who waits for him, and no limit is ever exceeded", async () => {
    const until = Date.now() + 6_000
    const did = { arrived: 0, ended: 0, cancelled: 0, offered: 0 }
    const forever = async (work: (store: Store) => Promise<unknown>, store: Store): Promise<void> => {
      while (Date.now() < until) await work(store)
    }
    const arrive = async (store: Store): Promise<unknown> => {
      const units = Array.from({ length: 1 + chance(6) }, arrival)
      if (chance(3) === 0) {
        units.splice(chance(units.length), 0, event({ n: chance(3) }))
        did.offered++
      }
      did.arrived += units.length
      return store.turn({ units, claim: null })
    }
    const work = async (store: Store): Promise<unknown> => {
      const runs = await claimed(store)
      if (runs.length === 0) return delay(2)
      const ends = runs.map((run) => {
        const end = settle(run, completed)
        return unit(
          end.changes.map((change) => (change.kind === "run.settle" ? { ...change, waits: true } : change)),
          guardOf(run),
        )
      })
      did.ended += ends.length
      return store.turn({ units: [...ends, ...(chance(2) === 0 ? [event({ n: chance(3) })] : []), arrival()], claim: null })
    }
    const cancel = async (store: Store): Promise<unknown> => {
      const doomed = await store.doomed(10)
      if (doomed.length === 0) return delay(2)
      did.cancelled += doomed.length
      const units = doomed.map((run) => unit([{ kind: "run.cancel", run, at: 1 }]))
      return store.turn({ units: [...units, event({ n: chance(3) })], claim: null })
    }
    const over: unknown[] = []
    const watch = async (): Promise<void> => {
      const client = new pg.Client({ connectionString: place })
      await client.connect()
      await client.query("set search_path to fanfare")
      while (Date.now() < until) {
        const { rows } = await client.query<{ limit_key: string; n: number }>(
          "select limit_key, count(*)::int as n from slot group by limit_key",
        )
        over.push(...rows.filter(({ limit_key, n }) => n > (most(limit_key) ?? n)))
        await delay(5)
      }
      await client.end()
    }
    await Promise.all([
      watch(),
      ...stores.flatMap((store) => [
        forever(arrive, store),
        forever(work, store),
        forever(work, store),
        forever(cancel, store),
        forever((each) => each.wake(20), store),
        forever((each) => each.releaseMissed().then(() => delay(5)), store),
        // Forgets limits that nobody counts against, while others take them up.
        forever((each) => each.prune(Date.now() - 500, 50).then(() => delay(2)), store),
      ]),
    ])
    expect(over).toEqual([])
    for (const [what, times] of Object.entries(did)) expect(times, what).toBeGreaterThan(0)
    expect(await deadlocks()).toBe(0)
  })
})

import { randomUUID } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import pg from "pg"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Change, Unit, UnitResult } from "../../src/core/change.ts"
import type { ClaimedRun, LimitClaim } from "../../src/core/run.ts"
import { systemClock } from "../../src/engine/system.ts"
import type { Db } from "../../src/store/db.ts"
import { Conflict } from "../../src/store/db.ts"
import { postgres, postgresPlace } from "../../src/store/open-postgres.ts"
import { openPostgres, type PostgresOptions } from "../../src/store/postgres.ts"
import { openStore, type Store, storeOn } from "../../src/store/store.ts"
import { type Cut, startProxy } from "../chaos/proxy.ts"
import { flowConformance } from "./conformance-flow.ts"
import { storeConformance } from "./conformance.ts"
import { fanoutConformance } from "./fanout-conformance.ts"
import { lookConformance } from "./look-conformance.ts"
import { waitsConformance } from "./waits.ts"
import { startPostgres, type TestServer } from "./postgres.ts"

let server: TestServer
let url: string
let schemas = 0
beforeAll(async () => {
  server = await startPostgres(["max_connections=60"])
  url = await server.database()
})
afterAll(() => server.stop())

function optionsOf(place: string, over: Partial<PostgresOptions> = {}): PostgresOptions {
  return { ...postgresPlace(place), connections: 3, use: "engine", wait: (ms) => delay(ms), newId: randomUUID, ...over }
}

async function migrated(on = server): Promise<{ place: string; db: Db; store: Store }> {
  const place = await on.database()
  const db = await openPostgres(optionsOf(place))
  return { place, db, store: await openStore(db, systemClock) }
}

for (const conformance of [storeConformance, fanoutConformance, lookConformance, flowConformance]) {
  conformance("PostgreSQL 18, in its threads", async () => {
    const opened = await postgres(url, { schema: `s${schemas++}` }).open(systemClock)
    const close = async (): Promise<void> => {
      await opened.reader.close()
      await opened.store.close()
    }
    return { opened, clock: null, close }
  })
}

waitsConformance("PostgreSQL 18, in its threads", async () => {
  const opened = await postgres(url, { schema: `s${schemas++}` }).open(systemClock)
  const close = async (): Promise<void> => {
    await opened.reader.close()
    await opened.store.close()
  }
  return { opened, clock: null, close }
})

let n = 0
const id = (kind: string): string => `${kind}_${String(++n).padStart(22, "0")}`

function start(limits: readonly LimitClaim[] = [], key: string | null = null, functionId = "app-f"): Unit {
  const event: Extract<Change, { kind: "event.add" }> = {
    kind: "event.add",
    event: { id: id("evt"), key, name: "e", data: "{}", ts: 1, receivedAt: 1, fanoutId: null, sourceRunId: null },
  }
  const run = { id: id("run"), functionId, eventId: event.event.id, fanoutId: null, parentId: null, createdAt: 1, dueAt: 1, limits }
  return { changes: [event, { kind: "run.add", run }], guard: null, registry: null }
}

function settle(run: ClaimedRun): Unit {
  const settlement = { to: "completed", output: "1", failure: null } as const
  return {
    changes: [{ kind: "run.settle", run, attempt: run.attempt, startedAt: 5, endedAt: 9, settlement }],
    guard: { runId: run.id, fence: run.fence },
    registry: null,
  }
}

const kinds = (results: readonly UnitResult[]): string[] => results.map(({ kind }) => kind)

describe("several connections at once", () => {
  /** Stores on connections of their own, as many nodes have. */
  async function nodes(count: number): Promise<{ stores: Store[]; db: Db; close: () => Promise<void> }> {
    const { place, db, store } = await migrated()
    const others = await Promise.all(Array.from({ length: count - 1 }, () => openPostgres(optionsOf(place))))
    return {
      db,
      stores: [store, ...others.map((other) => storeOn(other, systemClock))],
      close: async () => void (await Promise.all([db, ...others].map((each) => each.close()))),
    }
  }
  const claimOf = (i: number, limit: number): Parameters<Store["turn"]>[0]["claim"] => ({
    nodeId: `node_${i}`,
    functionIds: ["app-f", "app-g"],
    limit,
    after: "",
  })

  it("never give the same run to two, and none is left over", async () => {
    const { stores, close } = await nodes(6)
    await stores[0]?.turn({ units: Array.from({ length: 2_000 }, () => start()), claim: null })
    const claimed: string[] = []
    await Promise.all(
      stores.map(async (store, i) => {
        for (;;) {
          const { claim } = await store.turn({ units: [], claim: claimOf(i, 37) })
          if (claim === null || claim.runs.length === 0) return
          claimed.push(...claim.runs.map((run) => run.id))
        }
      }),
    )
    expect(claimed).toHaveLength(2_000)
    expect(new Set(claimed).size).toBe(2_000)
    await close()
  })

  it("let one of two settle the same claim", async () => {
    const { stores, db, close } = await nodes(4)
    await stores[0]?.turn({ units: Array.from({ length: 200 }, () => start()), claim: null })
    const runs = (await stores[0]?.turn({ units: [], claim: claimOf(0, 200) }))?.claim?.runs ?? []
    const results = await Promise.all(
      stores.map((store, i) => store.turn({ units: (i % 2 === 0 ? runs : runs.toReversed()).map(settle), claim: null })),
    )
    expect(results.flatMap((turn) => kinds(turn.results)).filter((kind) => kind === "applied")).toHaveLength(200)
    expect(await db.query("select count(*) as n from result")).toEqual([{ n: 200 }])
    await close()
  })

  it("never let more through than a limit allows, and leave none behind", { timeout: 60_000 }, async () => {
    const { stores, db, close } = await nodes(4)
    const keys = ["a", "b", "c"].map((key, i): LimitClaim => ({ key, max: i + 1 }))
    const shared: LimitClaim = { key: "shared", max: 4 }
    const total = 240
    let over = 0
    let ended = 0
    let sent = 0
    await Promise.all(
      stores.map(async (store, i) => {
        let held: readonly ClaimedRun[] = []
        for (let idle = 0; ended < total && idle < 400; ) {
          const fresh =
            sent < total ? Array.from({ length: Math.min(6, total - sent) }, (_, k) => start([keys[(sent + k) % 3] ?? shared, shared])) : []
          sent += fresh.length
          const done = held.length
          held = (await store.turn({ units: [...fresh, ...held.map(settle)], claim: claimOf(i, 3) })).claim?.runs ?? []
          ended += done
          idle = done + held.length + fresh.length === 0 ? idle + 1 : 0
          const counts = await db.query<{ key: string; n: number }>("select limit_key as key, count(*) as n from slot group by limit_key")
          for (const { key, n: count } of counts) if (count > ([...keys, shared].find((limit) => limit.key === key)?.max ?? 0)) over++
          if (idle > 5) await delay(2)
        }
      }),
    )
    expect(over).toBe(0)
    expect(
      await db.query(
        "select (select count(*) from result) as ended, (select count(*) from held) as held, (select count(*) from slot) as slots",
      ),
    ).toEqual([{ ended: total, held: 0, slots: 0 }])
    await close()
  })

  it("start nothing twice for an event id", async () => {
    const { stores, db, close } = await nodes(5)
    const results = await Promise.all(stores.map((store) => store.turn({ units: [start([], "k1"), start([], "k2")], claim: null })))
    expect(results.map(({ results: [a, b] }) => [a?.kind, b?.kind])).toEqual(Array.from({ length: 5 }, () => ["applied", "applied"]))
    expect(await db.query("select count(*) as n from run")).toEqual([{ n: 2 }])
    for (let i = 0; i < 20; i++) await Promise.all(stores.map((store) => store.turn({ units: [start([], `only ${i}`)], claim: null })))
    expect(await db.query("select count(*) as n from run")).toEqual([{ n: 22 }])
    await close()
  })

  it("wait for nobody who counts another fan-out, and count every end", async () => {
    const { stores, db, close } = await nodes(4)
    await db.execute(
      `insert into fanout (id, name, events, taken, total, completed, failed, cancelled, created_at, grown_at, ended_before, base_ended, base_failed, joins)
         select id, 'e', 0, 0, 400, 0, 0, 0, 1, 1, 0, 0, 0, 0 from (values ('fan_a'), ('fan_b')) as f (id)`,
    )
    const units = Array.from({ length: 800 }, (_, i) => {
      const unit = start()
      return {
        ...unit,
        changes: unit.changes.map((change) =>
          change.kind === "run.add" ? { ...change, run: { ...change.run, fanoutId: i % 2 === 0 ? "fan_a" : "fan_b" } } : change,
        ),
      }
    })
    await stores[0]?.turn({ units, claim: null })
    await Promise.all(
      stores.map(async (store, i) => {
        let held: readonly ClaimedRun[] = []
        do held = (await store.turn({ units: held.map(settle), claim: claimOf(i, 20) })).claim?.runs ?? []
        while (held.length > 0)
      }),
    )
    expect(await db.query("select id, completed from fanout order by id")).toEqual([
      { id: "fan_a", completed: 400 },
      { id: "fan_b", completed: 400 },
    ])
    await close()
  })
})

describe("a transaction", () => {
  it("is run again when another was first, and gives up when that never ends", async () => {
    const { db } = await migrated()
    let tries = 0
    const result = await db.tx(async (tx) => {
      await tx.execute("insert into limiter (key) values ('x')")
      if (++tries < 3) throw new Conflict("not yet")
      return tries
    })
    expect(result).toBe(3)
    expect(await db.query("select key from limiter")).toEqual([{ key: "x" }])
    await expect(
      db.tx(async () => {
        throw new Conflict("never")
      }),
    ).rejects.toThrow("never")
    await db.close()
  })

  it.each<[Cut, string]>([
    ["before", "was not committed and is run again"],
    ["after", "was committed, and nothing is done twice"],
  ])("whose connection is cut %s its COMMIT reaches the server %s", { timeout: 60_000 }, async (kind) => {
    const { place, db } = await migrated()
    const proxy = await startProxy(server.port, kind === "before" ? 3 : 4)
    // One connection: to find out what became of a commit must not need a second one.
    const cut = await openPostgres(optionsOf(place.replace(`:${server.port}/`, `:${proxy.port}/`), { connections: 1 }))
    await cut.query("select 1")
    proxy.rate = 0.4
    let tries = 0
    for (let i = 0; i < 40; i++) {
      await cut.tx(async (tx) => {
        tries++
        await tx.execute("insert into event (id, name, data, ts, received_at) values ($1, 'e', '{}', $2, 1)", [randomUUID(), i])
      })
    }
    proxy.rate = 0
    expect(await db.query("select count(*) as n, count(distinct ts) as steps from event")).toEqual([{ n: 40, steps: 40 }])
    expect(proxy.cuts[kind]).toBeGreaterThan(2)
    // Each cut before a commit cost one more try, and no cut after one did.
    expect(tries - 40).toBe(proxy.cuts.before + proxy.cuts["half-open"])
    await cut.close()
    expect(await db.query("select count(*) as n from receipt")).toMatchObject([{ n: expect.toSatisfy((count: number) => count < 4) }])
    await db.close()
    await proxy.close()
  })

  it("needs nothing that a pooler in transaction mode forgets", async () => {
    const { db, store } = await migrated()
    await store.turn({ units: [start()], claim: null })
    // As if the next transaction came to a session that never saw our statements.
    for (let i = 0; i < 6; i++) await db.execute("discard plans").then(() => db.query("deallocate all").catch(() => undefined))
    expect(kinds((await store.turn({ units: [start()], claim: null })).results)).toEqual(["applied"])
    expect((await store.turn({ units: [], claim: { nodeId: "n", functionIds: ["app-f"], limit: 5, after: "" } })).claim?.runs).toHaveLength(
      2,
    )
    await db.close()
  })

  it("leaves the planner no choice but the index, and the session no setting", async () => {
    const { db } = await migrated()
    const inside = await db.query<{ path: string; seqscan: string }>(
      "select current_setting('search_path') as path, current_setting('enable_seqscan') as seqscan",
    )
    expect(inside).toEqual([{ path: '"fanfare"', seqscan: "off" }])
    await db.close()
  })

  it("keeps texts that PostgreSQL has no letters for readable", async () => {
    const { db } = await migrated()
    const odd = JSON.stringify([["a\u0000b"], ["\ud800"], ["back\\u0000slash"], ["😀"]])
    const rows = await db.query<{ x: string }>(`select x from ${db.dialect.rows("$1", [["x", "text"]])} as j`, [odd])
    expect(rows.map(({ x }) => x)).toEqual(["a\ufffdb", "\ufffd", "back\\u0000slash", "😀"])
    await db.close()
  })
})

describe("a server that cannot be used", () => {
  const opening = (place: string): Promise<unknown> => postgres(place).open(systemClock)

  it.each([
    ["not-a-url", "invalid_option", "not one"],
    ["postgres://u:p@127.0.0.1:1/d", "store_failed", "nothing listens there"],
    ["postgres://u:p@no-such-host.invalid/d", "store_unfit", "its host name is not known"],
  ])("%s is told apart by its error", async (place, code, message) => {
    await expect((async () => opening(place))()).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
  })

  it("says so of a wrong password, a database that is not there, missing rights and a schema that is no name", async () => {
    await expect(opening(url.replace("p%40ss%20word", "wrong"))).rejects.toMatchObject({
      code: "store_unfit",
      message: expect.stringContaining("the password is wrong"),
    })
    await expect(opening(url.replace(/[^/]+$/, "nowhere"))).rejects.toMatchObject({
      code: "store_unfit",
      message: expect.stringContaining("there is no such database"),
    })
    expect(() => postgres(url, { schema: "Robert'); drop" })).toThrow(/not a name for a schema/)
    const admin = new pg.Client({ connectionString: url })
    await admin.connect()
    await admin.query("create role weak login password 'weak'")
    await admin.end()
    const weak = new URL(url)
    weak.username = "weak"
    weak.password = "weak"
    await expect(opening(weak.href)).rejects.toMatchObject({
      code: "store_unfit",
      message: expect.stringContaining("the user lacks rights"),
      hint: expect.stringContaining("create"),
    })
    expect((await opening(weak.href).catch((error: Error) => error.message)) as string).not.toContain("weak:weak")
  })

  it("works with rights on its schema alone", async () => {
    const place = await server.database()
    const admin = new pg.Client({ connectionString: place })
    await admin.connect()
    await admin.query("create role plain login password 'plain'")
    await admin.query("create schema fanfare authorization plain")
    await admin.end()
    const plain = new URL(place)
    plain.username = "plain"
    plain.password = "plain"
    const { store, reader } = await postgres(plain.href).open(systemClock)
    expect(kinds((await store.turn({ units: [start()], claim: null })).results)).toEqual(["applied"])
    await reader.close()
    await store.close()
  })

  it("refuses a schema that is newer, or another program's", async () => {
    const { place, db } = await migrated()
    await db.execute("insert into migration (version, checksum, applied_at) values (99, 'x', 1)")
    await expect(opening(place)).rejects.toMatchObject({
      code: "store_unfit",
      message: expect.stringContaining("schema 99, which is newer"),
    })
    await db.execute("delete from migration where version = 99")
    await db.execute("update migration set checksum = 'other'")
    await expect(opening(place)).rejects.toMatchObject({ code: "store_unfit", message: expect.stringContaining("different program") })
    await db.close()
  })

  it("goes on by itself after too many connections, and says so meanwhile", { timeout: 60_000 }, async () => {
    const place = await server.database()
    const crowd: pg.Client[] = []
    for (;;) {
      const client = new pg.Client({ connectionString: place })
      client.on("error", () => undefined)
      try {
        await client.connect()
        crowd.push(client)
      } catch {
        break
      }
    }
    await expect(opening(place)).rejects.toMatchObject({ code: "store_failed", message: expect.stringContaining("too many connections") })
    const db = await openPostgres(optionsOf(place))
    const waiting = db.query("select 1 as one")
    await delay(600)
    await Promise.all(crowd.map((client) => client.end()))
    expect(await waiting).toEqual([{ one: 1 }])
    await db.close()
  })

  it("is waited for while it restarts", { timeout: 60_000 }, async () => {
    // One of its own: what all tests wrote would take longer to recover than a store waits.
    const own = await startPostgres()
    const { db, store } = await migrated(own)
    await store.turn({ units: [start([], "kept")], claim: null })
    const restarted = own.restart(2_500)
    await delay(300)
    const turn = await store.turn({ units: [start(), start([], "kept")], claim: null })
    expect(kinds(turn.results)).toEqual(["applied", "applied"])
    expect(await db.query("select count(*) as n from run")).toEqual([{ n: 2 }])
    await restarted
    await db.close()
    await own.stop()
  })
})

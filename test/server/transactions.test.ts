import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { setTimeout as delay } from "node:timers/promises"
import { sql } from "drizzle-orm"
import { drizzle } from "drizzle-orm/node-postgres"
import { CompiledQuery, Kysely, PostgresDialect } from "kysely"
import pg from "pg"
import postgresJs from "postgres"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import {
  drizzleTransaction,
  kyselyTransaction,
  pgTransaction,
  postgres,
  postgresJsTransaction,
  prismaTransaction,
  type Transaction,
} from "../../src/postgres.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"
import { nodeSqliteTransaction, sqlite } from "../../src/sqlite.ts"
import { startPostgres, type TestServer } from "../store/postgres.ts"

class RolledBack extends Error {}

/** Runs `work` in a transaction of the user's, beside a statement of the user's own; `note` goes into the table `orders`. */
type InTransaction = (note: string, work: (tx: Transaction) => Promise<unknown>) => Promise<void>

const handled: { name: string; data: Record<string, unknown>; at: number }[] = []

function createApp(): Fanfare {
  const app = new Fanfare({ id: "orders" })
  app.createFunction({ id: "paid", triggers: [{ event: "orders/paid" }] }, ({ event }) => {
    handled.push({ name: "paid", data: event.data, at: performance.now() })
  })
  app.createFunction({ id: "keyed", triggers: [{ event: "orders/keyed" }], concurrency: { limit: 2, key: "event.data.t" } }, () => null)
  app.createFunction({ id: "few", triggers: [{ event: "orders/few" }], concurrency: { limit: 2 } }, ({ event }) => {
    handled.push({ name: "few", data: event.data, at: performance.now() })
  })
  app.createFunction({ id: "choosy", triggers: [{ event: "orders/choosy", if: "event.data.n > 1" }] }, () => null)
  return app
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await delay(10)
  expect(condition()).toBe(true)
}

/** What a send inside a transaction is, whatever carries it. */
function itJoins(name: string, app: () => Fanfare, inTransaction: () => InTransaction, orders: () => Promise<string[]>): void {
  describe(name, () => {
    it("sends nothing when the transaction is rolled back, and everything when it commits", async () => {
      const lost = `${name} lost`
      const kept = `${name} kept`
      const rolledBack = inTransaction()(lost, async (tx) => {
        await app().send({ name: "orders/paid", data: { note: lost } }, { tx })
        throw new RolledBack()
      })
      await expect(rolledBack).rejects.toThrow(RolledBack)
      await inTransaction()(kept, (tx) =>
        app().send(
          [
            { name: "orders/paid", data: { note: kept } },
            { name: "orders/few", data: { note: kept } },
          ],
          { tx },
        ),
      )
      await until(() => handled.filter(({ data }) => data["note"] === kept).length === 2)
      expect(handled.some(({ data }) => data["note"] === lost)).toBe(false)
      expect(await orders()).toContain(kept)
      expect(await orders()).not.toContain(lost)
    })

    it("starts a run per row of a query, limits kept", async () => {
      const note = `${name} rows`
      let result: unknown
      await inTransaction()(note, async (tx) => {
        const made = tx.database === "sqlite" ? "json_object('note', $1, 'n', n)" : "json_build_object('note', $1::text, 'n', n)"
        const rows = "with recursive k(n) as (select 1 union all select n + 1 from k where n < 40)"
        const known = "(select count(*) from orders) > 0"
        result = await app().fanOutFromSql({
          tx,
          name: "orders/few",
          query: `${rows} select ${made} as data from k where ${known}`,
          params: [note],
        })
      })
      expect(result).toMatchObject({ events: 40, runs: 40, fanoutId: expect.stringMatching(/^fan_/) })
      await until(() => handled.filter(({ data }) => data["note"] === note).length === 40)
    })
  })
}

describe("a send in a transaction on PostgreSQL", () => {
  let server: TestServer
  let url: string
  let fanfare: FanfareServer
  let pool: pg.Pool
  const app = createApp()
  const list = async (): Promise<string[]> => (await pool.query<{ note: string }>("select note from orders")).rows.map(({ note }) => note)

  beforeAll(async () => {
    server = await startPostgres()
    url = await server.database()
    pool = new pg.Pool({ connectionString: url })
    // A connection that is on its way out when the server stops still hears of it, and the pool of an idle one.
    pool.on("connect", (client) => void client.on("error", () => undefined))
    pool.on("error", () => undefined)
    await pool.query("create table orders (note text)")
    // A table of the user's with a name that we use too.
    await pool.query("create table event (id int)")
    fanfare = await createServer({ client: app, db: postgres(url, { schema: "jobs" }), logs: "none" })
    await fanfare.start()
  })
  afterAll(async () => {
    await fanfare.stop()
    await pool.end()
    await server.stop()
  })

  const withPg: InTransaction = async (note, work) => {
    const client = await pool.connect()
    try {
      await client.query("begin")
      await client.query("insert into orders (note) values ($1)", [note])
      await work(pgTransaction(client))
      expect((await client.query("show search_path")).rows).toEqual([{ search_path: '"$user", public' }])
      await client.query("commit")
    } catch (error) {
      await client.query("rollback")
      throw error
    } finally {
      client.release()
    }
  }
  itJoins(
    "pg",
    () => app,
    () => withPg,
    list,
  )

  itJoins(
    "postgres.js",
    () => app,
    () => async (note, work) => {
      const connection = postgresJs(url)
      try {
        await connection.begin(async (tx) => {
          await tx`insert into orders (note) values (${note})`
          await work(postgresJsTransaction(tx))
        })
      } finally {
        await connection.end()
      }
    },
    list,
  )

  itJoins(
    "Drizzle",
    () => app,
    () => async (note, work) => {
      await drizzle(pool).transaction(async (tx) => {
        await tx.execute(sql`insert into orders (note) values (${note})`)
        await work(drizzleTransaction(tx, sql))
      })
    },
    list,
  )

  itJoins(
    "Kysely",
    () => app,
    () => async (note, work) => {
      const db = new Kysely<{ orders: { note: string } }>({ dialect: new PostgresDialect({ pool }) })
      await db.transaction().execute(async (tx) => {
        await tx.insertInto("orders").values({ note }).execute()
        await work(kyselyTransaction(tx, CompiledQuery))
      })
    },
    list,
  )

  // Prisma's client needs an engine that its installer downloads, which a machine without the internet cannot: this is its shape, with
  // rows as it gives them (BigInt), on a real connection.
  itJoins(
    "Prisma's shape",
    () => app,
    () => (note, work) =>
      withPg(note, async ({ query }) => {
        const $queryRawUnsafe = async (text: string, ...values: unknown[]): Promise<unknown> =>
          (await query(text, values as string[])).map((row) =>
            Object.fromEntries(
              Object.entries(row as object).map(([key, value]) => [key, /^\d+$/.test(String(value)) ? BigInt(String(value)) : value]),
            ),
          )
        await work(prismaTransaction({ $queryRawUnsafe }))
      }),
    list,
  )

  it("wakes the engine at the commit, not at its next look", async () => {
    const client = await pool.connect()
    for (let i = 0; i < 10; i++) {
      await client.query("begin")
      await app.send({ name: "orders/paid", data: { note: `bell ${i}` } }, { tx: pgTransaction(client) })
      // By now every look that the send itself asked for is over.
      await delay(450)
      await client.query("commit")
      const committed = performance.now()
      await until(() => handled.some(({ data }) => data["note"] === `bell ${i}`))
      const at = handled.find(({ data }) => data["note"] === `bell ${i}`)?.at ?? Number.POSITIVE_INFINITY
      if (at - committed < 100) {
        client.release()
        return
      }
    }
    client.release()
    expect.unreachable("no commit of ten was heard")
  })

  it("refuses a connection without a transaction, another database, and rows that are no events, and leaves the transaction usable", async () => {
    const event = { name: "orders/paid", data: { note: "refused" } }
    const client = await pool.connect()
    await expect(app.send(event, { tx: pgTransaction(client) })).rejects.toMatchObject({ code: "invalid_option", field: "tx" })
    const elsewhere = new pg.Client({ connectionString: await server.database() })
    await elsewhere.connect()
    await elsewhere.query("begin")
    await expect(app.send(event, { tx: pgTransaction(elsewhere) })).rejects.toMatchObject({
      code: "invalid_option",
      message: expect.stringContaining('no Fanfare tables in the schema "jobs"'),
    })
    await elsewhere.end()

    await client.query("begin")
    const tx = pgTransaction(client)
    await expect(app.send({ name: "", data: {} }, { tx })).rejects.toMatchObject({ code: "invalid_event" })
    await expect(app.fanOutFromSql({ tx, name: "orders/paid", query: "select '[1]' as data" })).rejects.toMatchObject({
      code: "invalid_event",
      message: "1 of 1 rows of the query have no fit data",
    })
    await expect(app.fanOutFromSql({ tx, name: "orders/choosy", query: "select '{}' as data" })).rejects.toMatchObject({
      code: "invalid_event",
      message: expect.stringContaining('has an "if"'),
    })
    await expect(app.fanOutFromSql({ tx, name: "orders/keyed", query: "select '{}' as data" })).rejects.toMatchObject({
      code: "invalid_event",
      message: expect.stringContaining("decides by each event's data"),
    })
    expect(await app.fanOutFromSql({ tx, name: "orders/paid", query: "select '{}' as data where false" })).toMatchObject({
      events: 0,
      runs: 0,
    })
    await app.send({ name: "orders/paid", id: "once", data: { note: "once" } }, { tx })
    await client.query("commit")
    client.release()
    await app.send({ name: "orders/paid", id: "once", data: { note: "once" } })
    await until(() => handled.some(({ data }) => data["note"] === "once"))
    expect(handled.filter(({ data }) => data["note"] === "once")).toHaveLength(1)
    expect(handled.some(({ data }) => data["note"] === "refused")).toBe(false)
  })
})

describe("a send in a transaction on SQLite", () => {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-outbox-"))
  const file = join(folder, "app.db")
  let fanfare: FanfareServer
  let database: DatabaseSync
  const app = createApp()

  beforeAll(async () => {
    fanfare = await createServer({ client: app, db: sqlite(file), logs: "none" })
    await fanfare.start()
    database = new DatabaseSync(file, { timeout: 5_000 })
    database.exec("create table orders (note text)")
  })
  afterAll(async () => {
    await fanfare.stop()
    database.close()
    rmSync(folder, { recursive: true, force: true })
  })

  itJoins(
    "node:sqlite",
    () => app,
    () => async (note, work) => {
      database.exec("begin immediate")
      try {
        database.prepare("insert into orders (note) values (?)").run(note)
        await work(nodeSqliteTransaction(database))
        database.exec("commit")
      } catch (error) {
        database.exec("rollback")
        throw error
      }
    },
    async () =>
      database
        .prepare("select note from orders")
        .all()
        .map((row) => String(row["note"])),
  )

  it("refuses a connection without a transaction, and another file", async () => {
    expect(() => nodeSqliteTransaction(database)).toThrow(/no transaction is open/)
    const other = new DatabaseSync(":memory:")
    other.exec("begin")
    await expect(app.send({ name: "orders/paid" }, { tx: nodeSqliteTransaction(other) })).rejects.toMatchObject({
      code: "invalid_option",
      field: "tx",
    })
    other.close()
  })
})

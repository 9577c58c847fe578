import { realpathSync } from "node:fs"
import type { Unit, UnitResult } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import type { Transaction } from "../core/transaction.ts"
import { commitUnits } from "./commit.ts"
import { Conflict, type Db, type Dialect, type Param } from "./db.ts"
import { type SqlRuns, startFromSql, type UserDb } from "./from-sql.ts"
import { bellChannel, postgresDialect } from "./postgres-dialect.ts"
import { insertReady } from "./queue.ts"
import { sqliteDialect } from "./sqlite-dialect.ts"
import type { Place } from "./thread-protocol.ts"

/** What the engine may write in a transaction of user code; user code commits it, or does not. */
export interface Outbox {
  commit(transaction: Transaction, unit: Unit): Promise<UnitResult>
  /** Gives the number of events, or "stale" when functions have changed since `runs` was decided: nothing was written then. */
  startFromSql(transaction: Transaction, runs: SqlRuns): Promise<number | "stale">
}

export function openOutbox(place: Place): Outbox {
  const join = place.kind === "postgres" ? joinPostgres(place.schema) : joinSqlite(place.file)
  return {
    commit: (transaction, unit) =>
      join(transaction, async (db, now) => {
        const { results, arrived, count } = await commitUnits(db, [unit], now)
        await insertReady(db, arrived)
        await count()
        return results[0] ?? { kind: "fenced" }
      }),
    startFromSql: (transaction, runs) => join(transaction, (db, now) => startFromSql(db, runs, now)),
  }
}

type Join = <T>(transaction: Transaction, work: (db: UserDb, now: number) => Promise<T>) => Promise<T>

/** Our tables are found by the search path, set for these statements only; the bell rings when the transaction commits. */
function joinPostgres(schema: string): Join {
  const path = `"${schema}"`
  return async (transaction, work) => {
    expectDatabase(transaction, "postgres")
    const bare = within(transaction, postgresDialect(schema))
    const follow = (searchPath: string): Promise<unknown> => bare.query("select set_config('search_path', $1, true)", [searchPath])
    try {
      const [before] = await bare.query<{ path: string; now: number }>(
        "select current_setting('search_path') as path, (extract(epoch from clock_timestamp()) * 1000)::bigint as now",
      )
      const users = before?.path ?? ""
      await follow(path)
      const [set] = await bare.query<{ path: string }>("select current_setting('search_path') as path")
      if (set?.path !== path) throw notOpen()
      const asUser = async <T>(inner: () => Promise<T>): Promise<T> => {
        await follow(users)
        const result = await inner()
        await follow(path)
        return result
      }
      const result = await work({ ...bare, prefix: `${path}.`, asUser }, before?.now ?? 0)
      await bare.query("select set_config('search_path', $1, true), pg_notify($2, '')", [users, bellChannel(schema)])
      return result
    } catch (error) {
      throw explain(error, schema)
    }
  }
}

function joinSqlite(file: string): Join {
  return async (transaction, work) => {
    expectDatabase(transaction, "sqlite")
    const db = within(transaction, sqliteDialect)
    const rows = await db.query<{ name: string; file: string }>("pragma database_list")
    const main = rows.find(({ name }) => name === "main")?.file ?? ""
    if (main === "" || main !== realpathSync(file)) {
      throw new FanfareError(
        "invalid_option",
        `the transaction is on ${main === "" ? "a database in memory" : main}, the store is ${file}`,
        {
          field: "tx",
          hint: "Open the store's own file: your tables and Fanfare's then share one transaction.",
        },
      )
    }
    const [time] = await db.query<{ now: number }>("select cast(unixepoch('subsec') * 1000 as integer) as now")
    return work({ ...db, prefix: "main.", asUser: (inner) => inner() }, time?.now ?? 0)
  }
}

/** Columns that drivers may give as texts or BigInts. */
const numbers = new Set(
  (
    "now version rank attempt fence losses used n bad i total completed failed cancelled sealed_at joins need taken paused_at base_ended " +
    "base_failed failures max rate held_until due_at"
  ).split(" "),
)

/** One statement after the other: a user's connection may not take several at a time. */
function within(transaction: Transaction, dialect: Dialect): Db {
  let turn: Promise<unknown> = Promise.resolve()
  const run = (sql: string, params: readonly Param[] = []): Promise<readonly unknown[]> => {
    const result = turn.then(() => transaction.query(sql, params))
    turn = result.catch(() => undefined)
    return result
  }
  const db: Db = {
    dialect,
    query: async <Row>(sql: string, params?: readonly Param[]) => (await run(sql, params)).map(toNumbers) as Row[],
    execute: async (sql, params) => (await run(sql, params)).length,
    tx: (work) => work(db),
    now: async () => 0,
    close: async () => undefined,
  }
  return db
}

function toNumbers(row: unknown): unknown {
  return Object.fromEntries(
    Object.entries(row as object).map(([name, value]: [string, unknown]) => [
      name,
      numbers.has(name) && value !== null ? Number(value) : value,
    ]),
  )
}

function expectDatabase({ database }: Transaction, wanted: Transaction["database"]): void {
  if (database === wanted) return
  throw new FanfareError("invalid_option", `the transaction is one of ${database}, the store is on ${wanted}`, {
    field: "tx",
    hint: "A send can join a transaction of the database that the store is in.",
  })
}

function notOpen(): FanfareError {
  return new FanfareError("invalid_option", "tx is a connection, but no transaction is open on it", {
    field: "tx",
    hint: `Start one first (begin), and pass the connection it is on.`,
  })
}

function explain(error: unknown, schema: string): unknown {
  if (error instanceof FanfareError) return error
  if (error instanceof Conflict) {
    return new FanfareError("event_conflict", "another transaction sent an event with the same id at the same moment", {
      field: "id",
      hint: "Roll back and try again.",
      cause: error,
    })
  }
  const code = (error as { code?: unknown } | null)?.code
  if (code !== "42P01") return error
  return new FanfareError("invalid_option", `the transaction's database has no Fanfare tables in the schema "${schema}"`, {
    field: "tx",
    hint: "It must be the database that the store is in.",
    cause: error,
  })
}

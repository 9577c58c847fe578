import { FanfareError } from "../core/errors.ts"
import type { Clock } from "../core/ports.ts"
import type { Db, Param } from "./db.ts"
import { DatabaseSync, type StatementSync } from "./node-sqlite.ts"
import { sqliteDialect } from "./sqlite-dialect.ts"

/** SQLite before this can corrupt a WAL file that two connections write or checkpoint at the same time. */
const versionMin = [3, 51, 3] as const

export interface SqliteOptions {
  /** A path, or `":memory:"`. */
  readonly file: string
  readonly clock: Pick<Clock, "now">
  readonly readOnly?: boolean
}

/**
 * Opens a database file with the settings that durability rests on, and checks that they hold.
 * @throws FanfareError `store_unfit` when this SQLite is too old or the file is not one; `store_failed` when it cannot be opened
 */
export function openSqlite({ file, clock, readOnly = false }: SqliteOptions): Db {
  const database = open(file, readOnly)
  const statements = new Map<string, Statement>()
  let turn: Promise<unknown> = Promise.resolve()

  function prepare(sql: string): Statement {
    let statement = statements.get(sql)
    if (statement === undefined) {
      statement = new Statement(database.prepare(sql.replaceAll(/\$(\d+)/g, "?$1")))
      statements.set(sql, statement)
    }
    return statement
  }

  // One connection: statements outside of transactions wait for the transaction under way.
  function inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const result = turn.then(work)
    turn = result.catch(() => undefined)
    return result
  }

  const inside: Db = {
    dialect: sqliteDialect,
    query: async <Row>(sql: string, params: readonly Param[] = []) => prepare(sql).rows(params) as Row[],
    execute: async (sql, params = []) => prepare(sql).run(params),
    each: async (sql, rows) => {
      const statement = prepare(sql)
      return rows.map((params) => statement.run(params))
    },
    tx: (work) => work(inside),
    now: async () => clock.now(),
    close: async () => undefined,
  }

  return {
    ...inside,
    query: (sql, params) => inTurn(() => inside.query(sql, params)),
    execute: (sql, params) => inTurn(() => inside.execute(sql, params)),
    tx: (work) =>
      inTurn(async () => {
        database.exec(readOnly ? "begin" : "begin immediate")
        try {
          const result = await work(inside)
          database.exec("commit")
          return result
        } catch (error) {
          // A failed commit (disk full) has rolled back already.
          if (database.isTransaction) database.exec("rollback")
          throw asStoreError(error)
        }
      }),
    close: () => inTurn(() => database.close()),
  }
}

/** Gives rows as plain objects that are made here: those that Node makes take twice the time, and are slow to read. */
class Statement {
  readonly #statement: StatementSync
  readonly #names: readonly string[]

  constructor(statement: StatementSync) {
    this.#statement = statement
    this.#names = statement.columns().map(({ name }) => name)
    statement.setReturnArrays(true)
  }

  rows(params: readonly Param[]): object[] {
    const names = this.#names
    const rows = this.#statement.all(...params) as unknown as unknown[][]
    return rows.map((values) => {
      const row: Record<string, unknown> = {}
      for (let i = 0; i < names.length; i++) row[names[i] ?? ""] = values[i]
      return row
    })
  }

  run(params: readonly Param[]): number {
    return Number(this.#statement.run(...params).changes)
  }
}

function open(file: string, readOnly: boolean): DatabaseSync {
  let database: DatabaseSync
  try {
    database = new DatabaseSync(file, { readOnly, timeout: 5_000 })
  } catch (cause) {
    throw new FanfareError("store_failed", `the store file ${file} cannot be opened: ${messageOf(cause)}`, { field: "db", cause })
  }
  try {
    checkVersion(database)
    if (readOnly) return database
    if (file !== ":memory:") {
      const mode = database.prepare("pragma journal_mode = wal").get()?.["journal_mode"]
      if (mode !== "wal") throw new FanfareError("store_unfit", `the store file ${file} cannot use WAL (it is on "${String(mode)}")`)
    }
    // An existing WAL file may open with synchronous = NORMAL, which can lose acknowledged commits when power fails.
    database.exec("pragma synchronous = full; pragma cache_size = -8192; pragma temp_store = memory; pragma wal_autocheckpoint = 4000")
    const synchronous = database.prepare("pragma synchronous").get()?.["synchronous"]
    if (synchronous !== 2) throw new FanfareError("store_unfit", `synchronous is ${String(synchronous)}, not FULL (2)`)
    return database
  } catch (error) {
    database.close()
    if (error instanceof FanfareError) throw error
    throw new FanfareError("store_unfit", `${file} is not a usable SQLite file: ${messageOf(error)}`, {
      field: "db",
      hint: "Give another path. If this was a store, put a backup in its place.",
      cause: error,
    })
  }
}

function checkVersion(database: DatabaseSync): void {
  const version = String(database.prepare("select sqlite_version() as version").get()?.["version"])
  const parts = version.split(".").map(Number)
  for (const [i, least] of versionMin.entries()) {
    const part = parts[i] ?? 0
    if (part > least) return
    if (part === least) continue
    throw new FanfareError("store_unfit", `this Node has SQLite ${version}; Fanfare needs ${versionMin.join(".")} or newer`, {
      field: "node:sqlite",
      bound: versionMin.join("."),
      hint: "Older ones can corrupt a WAL file. Use Node 24.15 or newer, or 22.22.3 or newer.",
    })
  }
}

function asStoreError(error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code
  if (code !== "ERR_SQLITE_ERROR") return error
  return new FanfareError("store_failed", `SQLite: ${messageOf(error)}`, { cause: error })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

import { createHash } from "node:crypto"
import type * as Pg from "pg"
import { FanfareError } from "../core/errors.ts"
import { type Db, type Dialect, type Param, together } from "./db.ts"
import { migrate } from "./migrate.ts"
import { postgresDialect, session, type Timeouts } from "./postgres-dialect.ts"
import { meaningOf, toStoreError } from "./postgres-errors.ts"

export interface PostgresOptions {
  readonly url: string
  readonly schema: string
  /** Connections at most. */
  readonly connections: number
  /** `engine` writes; `people` reads, with a short statement timeout; `upgrade` may take its time. */
  readonly use: "engine" | "people" | "upgrade"
  /** For people, without the password. */
  readonly name: string
  readonly wait: (ms: number) => Promise<void>
  readonly newId: () => string
}

const timeouts: Readonly<Record<PostgresOptions["use"], Timeouts>> = {
  engine: { statementMs: 12_000, lockMs: 5_000, idleMs: 5_000 },
  people: { statementMs: 5_000, lockMs: 1_000, idleMs: 5_000 },
  upgrade: { statementMs: 0, lockMs: 60_000, idleMs: 0 },
}
/** A connection that has not answered for this long is given up. */
const answerMs = 15_000
/** How often a transaction gives way to others before it fails; how long it waits for a server that is away. */
const conflictsMost = 20
const awayMost = 40
const awayRestMs = 250

/**
 * Connections to one PostgreSQL. Nothing is left in a session between transactions, so a pooler in transaction mode will do.
 * @throws FanfareError `store_unfit` when `pg` is not installed
 */
export async function openPostgres(options: PostgresOptions): Promise<Db> {
  const pg = await loadPg()
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connections,
    pipeline: true,
    application_name: `fanfare ${options.use}`,
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    // pg takes a class or its instance here; bigint as a number is what this whole house counts in.
    types: { getTypeParser: (oid: number) => (oid === 20 ? Number : pg.types.getTypeParser(oid, "text")) },
    ...(options.use === "upgrade" ? {} : { query_timeout: answerMs }),
  })
  // A connection that breaks between two statements: whoever uses it next is told, or another one is made.
  pool.on("error", () => undefined)
  pool.on("connect", (client) => void client.on("error", () => undefined))
  return new PostgresDb(pool, options)
}

const versionMin = 140_000

/**
 * Brings the tables to this program's schema, and clears what transactions of nodes long gone left behind.
 * @throws FanfareError `store_unfit` saying what is wrong: the server's version, rights, a newer schema; `store_failed` when it is away
 */
export async function upgradePostgres(options: PostgresOptions): Promise<void> {
  const db = await openPostgres(options)
  try {
    const [server] = await db.query<{ version: string; text: string }>(
      "select current_setting('server_version_num') as version, current_setting('server_version') as text",
    )
    if (Number(server?.version) < versionMin) {
      throw new FanfareError("store_unfit", `${options.name}: this is PostgreSQL ${server?.text}; Fanfare needs 14 or newer`, {
        field: "db",
        bound: 14,
        hint: "Upgrade the server.",
      })
    }
    await migrate(db)
    await db.execute("delete from receipt where at < now() - interval '1 day'")
  } finally {
    await db.close()
  }
}

export async function loadPg(): Promise<typeof Pg.default> {
  try {
    return (await import("pg")).default
  } catch (cause) {
    throw new FanfareError("store_unfit", "PostgreSQL needs the package pg, which is not installed", {
      field: "db",
      hint: "npm install pg",
      cause,
    })
  }
}

class PostgresDb implements Db {
  readonly dialect: Dialect
  readonly #pool: Pg.Pool
  readonly #options: PostgresOptions
  readonly #begin: string
  readonly #session: string
  /** Receipts of transactions whose answers came: not needed any more. */
  #spent: string[] = []
  #prepared = true
  #closed = false

  constructor(pool: Pg.Pool, options: PostgresOptions) {
    this.#pool = pool
    this.#options = options
    this.dialect = postgresDialect(options.schema)
    this.#begin = options.use === "people" ? "begin read only" : "begin"
    this.#session = session(options.schema, timeouts[options.use], options.use === "engine")
  }

  query<Row>(sql: string, params?: readonly Param[]): Promise<Row[]> {
    return this.tx((db) => db.query<Row>(sql, params))
  }

  execute(sql: string, params?: readonly Param[]): Promise<number> {
    return this.tx((db) => db.execute(sql, params))
  }

  now(): Promise<number> {
    return this.tx((db) => db.now())
  }

  async tx<T>(work: (db: Db) => Promise<T>): Promise<T> {
    let conflicts = 0
    let absences = 0
    for (;;) {
      try {
        return await this.#once(work)
      } catch (error) {
        const meaning = meaningOf(error)
        if (meaning === "pooled" && this.#prepared) this.#prepared = false
        else if (meaning === "conflict" && ++conflicts < conflictsMost) await this.#options.wait(conflicts)
        else if (meaning === "away" && ++absences < awayMost && this.#options.use === "engine" && !this.#closed) {
          await this.#options.wait(awayRestMs)
        } else throw toStoreError(error, this.#options.name)
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    const spent = this.#spent.splice(0)
    // What cannot be cleared now is cleared by age when a store is opened.
    if (spent.length > 0) await this.#once((db) => db.execute(forget, [JSON.stringify(spent)])).catch(() => undefined)
    await this.#pool.end()
  }

  async #once<T>(work: (db: Db) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect()
    let broken: Error | boolean = false
    let result: T
    let unknown: UnknownCommit | null
    try {
      const [, set] = await together([client.query(this.#begin), client.query<{ now: number }>(this.#statement(this.#session))])
      const transaction = this.#within(client, set.rows[0]?.now ?? 0)
      result = await work(transaction.db)
      unknown = await this.#commit(client, transaction.wrote() && this.#options.use !== "people")
      if (unknown !== null) broken = true
    } catch (error) {
      await client.query("rollback").catch((lost: Error) => {
        broken = lost
      })
      throw error
    } finally {
      client.release(broken)
    }
    // Only now, since to find out takes a connection, and this one may have been the last.
    if (unknown !== null && !(await this.#arrived(unknown.receipt))) throw unknown.error
    return result
  }

  #within(client: Pg.PoolClient, now: number): { db: Db; wrote: () => boolean } {
    let wrote = false
    const run = async <Row extends Pg.QueryResultRow>(sql: string, params: readonly Param[] = []): Promise<Pg.QueryResult<Row>> => {
      const result = await client.query<Row>({ ...this.#statement(sql), values: params.map(fit) })
      if (result.command !== "SELECT" && result.rowCount !== 0) wrote = true
      return result
    }
    const db: Db = {
      dialect: this.dialect,
      query: async <Row>(sql: string, params?: readonly Param[]) => (await run(sql, params)).rows as Row[],
      execute: async (sql, params) => (await run(sql, params)).rowCount ?? 0,
      tx: (inner) => inner(db),
      now: async () => now,
      close: async () => undefined,
    }
    return { db, wrote: () => wrote }
  }

  /** Resolves with null when the transaction is durable, with its receipt when the answer was lost; rejects when it is certain that it is not. */
  async #commit(client: Pg.PoolClient, wrote: boolean): Promise<UnknownCommit | null> {
    if (!wrote) {
      await client.query("commit")
      return null
    }
    const receipt = this.#options.newId()
    const spent = this.#spent.splice(0)
    try {
      const [, , done] = await together([
        client.query({ ...this.#statement(leave), values: [receipt] }),
        spent.length === 0 ? Promise.resolve(null) : client.query({ ...this.#statement(forget), values: [JSON.stringify(spent)] }),
        client.query("commit"),
      ])
      if (done.command !== "COMMIT") throw new Error(`the transaction was not committed: ${done.command}`)
    } catch (error) {
      this.#spent.push(...spent)
      if (meaningOf(error) !== "away") throw error
      return { receipt, error }
    }
    this.#spent.push(receipt)
    return null
  }

  /**
   * Whether a transaction was committed whose answer was lost. To insert its receipt once more waits until that transaction has ended,
   * if the server is still at it, and then either meets the receipt or proves that it never came.
   */
  async #arrived(receipt: string): Promise<boolean> {
    for (;;) {
      if (this.#closed) throw new FanfareError("store_failed", `${this.#options.name} went away during a commit, and the store is closed`)
      try {
        const client = await this.#pool.connect()
        try {
          await client.query("begin")
          await client.query(this.#session)
          const { rowCount } = await client.query(probe, [receipt])
          if (rowCount === 0) this.#spent.push(receipt)
          return rowCount === 0
        } finally {
          // The probe itself must leave nothing behind.
          client.release(true)
        }
      } catch {
        await this.#options.wait(awayRestMs)
      }
    }
  }

  /** Named after its text: whoever else prepared that name prepared the same. */
  #statement(sql: string): { text: string; name?: string } {
    if (!this.#prepared) return { text: sql }
    let name = names.get(sql)
    if (name === undefined) {
      name = `fanfare_${createHash("sha256").update(sql).digest("hex").slice(0, 24)}`
      names.set(sql, name)
    }
    return { text: sql, name }
  }
}

/** A transaction of which nobody said what became of it. */
interface UnknownCommit {
  readonly receipt: string
  readonly error: unknown
}

const leave = "insert into receipt (id) values ($1)"
const probe = "insert into receipt (id) values ($1) on conflict do nothing"
const forget = "delete from receipt where id in (select value from jsonb_array_elements_text($1::jsonb))"
const names = new Map<string, string>()

const escaped = /(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2})/gi

/** PostgreSQL's text has no NUL and no half of a surrogate pair: both become the sign for "unreadable". */
function fit(param: Param): Param {
  if (typeof param !== "string") return param
  if (param.includes("\0")) return fit(param.replaceAll("\0", "\ufffd"))
  // JSON.stringify escapes half pairs only: a whole pair is written as it is.
  return param.includes("\\u") ? param.replaceAll(escaped, "$1\\ufffd") : param
}

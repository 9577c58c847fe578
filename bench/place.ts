import { mkdtempSync, rmSync } from "node:fs"
import { randomUUID } from "node:crypto"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import pg from "pg"
import { systemClock } from "#house/engine/system.js"
import type { Db } from "#house/store/db.js"
import { postgresPlace } from "#house/store/open-postgres.js"
import { openPostgres } from "#house/store/postgres.js"
import { openSqlite } from "#house/store/sqlite.js"
import { startPostgres } from "../test/store/postgres.ts"

/** Where a benchmark keeps its rows. */
export interface Places {
  /** A new, empty store, as `createServer` takes it. */
  next(): Promise<string>
  /** A bare connection to a store. */
  connect(place: string): Promise<Db>
  /** Opens a long transaction beside a store, which keeps dead rows from being cleared; gives the way to end it. */
  pin(place: string): Promise<() => Promise<void>>
  close(): Promise<void>
}

export async function openPlaces(kind: "sqlite" | "postgres"): Promise<Places> {
  return kind === "sqlite" ? sqlitePlaces() : postgresPlaces()
}

function sqlitePlaces(): Places {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-bench-"))
  let files = 0
  return {
    next: async () => join(folder, `${files++}.db`),
    connect: async (file) => openSqlite({ file, clock: systemClock }),
    pin: async () => async () => undefined,
    close: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** A PostgreSQL of this machine with its default durability; a database for each store. */
async function postgresPlaces(): Promise<Places> {
  const server = await startPostgres()
  return {
    next: () => server.database(),
    connect: (url) => openPostgres({ ...postgresPlace(url), connections: 2, use: "engine", wait: (ms) => delay(ms), newId: randomUUID }),
    async pin(place) {
      const client = new pg.Client({ connectionString: place })
      await client.connect()
      await client.query("begin isolation level repeatable read")
      await client.query("select 1 from pg_class limit 1")
      return () => client.end()
    },
    close: () => server.stop(),
  }
}

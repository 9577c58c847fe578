import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { FanfareError } from "../core/errors.ts"
import type { ThreadClock } from "./beat.ts"
import type { Db } from "./db.ts"
import { lockFile } from "./lock.ts"
import { isPostgresUrl, postgresPlace } from "./open-postgres.ts"
import { openPostgres } from "./postgres.ts"
import { openSqlite } from "./sqlite.ts"
import type { Place } from "./thread-protocol.ts"

/**
 * Where a store is, as people write it: `postgres://…`, `sqlite:path` or a path.
 * @throws FanfareError `invalid_option`
 */
export function parsePlace(text: string, schema?: string): Place {
  if (isPostgresUrl(text)) return postgresPlace(text, schema)
  if (/^[a-z]+:\/\//.test(text)) {
    throw new FanfareError("invalid_option", `${text.split(":")[0]} is not a kind of store`, {
      field: "db",
      hint: "Use postgres://user:password@host/database, or the path of an SQLite file.",
    })
  }
  const path = text.replace(/^sqlite:/, "")
  return { kind: "sqlite", file: path === ":memory:" ? path : resolve(path) }
}

/** Where the store is when nobody says: `FANFARE_DB`, else `DATABASE_URL` if that names a PostgreSQL, else a file here. */
export function defaultPlace({ FANFARE_DB, DATABASE_URL }: NodeJS.ProcessEnv): string {
  if (FANFARE_DB !== undefined && FANFARE_DB !== "") return FANFARE_DB
  return DATABASE_URL !== undefined && isPostgresUrl(DATABASE_URL) ? DATABASE_URL : ".fanfare/fanfare.db"
}

/** For people, without secrets. */
export function nameOfPlace(place: Place): string {
  return place.kind === "postgres" ? place.name : `sqlite ${place.file}`
}

/** Time and chance, for maintenance outside of any engine. */
export interface MaintenancePorts extends ThreadClock {
  newId(): string
}

/** A connection for maintenance, outside of any engine. */
export interface Maintenance {
  readonly db: Db
  close(): Promise<void>
}

/**
 * @param make a file that is not there is made
 * @param alone also makes sure that no engine has the SQLite file (PostgreSQL: ask for live nodes)
 * @throws FanfareError `not_found` when there is no such file, `store_in_use`, and what opening a store throws
 */
export async function connect(place: Place, ports: MaintenancePorts, alone: boolean, make = false): Promise<Maintenance> {
  if (place.kind === "postgres") {
    const wait = (ms: number): Promise<void> => new Promise((ring) => void ports.after(ms, ring))
    const db = await openPostgres({ ...place, use: "upgrade", connections: 2, wait, newId: ports.newId })
    return { db, close: () => db.close() }
  }
  if (!existsSync(place.file) && !make) {
    throw new FanfareError("not_found", `there is no file ${place.file}`, {
      field: "db",
      hint: "Name the store with --db: that of `fanfare dev` is .fanfare/dev.db.",
    })
  }
  const lock = alone ? lockFile(place.file) : null
  try {
    const db = openSqlite({ file: place.file, clock: ports, readOnly: !alone })
    return {
      db,
      close: async () => {
        await db.close()
        lock?.release()
      },
    }
  } catch (error) {
    lock?.release()
    throw error
  }
}

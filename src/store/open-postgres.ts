import { FanfareError } from "../core/errors.ts"
import type { StoreChoice } from "./open.ts"
import { openThreads } from "./threads.ts"
import type { Place } from "./thread-protocol.ts"

export interface PostgresStoreOptions {
  /** The schema that holds Fanfare's tables, made if it is not there: a name of a-z, 0-9 and _. Default `"fanfare"`. */
  readonly schema?: string
}

/**
 * A store in PostgreSQL 14 or newer, for any number of nodes: each start of the same program on another machine is one more. It needs
 * the package `pg`, no extension, no superuser, up to 8 connections per node; a pooler in transaction mode will do.
 * @param url `postgres://user:password@host:port/database`
 * @throws FanfareError `invalid_option` naming what is wrong
 */
export function postgres(url: string, options: PostgresStoreOptions = {}): StoreChoice {
  const place = postgresPlace(url, options.schema)
  return { name: place.name, exclusive: false, open: () => openThreads(place) }
}

/** Where a PostgreSQL store is. @throws FanfareError `invalid_option` naming what is wrong */
export function postgresPlace(url: string, schema = "fanfare"): Extract<Place, { kind: "postgres" }> {
  if (!/^[a-z_][a-z0-9_]{0,47}$/.test(schema) || schema.startsWith("pg_")) {
    throw new FanfareError("invalid_option", `"${schema}" is not a name for a schema`, {
      field: "schema",
      bound: 48,
      hint: "Use 1 to 48 of a-z, 0-9 and _, not beginning with a digit or pg_.",
    })
  }
  const parsed = isPostgresUrl(url) && URL.canParse(url) ? new URL(url) : null
  if (parsed === null) {
    throw new FanfareError("invalid_option", "the URL of the PostgreSQL server is not one", {
      field: "db",
      hint: "It looks like postgres://user:password@host:5432/database, with special characters encoded (%40 for @).",
    })
  }
  return { kind: "postgres", url, schema, name: `postgres ${parsed.host}${parsed.pathname} (schema ${schema})` }
}

/** Whether a text names a PostgreSQL server and not a file. */
export function isPostgresUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//.test(text)
}

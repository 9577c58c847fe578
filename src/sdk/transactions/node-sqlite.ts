import { FanfareError } from "../../core/errors.ts"
import type { Transaction } from "../../core/transaction.ts"

/** A connection of `node:sqlite`. */
interface Database {
  readonly isTransaction: boolean
  prepare(sql: string): { all(...params: (string | number | null)[]): unknown[] }
}

/**
 * `fanfare.send(events, { tx: nodeSqliteTransaction(database) })`, with a `DatabaseSync` on the store's own file after its
 * `begin immediate`. Commit soon: nobody else can write to the file meanwhile.
 * @throws FanfareError `invalid_option` when no transaction is open on it
 */
export function nodeSqliteTransaction(database: Database): Transaction {
  if (!database.isTransaction) {
    throw new FanfareError("invalid_option", "tx is a connection, but no transaction is open on it", {
      field: "tx",
      hint: "Start one first: database.exec('begin immediate').",
    })
  }
  return { database: "sqlite", query: async (sql, params) => database.prepare(sql.replaceAll(/\$(\d+)/g, "?$1")).all(...params) }
}

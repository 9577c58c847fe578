import type { Transaction } from "../../core/transaction.ts"

/** A connection of `pg` on which a transaction is open. */
interface PgClient {
  query(text: string, values: unknown[]): Promise<{ rows: unknown[] }>
}

/** `fanfare.send(events, { tx: pgTransaction(client) })`, with a client (not a pool) of the package `pg` after its `begin`. */
export function pgTransaction(client: PgClient): Transaction {
  return { database: "postgres", query: async (sql, params) => (await client.query(sql, [...params])).rows }
}

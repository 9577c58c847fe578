import type { Transaction } from "../../core/transaction.ts"

/** What `sql.begin(async (tx) => …)` of the package `postgres` gives. */
interface PostgresJsSql {
  unsafe(query: string, parameters: (string | number | null)[]): PromiseLike<readonly unknown[]>
}

/** `sql.begin(async (tx) => { await fanfare.send(events, { tx: postgresJsTransaction(tx) }) })`. */
export function postgresJsTransaction(tx: PostgresJsSql): Transaction {
  return { database: "postgres", query: async (sql, params) => [...(await tx.unsafe(sql, [...params]))] }
}

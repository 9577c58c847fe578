import type { Transaction } from "../../core/transaction.ts"

/** What `db.transaction().execute(async (tx) => …)` of Kysely gives. */
interface KyselyTransaction<Query> {
  executeQuery(query: Query): Promise<{ rows: unknown[] }>
}

/** The `CompiledQuery` of the package `kysely`. */
interface KyselyQueries<Query> {
  raw(sql: string, parameters: unknown[]): Query
}

/** `db.transaction().execute(async (tx) => { await fanfare.send(events, { tx: kyselyTransaction(tx, CompiledQuery) }) })`. */
export function kyselyTransaction<Query>(tx: KyselyTransaction<Query>, queries: KyselyQueries<Query>): Transaction {
  return { database: "postgres", query: async (sql, params) => (await tx.executeQuery(queries.raw(sql, [...params]))).rows }
}

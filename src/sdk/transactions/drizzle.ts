import type { Transaction } from "../../core/transaction.ts"

/** What `db.transaction(async (tx) => …)` of Drizzle gives, over any of its PostgreSQL drivers. */
interface DrizzleTransaction<Query> {
  execute(query: Query): PromiseLike<unknown>
}

/** The `sql` of the package `drizzle-orm`. */
interface DrizzleSql<Query> {
  (strings: TemplateStringsArray, ...params: unknown[]): Query
  raw(text: string): Query
  join(parts: Query[]): Query
}

/** `db.transaction(async (tx) => { await fanfare.send(events, { tx: drizzleTransaction(tx, sql) }) })`. */
export function drizzleTransaction<Query>(tx: DrizzleTransaction<Query>, sql: DrizzleSql<Query>): Transaction {
  return {
    database: "postgres",
    async query(text, params) {
      // Drizzle numbers the parameters itself, in the order in which they stand in the text.
      const parts = text.split(/\$(\d+)/).map((part, i) => (i % 2 === 0 ? sql.raw(part) : sql`${params[Number(part) - 1]}`))
      const result = await tx.execute(sql.join(parts))
      return Array.isArray(result) ? [...(result as unknown[])] : (result as { rows: unknown[] }).rows
    },
  }
}

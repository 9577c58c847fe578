import type { Transaction } from "../../core/transaction.ts"

/** What `prisma.$transaction(async (tx) => …)` gives. */
interface PrismaTransaction {
  $queryRawUnsafe(query: string, ...values: unknown[]): PromiseLike<unknown>
}

/** `prisma.$transaction(async (tx) => { await fanfare.send(events, { tx: prismaTransaction(tx) }) })`. */
export function prismaTransaction(tx: PrismaTransaction): Transaction {
  return {
    database: "postgres",
    async query(sql, params) {
      const rows = await tx.$queryRawUnsafe(sql, ...params)
      return Array.isArray(rows) ? (rows as unknown[]) : []
    },
  }
}

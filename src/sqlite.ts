export type { SqlFanout, SqlFanoutResult, Transaction } from "./core/transaction.ts"
export { nodeSqliteTransaction } from "./sdk/transactions/node-sqlite.ts"
export type { StoreChoice } from "./store/open.ts"
export { sqlite } from "./store/open-sqlite.ts"

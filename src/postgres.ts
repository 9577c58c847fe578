export type { StoreChoice } from "./store/open.ts"
export { type PostgresStoreOptions, postgres } from "./store/open-postgres.ts"

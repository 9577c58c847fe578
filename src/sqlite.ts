export { sqlite } from "./store/open-sqlite.ts"
export type { StoreChoice } from "./store/open.ts"

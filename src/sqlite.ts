export { sqlite } from "./store/open.ts"
export type { StoreChoice } from "./store/open.ts"

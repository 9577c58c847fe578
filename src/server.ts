export { createServer } from "./server/create.ts"
export type { FanfareServer, ServerOptions } from "./server/create.ts"
export type { StoreChoice } from "./store/open.ts"

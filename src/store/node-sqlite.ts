import type * as NodeSqlite from "node:sqlite"
import { FanfareError } from "../core/errors.ts"

// Asked for instead of imported: a Node without it gets a sentence that helps, not "unknown module".
const found = process.getBuiltinModule?.("node:sqlite") as typeof NodeSqlite | undefined
if (found === undefined) {
  throw new FanfareError("store_unfit", `this is Node ${process.versions.node}, which has no node:sqlite`, {
    field: "node",
    bound: "22.22.3",
    hint: "The engine needs Node 24.15 or newer, or 22.22.3 or newer. `npm install --save-dev node@24` brings one for the npm scripts of a project.",
  })
}

export const DatabaseSync: typeof NodeSqlite.DatabaseSync = found.DatabaseSync
export type DatabaseSync = NodeSqlite.DatabaseSync
export type StatementSync = NodeSqlite.StatementSync

import type { Dialect } from "./db.ts"

/** One connection writes at a time: nothing needs a lock of its own. */
export const sqliteDialect: Dialect = {
  name: "sqlite",
  rows: (param, columns) => `(select ${columns.map(([name], i) => `value ->> ${i} as ${name}`).join(", ")} from json_each(${param}))`,
  gather: (columns) => `json_group_array(json_array(${columns}))`,
  concurrent: false,
  lockRows: "",
  shareRows: "",
  seizeRegistry: [],
  unlessBusy: { before: [], after: [], failed: "" },
  skipLocked: "",
  hex: (expression) => `printf('%08x', ${expression})`,
  isObject: (expression) => `(json_valid(${expression}) and json_type(${expression}) = 'object')`,
  findTable: "select name from sqlite_schema where type = 'table' and name = $1",
  // Rows are best kept in the order of their primary key.
  define: (statement) => (statement.startsWith("create table") ? `${statement} without rowid` : statement),
  prepare: [],
  upkeep: [],
}

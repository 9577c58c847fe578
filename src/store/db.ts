/** A connection to a database; it knows nothing of runs. Everything that differs between databases is here and in `Dialect`. */
export interface Db {
  readonly dialect: Dialect
  /** Rows of a statement. Parameters are `$1`, `$2` …; statements are prepared once per text. */
  query<Row>(sql: string, params?: readonly Param[]): Promise<Row[]>
  /** Runs a statement; gives the number of rows it changed. */
  execute(sql: string, params?: readonly Param[]): Promise<number>
  /** All of `work` or nothing. Only database calls may be awaited inside. Not nested. */
  tx<T>(work: (db: Db) => Promise<T>): Promise<T>
  /** The time that counts, in milliseconds since 1970. */
  now(): Promise<number>
  close(): Promise<void>
}

export type Param = string | number | null

export type Column = readonly [name: string, type: "text" | "bigint"]

export interface Dialect {
  readonly name: "sqlite" | "postgres"
  /** A JSON array of arrays as a table, to stand in a `from`: its columns are named and typed. */
  rows(param: string, columns: readonly Column[]): string
  /** Ends a `select` that picks rows which other connections may be picking too. */
  readonly skipLocked: string
  /** Ends `create table` where rows are best kept in the order of their primary key. */
  readonly clustered: string
}

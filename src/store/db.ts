/** A connection to a database; it knows nothing of runs. Everything that differs between databases is here and in `Dialect`. */
export interface Db {
  readonly dialect: Dialect
  /** Rows of a statement. Parameters are `$1`, `$2` …; statements are prepared once per text. */
  query<Row>(sql: string, params?: readonly Param[]): Promise<Row[]>
  /** Runs a statement; gives the number of rows it changed. */
  execute(sql: string, params?: readonly Param[]): Promise<number>
  /**
   * Runs a statement for each of these rows of parameters, in a transaction; gives the number of rows that each changed. Only where that costs
   * less than one statement for all, so not where each has a way to go.
   */
  each?(sql: string, rows: readonly (readonly Param[])[]): Promise<readonly number[]>
  /**
   * All of `work` or nothing: resolves when it is durable, rejects when nothing was written, and knows which, also when a connection
   * breaks. `work` may run several times, when another transaction was first. Only database calls may be awaited inside. Not nested.
   */
  tx<T>(work: (db: Db) => Promise<T>): Promise<T>
  /** The time that counts, in milliseconds since 1970; in a transaction: that of its beginning. */
  now(): Promise<number>
  close(): Promise<void>
}

export type Param = string | number | null

export type Column = readonly [name: string, type: "text" | "bigint"]

export interface Dialect {
  readonly name: "sqlite" | "postgres"
  /** A JSON array of arrays as a table, to stand in a `from`: its columns are named and typed. */
  rows(param: string, columns: readonly Column[]): string
  /** An aggregate: the rows, each an array of these columns, as the text of a JSON array. */
  gather(columns: string): string
  /** Whether transactions of several connections run side by side, so that what one decides on must be locked. */
  readonly concurrent: boolean
  /** Ends a `select` whose rows other connections may not change until this transaction ends. */
  readonly lockRows: string
  /** Ends a `select` that others may do at the same time, but not those who lock the rows. */
  readonly shareRows: string
  /** Waits until no transaction that has read the registry is under way, and keeps others from reading it; fails when that takes long. */
  readonly seizeRegistry: readonly string[]
  /**
   * Around a statement that shall fail rather than wait for another connection, with the transaction going on all the same: what to run
   * before it, after it, and in place of that when it has failed.
   */
  readonly unlessBusy: { readonly before: readonly string[]; readonly after: readonly string[]; readonly failed: string }
  /** Ends a `select` that picks rows which other connections may be picking too. */
  readonly skipLocked: string
  /** A number as eight hexadecimal digits. */
  hex(expression: string): string
  /** Whether a text is a JSON object. */
  isObject(expression: string): string
  /** A query for a table by its name: a row if it is there. */
  readonly findTable: string
  /** A statement that makes a table, as this database wants it. */
  define(statement: string): string
  /** What has to be there before the first table: run at each start, in the transaction that migrates. */
  readonly prepare: readonly string[]
  /** What this database needs beyond the tables: made with them. */
  readonly upkeep: readonly string[]
}

/** Thrown inside a transaction: another one was first. It is rolled back and run again. */
export class Conflict extends Error {
  override readonly name = "Conflict"
}

type Results<T extends readonly unknown[]> = { -readonly [K in keyof T]: Awaited<T[K]> }

/**
 * Statements that do not need each other's results, on their way at the same time: they run in the order in which they were asked
 * for. Waits for all of them also when one fails, so that none can come after the roll back.
 */
export async function together<const T extends readonly Promise<unknown>[]>(statements: T): Promise<Results<T>> {
  await Promise.allSettled(statements)
  return Promise.all(statements)
}

/**
 * A transaction of user code that a send takes part in: roll back and nothing was sent, commit and all of it was. Made by the adapters
 * of `fanfare/postgres` and `fanfare/sqlite`.
 */
export interface Transaction {
  readonly database: "postgres" | "sqlite"
  /** Runs a statement whose parameters are `$1`, `$2` …; gives its rows. */
  query(sql: string, params: readonly (string | number | null)[]): Promise<readonly unknown[]>
}

/** A fan-out whose events the database makes itself: one per row of a query. */
export interface SqlFanout {
  /** Name of the events. */
  readonly name: string
  /** A `select` whose column `data` is a JSON object: the data of one event. */
  readonly query: string
  readonly params?: readonly (string | number | null)[]
}

export interface SqlFanoutResult {
  readonly fanoutId: string
  /** Events, one per row. */
  readonly events: number
  /** Runs that they started. */
  readonly runs: number
}

import type { Clock } from "../core/ports.ts"
import type { Outbox } from "./within.ts"
import type { Reader, Store } from "./store.ts"

export interface OpenStore {
  readonly store: Store
  readonly reader: Reader
  /** Calls `rung` when another node put runs in line; gives the way to stop. Polling alone must be enough: no bell is promised. */
  listen(rung: () => void): () => void
  /** Writes in transactions of user code, where the store can share one. */
  readonly outbox?: Outbox
}

/** A store that is not open yet, as the user names it: `db: sqlite("jobs.db")`, `db: postgres(url)`. */
export interface StoreChoice {
  /** For people, without secrets. */
  readonly name: string
  /** Whether one node at a time can have it. */
  readonly exclusive: boolean
  open(clock: Clock): Promise<OpenStore>
}

/** What one handler is given: about 200 bytes, as in `npm run bench`. */
export interface Item {
  readonly i: number
  readonly tenant: string
  readonly text: string
}

/** How the runs of a send are made: nothing but the handler, one durable step after it, or bounded per tenant. */
export type Work = "noop" | "step" | "tenant"

/** A system that runs in this process. */
export interface Opened {
  /** Puts the items in line by the system's best bulk call. Resolves when all of them are durable. */
  send(work: Work, items: readonly Item[]): Promise<void>
  /** Starts something of the system's own that starts a run for each item and ends when all of them have. Resolves then. */
  join?(items: readonly Item[]): Promise<void>
  /** How many runs have ended well so far, by what the store says. */
  ended(): Promise<number>
  close(): Promise<void>
}

/** What users would pick: one file each. */
export interface Peer {
  readonly store: "sqlite" | "postgres" | "redis"
  readonly package: string
  /** How it was set, and why: goes onto the page. */
  readonly settings: string
  /** What is left of a run that has ended. */
  readonly keeps: string
  /** The mechanism that `step` uses, null: it has none. */
  readonly step: string | null
  /** The mechanism that keeps one tenant's flood from the others, null: it has none (in the free edition). */
  readonly fair: string | null
  /** The mechanism of the join, and the most children that it takes; null: it has none. */
  readonly join: { readonly by: string; readonly most: number } | null
  /**
   * Opens it on an empty place, or on one that it has used before. `tenants`: set for runs that tenants share, for those systems whose
   * settings for throughput are not those for fairness.
   */
  open(place: string, handler: (item: Item) => void | Promise<void>, tenants: boolean): Promise<Opened>
}

/** The most attempts that a bounded tenant has at the same time, where a system can say so. */
export const tenantLimit = 10

/** All systems, Fanfare on both stores first. */
export const peers: Readonly<Record<string, () => Promise<Peer>>> = {
  "fanfare (SQLite)": async () => (await import("./fanfare.ts")).fanfare("sqlite"),
  "fanfare (PostgreSQL)": async () => (await import("./fanfare.ts")).fanfare("postgres"),
  "openworkflow (SQLite)": async () => (await import("./openworkflow.ts")).openworkflow("sqlite"),
  "openworkflow (PostgreSQL)": async () => (await import("./openworkflow.ts")).openworkflow("postgres"),
  "graphile-worker": async () => (await import("./graphile.ts")).graphile,
  "pg-boss": async () => (await import("./pgboss.ts")).pgboss,
  "DBOS Transact": async () => (await import("./dbos.ts")).dbos,
  "BullMQ (fsync each second)": async () => (await import("./bullmq.ts")).bullmq("everysec"),
  "BullMQ (fsync always)": async () => (await import("./bullmq.ts")).bullmq("always"),
}

/** Calls `work` for each item, at most `width` at the same time. */
export async function each<T>(items: readonly T[], width: number, work: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) await work(items[next++] as T)
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane))
}

import { type Db, together } from "./db.ts"
import { keyColumn } from "./limiter.ts"
import { byRank, type QueueRow, queueNames, readQueueValues, type StoredQueueRow, toQueueRow } from "./queue.ts"

/** One pass per key moves at most this many runs; the sweep for missed releases does the rest. */
export const releaseBatch = 1_000
/** How many runs are looked at for a key: one statement for all keys of a size. */
const sizes = [1, 10, 100, releaseBatch]

/** Runs that came just now, by the limit that they come to first. */
export type Arrived = ReadonlyMap<string, readonly QueueRow[]>

/** Runs that wait for a limit, in their order; and those that came just now, of which some may not be looked at. */
export interface Line {
  readonly rows: readonly QueueRow[]
  readonly unseen: readonly QueueRow[]
  /** Whether these are all that the limit holds. */
  readonly whole: boolean
}

/**
 * What is held and what came, in the order of the ranks; as many of each line as may go on. Of what came, nothing may pass those who are held
 * and were not looked at.
 */
export function linesIn(
  heads: ReadonlyMap<string, readonly QueueRow[]>,
  arrived: Arrived,
  wanted: ReadonlyMap<string, number>,
): Map<string, Line> {
  const most = (key: string): number => wanted.get(key) ?? 0
  const lines = new Map(Array.from(heads, ([key, rows]): [string, Line] => [key, { rows, unseen: [], whole: rows.length < most(key) }]))
  for (const [key, fresh] of arrived) {
    const stored = heads.get(key) ?? []
    const rows = stored.length === 0 && fresh.length === 1 ? fresh : [...stored, ...fresh].toSorted(byRank)
    const last = stored.length < most(key) ? undefined : stored.at(-1)
    const seen = Math.min(most(key), last === undefined ? rows.length : rows.indexOf(last) + 1)
    const held = new Set(stored)
    const unseen = rows.slice(seen).filter((row) => !held.has(row))
    lines.set(key, { rows: rows.slice(0, seen), unseen, whole: stored.length < most(key) && unseen.length === 0 })
  }
  return lines
}

export async function pausedFunctions(db: Db, runs: readonly QueueRow[]): Promise<Set<string>> {
  const ids = new Set(runs.map(({ functionId }) => functionId))
  if (ids.size === 0) return new Set()
  const rows = await db.query<{ id: string }>(
    `select function.id from ${db.dialect.rows("$1", [["id", "text"]])} as j join function on function.id = j.id where function.paused is not null`,
    [JSON.stringify([...ids].map((id) => [id]))],
  )
  return new Set(rows.map(({ id }) => id))
}

/** Of limits those that hold nobody. */
export async function quietOf(db: Db, keys: readonly string[]): Promise<Set<string>> {
  const all = new Set(keys)
  const crowded = all.size === 0 ? [] : await among(db, all, "exists (select 1 from held where held.limit_key = j.key)")
  for (const key of crowded) all.delete(key)
  return all
}

/** Of limits those that nobody counts against. */
export async function unclaimedOf(db: Db, keys: readonly string[]): Promise<Set<string>> {
  return new Set(await among(db, keys, "not exists (select 1 from slot where slot.limit_key = j.key)"))
}

async function among(db: Db, keys: Iterable<string>, condition: string): Promise<string[]> {
  const rows = await db.query<{ key: string }>(`select j.key from ${db.dialect.rows("$1", keyColumn)} as j where ${condition}`, [
    JSON.stringify(Array.from(keys, (key) => [key])),
  ])
  return rows.map(({ key }) => key)
}

/** The first runs that each limit holds: exactly as many as are wanted of a few, and one statement for all others of which about as many are. */
export async function headsOf(db: Db, wanted: ReadonlyMap<string, number>): Promise<Map<string, QueueRow[]>> {
  const bySize = Map.groupBy(wanted.keys(), (key) => sizes.find((size) => size >= (wanted.get(key) ?? 1)) ?? releaseBatch)
  const found = await together(
    Array.from(bySize, ([size, keys]) =>
      size > 1 && keys.length <= fewKeys
        ? together(keys.map(async (key): Promise<Head> => [key, await firstHeld(db, key, wanted.get(key) ?? size)]))
        : headsOfMany(db, keys, size),
    ),
  )
  const heads = found.flat().filter(([, rows]) => rows.length > 0)
  return new Map(heads.map(([key, rows]) => [key, rows.slice(0, wanted.get(key))]))
}

type Head = readonly [key: string, rows: QueueRow[]]

/** Of so many limits the first runs are asked for one by one. */
const fewKeys = 8

async function firstHeld(db: Db, key: string, most: number): Promise<QueueRow[]> {
  const rows = await db.query<StoredQueueRow>(`select ${queueNames} from held where limit_key = $1 order by rank, run_id limit $2`, [
    key,
    most,
  ])
  return rows.map(toQueueRow)
}

async function headsOfMany(db: Db, keys: readonly string[], size: number): Promise<Head[]> {
  const rows = await db.query<{ key: string; heads: string }>(
    `select j.key, (select ${db.dialect.gather(queueNames)} from
         (select ${queueNames} from held where limit_key = j.key order by rank, run_id limit ${size}) as h) as heads
       from ${db.dialect.rows("$1", keyColumn)} as j where (select 1 from held where held.limit_key = j.key limit 1) is not null`,
    [JSON.stringify(keys.map((key) => [key]))],
  )
  // What an aggregate gathers has no promised order.
  return rows.map(({ key, heads }) => [key, readQueueValues(heads).toSorted(byRank)])
}

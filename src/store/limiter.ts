import { type LimitState, unusedLimit } from "../core/room.ts"
import type { Column, Db } from "./db.ts"

export const keyColumn: readonly Column[] = [["key", "text"]]

/** By transaction: the limits whose rows it has locked. */
const lockedBy = new WeakMap<Db, Set<string>>()

function locksOf(db: Db): Set<string> {
  const locks = lockedBy.get(db) ?? new Set()
  lockedBy.set(db, locks)
  return locks
}

const none: ReadonlySet<string> = new Set()

/**
 * Each lock waits for whoever is giving out room of that limit; what is read afterwards includes what they did. In order of keys: so a
 * transaction asks once, for all that it may want; what turns up later it asks for with `tryLimits`. Runs in a transaction.
 * @returns those that were not there: nobody counts against them
 */
export async function lockLimits(db: Db, keys: readonly string[]): Promise<ReadonlySet<string>> {
  if (!db.dialect.concurrent) return none
  const locks = locksOf(db)
  const wanted = [...new Set(keys)].filter((key) => !locks.has(key)).toSorted()
  if (wanted.length === 0) return none
  // What is there is locked, and what is missing made, in one walk along the list: so nobody waits for a key that comes before one he has.
  const made = await db.query<{ key: string }>(
    `${insertKeys(db)} on conflict (key) do update set keep_until = limiter.keep_until where false returning key`,
    [listed(wanted)],
  )
  for (const key of wanted) locks.add(key)
  return new Set(made.map(({ key }) => key))
}

/** What became of limits that were asked for out of order. */
export interface Tried {
  /** Somebody else has them. */
  readonly busy: ReadonlySet<string>
  /** They were not there: nobody counts against them. */
  readonly made: ReadonlySet<string>
}

/**
 * Locks limits that are asked for out of order: after all that this transaction has locked each lock may wait, before that none does, since
 * the other one may be waiting for us.
 */
export async function tryLimits(db: Db, keys: readonly string[]): Promise<Tried> {
  if (!db.dialect.concurrent) return { busy: none, made: none }
  const locks = locksOf(db)
  const last = [...locks].reduce((a, b) => (a > b ? a : b), "")
  const wanted = [...new Set(keys)].filter((key) => !locks.has(key))
  const early = wanted.filter((key) => key < last)
  if (early.length > 0) {
    const free = await db.query<{ key: string }>(
      `select key from limiter where key in (select key from ${db.dialect.rows("$1", keyColumn)} as j) ${db.dialect.skipLocked}`,
      [listed(early)],
    )
    for (const { key } of free) locks.add(key)
  }
  const missing = early.filter((key) => !locks.has(key))
  const made = new Set(missing.length === 0 ? [] : await makeUnlessBusy(db, missing.toSorted()))
  for (const key of made) locks.add(key)
  const busy = new Set(missing.filter((key) => !made.has(key)))
  for (const key of await lockLimits(
    db,
    wanted.filter((key) => key > last),
  ))
    made.add(key)
  return { busy, made }
}

/** Makes those that nobody has. Of one that somebody else is just making nothing can be seen: to insert it waits for him, and is given up. */
async function makeUnlessBusy(db: Db, keys: readonly string[]): Promise<string[]> {
  const { before, after, failed } = db.dialect.unlessBusy
  for (const statement of before) await db.execute(statement)
  let made: { key: string }[]
  try {
    made = await db.query<{ key: string }>(`${insertKeys(db)} on conflict (key) do nothing returning key`, [listed(keys)])
  } catch {
    // Whatever else went wrong goes wrong here once more.
    await db.execute(failed)
    return []
  }
  for (const statement of after) await db.execute(statement)
  return made.map(({ key }) => key)
}

/** In the order of the list. */
function insertKeys(db: Db): string {
  return `insert into limiter (key, keep_until) select key, 0 from ${db.dialect.rows("$1", keyColumn)} as j where true`
}

/**
 * Of limits that are full, given how many were counted: those of which somebody is just leaving, who may not know that somebody waits now.
 * Whoever leaves does not lock the limit when nobody waits for it; from here on he sees that somebody does.
 */
export async function leftJustNow(db: Db, counted: ReadonlyMap<string, number>): Promise<string[]> {
  if (counted.size === 0) return []
  const rows = await db.query<{ limit_key: string }>(
    `select limit_key from slot where limit_key in (select key from ${db.dialect.rows("$1", keyColumn)} as j) ${db.dialect.skipLocked}`,
    [listed([...counted.keys()])],
  )
  const staying = Map.groupBy(rows, (row) => row.limit_key)
  return [...counted].flatMap(([key, n]) => ((staying.get(key)?.length ?? 0) < n ? [key] : []))
}

function listed(keys: readonly string[]): string {
  return JSON.stringify(keys.map((key) => [key]))
}

/** How things stand with limits; one that nobody has counted against yet is free. */
export async function limitStates(db: Db, keys: readonly string[]): Promise<Map<string, LimitState>> {
  const rows = await db.query<{
    key: string
    used: number
    max: number | null
    rate: number | null
    held_until: number | null
    due_at: number | null
  }>(
    `select j.key, l.max, l.rate, l.held_until, l.due_at, (select count(*) from slot where slot.limit_key = j.key) as used
       from ${db.dialect.rows("$1", keyColumn)} as j left join limiter as l on l.key = j.key
       where l.key is not null or (select 1 from slot where slot.limit_key = j.key limit 1) is not null`,
    [JSON.stringify(keys.map((key) => [key]))],
  )
  const states = new Map<string, LimitState>(keys.map((key) => [key, { ...unusedLimit }]))
  for (const { key, used, max, rate, held_until, due_at } of rows) {
    states.set(key, { used, max, rate, heldUntil: held_until, dueAt: due_at })
  }
  return states
}

const stateColumns: readonly Column[] = [
  ["key", "text"],
  ["rate", "bigint"],
  ["due_at", "bigint"],
  ["keep_until", "bigint"],
]

/** What a rule has to remember. */
export interface Remembered {
  readonly key: string
  readonly rate: number | null
  readonly dueAt: number | null
}

export async function remember(db: Db, states: readonly Remembered[]): Promise<void> {
  if (states.length === 0) return
  await db.execute(
    `insert into limiter (key, rate, due_at, keep_until) select key, rate, due_at, keep_until from ${db.dialect.rows("$1", stateColumns)} as j where true
       on conflict (key) do update set rate = excluded.rate, due_at = excluded.due_at,
         keep_until = case when limiter.keep_until > excluded.keep_until then limiter.keep_until else excluded.keep_until end`,
    [JSON.stringify(states.map(({ key, rate, dueAt }) => [key, rate, dueAt, rate === null ? 0 : Math.ceil(rate / 1_000)]))],
  )
}

/** Nothing starts under these limits, which are locked, before a moment: the latest one that was asked for. */
export async function holdLimits(db: Db, holds: readonly { readonly key: string; readonly until: number }[]): Promise<void> {
  if (holds.length === 0) return
  const until = new Map<string, number>()
  for (const hold of holds) until.set(hold.key, Math.max(hold.until, until.get(hold.key) ?? 0))
  await db.execute(
    `insert into limiter (key, held_until, due_at, keep_until) select key, held_until, held_until, held_until from ${db.dialect.rows("$1", [
      ["key", "text"],
      ["held_until", "bigint"],
    ])} as j where true
       on conflict (key) do update set held_until = excluded.held_until, due_at = excluded.due_at,
         keep_until = case when limiter.keep_until > excluded.keep_until then limiter.keep_until else excluded.keep_until end
       where limiter.held_until is null or limiter.held_until < excluded.held_until`,
    [JSON.stringify([...until].toSorted(([a], [b]) => (a < b ? -1 : 1)))],
  )
}

/** Limits whose held runs may go on by now, by time alone. */
export async function dueLimits(db: Db, limit: number, now: number): Promise<string[]> {
  const rows = await db.query<{ key: string }>(
    "select key from limiter where due_at is not null and due_at <= $1 order by due_at limit $2",
    [now, limit],
  )
  return rows.map(({ key }) => key)
}

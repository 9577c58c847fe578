import { type LimitState, unusedLimit } from "../core/room.ts"
import { type Column, Conflict, type Db, together } from "./db.ts"

export const keyColumn: readonly Column[] = [["key", "text"]]

/** By transaction: the limits whose rows it has locked. */
const lockedBy = new WeakMap<Db, Set<string>>()

function locksOf(db: Db): Set<string> {
  const locks = lockedBy.get(db) ?? new Set()
  lockedBy.set(db, locks)
  return locks
}

const nothingMade: ReadonlySet<string> = new Set()

/**
 * Each lock waits for whoever is giving out room of that limit; what is read afterwards includes what they did. In order of keys: so a
 * transaction asks once, for all that it may want; what turns up later it asks for with `tryLimits`. Runs in a transaction.
 * @param fresh those among them that are likely to be new
 * @returns those that were not there: nobody counts against them, and nobody waits for them
 */
export async function lockLimits(db: Db, keys: readonly string[], fresh: readonly string[] = []): Promise<ReadonlySet<string>> {
  if (!db.dialect.concurrent) return nothingMade
  const locks = locksOf(db)
  const wanted = [...new Set(keys)].filter((key) => !locks.has(key)).toSorted()
  if (wanted.length === 0) return nothingMade
  const likely = [...new Set(fresh)].filter((key) => !locks.has(key)).toSorted()
  const table = db.dialect.rows("$1", keyColumn)
  // What this transaction makes nobody else can have.
  const make = async (some: readonly string[]): Promise<{ key: string }[]> =>
    some.length === 0
      ? []
      : db.query(
          `insert into limiter (key, keep_until) select key, 0 from ${table} as j where true order by key on conflict (key) do nothing returning key`,
          [listed(some)],
        )
  const lock = (some: readonly string[]): Promise<{ key: string }[]> =>
    db.query(`select key from limiter where key in (select key from ${table} as j) order by key ${db.dialect.lockRows}`, [listed(some)])
  // Both at once: those that are there are passed over.
  const [locked, made] = await together([lock(wanted), make(likely)])
  for (const { key } of [...locked, ...made]) locks.add(key)
  const missing = wanted.filter((key) => !locks.has(key))
  const others = missing.length === 0 ? [] : await make(missing)
  for (const { key } of others) locks.add(key)
  const late = missing.filter((key) => !locks.has(key))
  if (late.length > 0) for (const { key } of await lock(late)) locks.add(key)
  if (late.some((key) => !locks.has(key))) throw new Conflict("a limit was forgotten while it was taken up")
  return new Set([...made, ...others].map(({ key }) => key))
}

/**
 * Locks limits that are asked for out of order: after all that this transaction has locked each lock may wait, before that none does, since
 * the other one may be waiting for us. Gives those that somebody else has.
 */
export async function tryLimits(db: Db, keys: readonly string[]): Promise<ReadonlySet<string>> {
  if (!db.dialect.concurrent) return new Set()
  const locks = locksOf(db)
  const wanted = keys.filter((key) => !locks.has(key))
  const last = [...locks].reduce((a, b) => (a > b ? a : b), "")
  const early = wanted.filter((key) => key < last)
  if (early.length > 0) {
    const these = `key in (select key from ${db.dialect.rows("$1", keyColumn)} as j)`
    const [free, known] = await together([
      db.query<{ key: string }>(`select key from limiter where ${these} order by key ${db.dialect.skipLocked}`, [listed(early)]),
      db.query<{ key: string }>(`select key from limiter where ${these}`, [listed(early)]),
    ])
    for (const { key } of free) locks.add(key)
    const busy = new Set(known.map(({ key }) => key).filter((key) => !locks.has(key)))
    // What is not there yet nobody can have locked for long.
    await lockLimits(
      db,
      wanted.filter((key) => !busy.has(key)),
    )
    return busy
  }
  await lockLimits(db, wanted)
  return new Set()
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

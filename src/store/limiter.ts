import type { LimitState } from "../core/room.ts"
import { type Column, Conflict, type Db } from "./db.ts"

export const keyColumn: readonly Column[] = [["key", "text"]]

/** Each lock waits for whoever is giving out room of that limit; what is read afterwards includes what they did. In order of keys. */
export async function lockLimits(db: Db, keys: readonly string[]): Promise<void> {
  if (!db.dialect.concurrent || keys.length === 0) return
  const wanted = [...new Set(keys)].toSorted()
  const table = db.dialect.rows("$1", keyColumn)
  const lock = (some: readonly string[]): Promise<{ key: string }[]> =>
    db.query(`select key from limiter where key in (select key from ${table} as j) order by key ${db.dialect.lockRows}`, [listed(some)])
  const locked = new Set((await lock(wanted)).map(({ key }) => key))
  const missing = wanted.filter((key) => !locked.has(key))
  if (missing.length === 0) return
  // What this transaction makes nobody else can have.
  const made = await db.query<{ key: string }>(
    `insert into limiter (key, keep_until) select key, 0 from ${table} as j where true order by key on conflict (key) do nothing returning key`,
    [listed(missing)],
  )
  for (const { key } of made) locked.add(key)
  const others = missing.filter((key) => !locked.has(key))
  if (others.length > 0 && (await lock(others)).length < others.length) throw new Conflict("a limit was forgotten while it was taken up")
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
       from ${db.dialect.rows("$1", keyColumn)} as j left join limiter as l on l.key = j.key`,
    [JSON.stringify(keys.map((key) => [key]))],
  )
  return new Map(
    rows.map(({ key, used, max, rate, held_until, due_at }) => [key, { used, max, rate, heldUntil: held_until, dueAt: due_at }]),
  )
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

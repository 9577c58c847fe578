import type { PausePolicy } from "../core/definition.ts"
import { limits } from "../core/limits.ts"
import { openClaims } from "../core/run.ts"
import type { LimitSummary, Page } from "../core/views.ts"
import { type Db, together } from "./db.ts"
import { lockLimits } from "./limiter.ts"
import { claimsOf, decodeLimits, deleteSlots, insertHeld, queueNames, type StoredQueueRow, toQueueRow } from "./queue.ts"
import { pausedKey, releaseAll, type Released, releaseHeld } from "./release.ts"

/** Sets the most of a limit in place of what its runs say, or with null undoes that. What has started goes on. Runs in a transaction. */
export async function setLimit(db: Db, key: string, max: number | null, now: number): Promise<Released> {
  await lockLimits(db, [key])
  await db.execute("insert into limiter (key, max, keep_until) values ($1, $2, 0) on conflict (key) do update set max = excluded.max", [
    key,
    max,
  ])
  return releaseAll(db, [key], now)
}

/**
 * Pauses a function, or lets it go on. Claims pass it over from the next one on; which runs new events start is decided anew, since the
 * registry's version grows. Runs in a transaction.
 */
export async function pauseFunction(db: Db, id: string, policy: PausePolicy | null, now: number): Promise<Released> {
  await db.execute("update function set paused = $2 where id = $1", [id, policy])
  await db.execute("insert into registry (id, version) values (1, 1) on conflict (id) do update set version = registry.version + 1")
  if (policy !== null) return giveBack(db, id, now)
  const { lines, dueAt } = await releaseAll(db, await heldKeys(db, id), now)
  // Its line is looked at from the front.
  return { lines: new Map([...lines, [id, { runs: 1, rank: -1 }]]), dueAt }
}

/** Ready runs of a paused function give up their places, which others may share, and are held. */
async function giveBack(db: Db, id: string, now: number): Promise<Released> {
  const ready = await db.query<StoredQueueRow>(`delete from ready where function_id = $1 and limits is not null returning ${queueNames}`, [
    id,
  ])
  const rows = ready.map(toQueueRow)
  const left = rows.map(({ runId, limits: claims }) => ({ runId, limits: openClaims(claims) }))
  await together([
    deleteSlots(db, left),
    insertHeld(
      db,
      rows.map((row) => [pausedKey(id), row]),
    ),
  ])
  return releaseHeld(db, claimsOf(left), [], now)
}

/** The limits under which runs of a function wait. */
async function heldKeys(db: Db, id: string): Promise<string[]> {
  const found: string[] = [pausedKey(id)]
  for (const prefix of [`fn:${id}`, `throttle:${id}`]) {
    const rows = await db.query<{ key: string | null }>(
      `with recursive k(key) as (
         select min(limit_key) from held where limit_key >= $1 and limit_key < $2
         union all select (select min(limit_key) from held where limit_key > k.key and limit_key < $2) from k where k.key is not null)
       select key from k where key is not null limit $3`,
      [prefix, `${prefix}~`, limits.sweepBatch],
    )
    found.push(...rows.flatMap(({ key }) => (key === null ? [] : [key])))
  }
  return found
}

const heldCap = 1_000

/** From the first of two keys up to the second, which is not meant. */
type Range = readonly [from: string, to: string]
/** No key has a sign before this one, or after that one. */
const [low, high] = ["\u0001", "\uffff"]

/** A walk from key to key over what holds runs, what they count against, and what was set by hand. */
export async function limitList(db: Db, after: string | null, limit: number, functionId?: string): Promise<Page<LimitSummary>> {
  const size = Math.min(Math.max(limit, 1), limits.pageRowsMax)
  const start = after === null ? "" : `${after}${low}`
  const keys = new Set<string>()
  for (const [from, to] of functionId === undefined ? [["", high] as const] : rangesOf(functionId)) {
    if (to > start) for (const key of await keysBetween(db, [start > from ? start : from, to], size + 1)) keys.add(key)
  }
  const page = [...keys].toSorted().slice(0, size + 1)
  const items = await summaries(db, page.slice(0, size))
  return { items, next: page.length > size ? (items.at(-1)?.id ?? null) : null }
}

/** A function's own limits: the name of each alone, with the number of the rule, and with the value of a key. */
function rangesOf(functionId: string): readonly Range[] {
  return [`fn:${functionId}`, `throttle:${functionId}`].flatMap((name) => [
    [name, `${name}${low}`] as const,
    [`${name}#`, `${name}$`] as const,
    [`${name}:`, `${name};`] as const,
  ])
}

async function keysBetween(db: Db, [from, to]: Range, most: number): Promise<string[]> {
  const found: string[] = []
  for (const [table, column, where] of [
    ["held", "limit_key", ""],
    ["slot", "limit_key", ""],
    ["limiter", "key", "and max is not null"],
  ] as const) {
    const rows = await db.query<{ key: string | null }>(
      `with recursive k(key, n) as (
         select (select min(${column}) from ${table} where ${column} >= $1 and ${column} < $3 ${where}), 1
         union all select (select min(${column}) from ${table} where ${column} > k.key and ${column} < $3 ${where}), k.n + 1
           from k where k.key is not null and k.n <= $2)
       select key from k where key is not null`,
      [from, most, to],
    )
    found.push(...rows.flatMap(({ key }) => (key === null ? [] : [key])))
  }
  return found
}

async function summaries(db: Db, keys: readonly string[]): Promise<LimitSummary[]> {
  const rows = await db.query<{
    key: string
    max: number | null
    held_until: number | null
    used: number
    held: number
    held_limits: string | null
    slot_limits: string | null
  }>(
    `select j.key, l.max, l.held_until, (select count(*) from slot where slot.limit_key = j.key) as used,
       (select count(*) from (select 1 from held where held.limit_key = j.key limit ${heldCap}) as h) as held,
       (select held.limits from held where held.limit_key = j.key order by rank, run_id limit 1) as held_limits,
       (select run.limits from slot join run on run.id = slot.run_id where slot.limit_key = j.key order by slot.run_id limit 1) as slot_limits
     from ${db.dialect.rows("$1", [["key", "text"]])} as j left join limiter as l on l.key = j.key order by j.key`,
    [JSON.stringify(keys.map((key) => [key]))],
  )
  return rows.map((row) => {
    const claims = [...decodeLimits(row.held_limits), ...decodeLimits(row.slot_limits)]
    const own = claims.find(({ key }) => key === row.key)?.max ?? null
    return {
      id: row.key,
      own,
      max: row.max ?? own,
      setByHand: row.max !== null,
      used: row.used,
      held: row.held,
      heldUntil: row.held_until,
    }
  })
}

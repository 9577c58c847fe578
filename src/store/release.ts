import { entered, gateClaims, placesOf } from "../core/gate.ts"
import type { LimitClaim } from "../core/run.ts"
import { Conflict, type Db, together } from "./db.ts"
import { gateRooms } from "./gate.ts"
import {
  deleteHeld,
  insertHeld,
  insertReady,
  insertSlots,
  type Lines,
  linesOf,
  type QueueRow,
  queueNames,
  type StoredQueueRow,
  toQueueRow,
} from "./queue.ts"

/** One pass per key moves at most this many runs; the sweep for missed releases does the rest. */
export const releaseBatch = 1_000
/** Runs that turn out to be held by another of their limits make way for the next ones of their key, this often. */
const passesMost = 10

/**
 * Moves held runs into the ready line, as far as the limits of `keys` have room: a key's runs in the order of their rank. A key may be
 * named several times: once for each run that left it or came to it, so that as many are looked at. A run that another of its limits
 * still holds back is held under that one from now on.
 */
export async function releaseHeld(db: Db, keys: readonly string[]): Promise<Lines> {
  const wanted = new Map<string, number>()
  for (const key of keys) wanted.set(key, Math.min((wanted.get(key) ?? 0) + 1, releaseBatch))
  return release(db, wanted)
}

async function release(db: Db, wanted: ReadonlyMap<string, number>): Promise<Lines> {
  const released: QueueRow[] = []
  const locked = new Set<string>()
  // A gate that is shut is not looked behind: all the rest of its fan-out may stand there.
  const rooms = await gateRooms(db, wanted.keys())
  let rest: ReadonlyMap<string, number> = new Map([...wanted].filter(([key]) => rooms.get(key) !== 0))
  for (let pass = 0; rest.size > 0 && pass < passesMost; pass++) rest = await releasePass(db, rest, locked, released)
  return linesOf(released)
}

/** Releases what a gate held, as far as it is open now: a batch. */
export async function releaseGate(db: Db, fanoutId: string): Promise<Lines> {
  return release(db, new Map(gateClaims(fanoutId).map(({ key }) => [key, releaseBatch])))
}

/** Finds limits that have both held runs and room, and releases: a missed release heals. Runs in a transaction. */
export async function releaseMissed(db: Db): Promise<Lines> {
  const rows = await db.query<{ key: string | null }>(
    `with recursive k(key) as (
       select min(limit_key) from held
       union all select (select min(limit_key) from held where limit_key > k.key) from k where k.key is not null)
     select key from k where key is not null`,
  )
  const keys = rows.flatMap(({ key }) => (key === null ? [] : [key]))
  // Looked at without a lock first: a sweep must not make those wait who have something to release.
  const heads = await headsOf(db, new Map(keys.map((key) => [key, 1])))
  const rooms = await gateRooms(db, keys)
  const open = keys.filter((key) => {
    const head = heads.get(key)
    return head !== undefined && head.used < (rooms.get(key) ?? maxOf(head.rows[0]?.limits ?? [], key))
  })
  return release(db, new Map(open.map((key) => [key, releaseBatch])))
}

interface Head {
  readonly used: number
  readonly rows: readonly QueueRow[]
}

/** @param all collects what is released */
async function releasePass(
  db: Db,
  wanted: ReadonlyMap<string, number>,
  locked: Set<string>,
  all: QueueRow[],
): Promise<Map<string, number>> {
  await lockLimits(db, [...wanted.keys()], locked)
  const heads = await headsOf(db, wanted)
  const used = new Map(Array.from(heads, ([key, head]) => [key, head.used]))
  await countOthers(db, heads, used, locked)
  const { released, moved, again } = decide(heads, wanted, used, await gateRooms(db, used.keys()))
  if (released.length + moved.length === 0) return again
  await together([
    deleteHeld(db, [
      ...released.map(({ from, row }) => [from, row.rank, row.runId] as const),
      ...moved.map(({ from, row }) => [from, row.rank, row.runId] as const),
    ]),
    insertHeld(
      db,
      moved.map(({ to, row }) => [to, row]),
    ),
    insertReady(
      db,
      released.map(({ row }) => ({ ...row, limits: entered(row.limits) })),
    ),
    insertSlots(
      db,
      released.map(({ row }) => row),
    ),
  ])
  all.push(...released.map(({ row }) => row))
  return again
}

interface Decision {
  readonly released: { from: string; row: QueueRow }[]
  readonly moved: { from: string; to: string; row: QueueRow }[]
  /** Keys that may have room and held runs yet. */
  readonly again: Map<string, number>
}

/**
 * @param used occupancy by limit: counted on as runs are released
 * @param rooms what limits allow now, where that is not what the run says
 */
function decide(
  heads: ReadonlyMap<string, Head>,
  wanted: ReadonlyMap<string, number>,
  used: Map<string, number>,
  rooms: ReadonlyMap<string, number>,
): Decision {
  const decision: Decision = { released: [], moved: [], again: new Map() }
  for (const [key, { rows }] of heads) {
    let made = 0
    for (const row of rows) {
      const full = row.limits.find(({ key: each, max }) => (used.get(each) ?? 0) >= (rooms.get(each) ?? max))
      if (full?.key === key) break
      if (full !== undefined) {
        decision.moved.push({ from: key, to: full.key, row })
        made++
        continue
      }
      decision.released.push({ from: key, row })
      for (const limit of placesOf(row.limits)) used.set(limit.key, (used.get(limit.key) ?? 0) + 1)
    }
    if (made > 0 && rows.length === wanted.get(key)) decision.again.set(key, made)
  }
  return decision
}

/** The first runs that each limit holds, and how many count against it now. */
async function headsOf(db: Db, wanted: ReadonlyMap<string, number>): Promise<Map<string, Head>> {
  const heads = await together(
    Array.from(wanted, ([key, n]) =>
      db.query<StoredQueueRow & { used: number }>(
        `select ${queueNames}, (select count(*) from slot where limit_key = $1) as used from held where limit_key = $1 order by rank, run_id limit $2`,
        [key, n],
      ),
    ),
  )
  const found = new Map<string, Head>()
  for (const [i, key] of [...wanted.keys()].entries()) {
    const rows = heads[i] ?? []
    if (rows[0] !== undefined) found.set(key, { used: rows[0].used, rows: rows.map(toQueueRow) })
  }
  return found
}

/** Runs may count against limits that nobody asked about: these are locked and counted too. */
async function countOthers(db: Db, heads: ReadonlyMap<string, Head>, used: Map<string, number>, locked: Set<string>): Promise<void> {
  const others = new Set<string>()
  for (const { rows } of heads.values()) for (const { limits } of rows) for (const { key } of limits) if (!used.has(key)) others.add(key)
  if (others.size === 0) return
  await lockLimits(db, [...others], locked)
  const keys = [...others]
  const counts = await together(keys.map((key) => db.query<{ n: number }>("select count(*) as n from slot where limit_key = $1", [key])))
  for (const [i, key] of keys.entries()) used.set(key, counts[i]?.[0]?.n ?? 0)
}

/** Each lock waits for whoever is giving out room of that limit; what is counted afterwards includes what they did. */
async function lockLimits(db: Db, keys: readonly string[], locked: Set<string>): Promise<void> {
  const wanted = keys.filter((key) => !locked.has(key)).toSorted()
  if (!db.dialect.concurrent || wanted.length === 0) return
  const param = JSON.stringify(wanted.map((key) => [key]))
  const table = db.dialect.rows("$1", [["key", "text"]])
  const rows = await db.query<{ key: string }>(
    `select key from limiter where key in (select key from ${table} as j) order by key ${db.dialect.lockRows}`,
    [param],
  )
  if (rows.length < wanted.length) {
    await db.execute(`insert into limiter (key) select key from ${table} as j where true order by key on conflict (key) do nothing`, [
      param,
    ])
    const again = await db.query<{ key: string }>(
      `select key from limiter where key in (select key from ${table} as j) order by key ${db.dialect.lockRows}`,
      [param],
    )
    if (again.length < wanted.length) throw new Conflict("a limit was forgotten while it was taken up")
  }
  for (const key of wanted) locked.add(key)
}

function maxOf(limits: readonly LimitClaim[], key: string): number {
  return limits.find((limit) => limit.key === key)?.max ?? 0
}

import { entered, gateClaims, gatedBy, placesOf } from "../core/gate.ts"
import { limits } from "../core/limits.ts"
import { lookAt, type LimitState, type Room, roomOf, take, unusedLimit } from "../core/room.ts"
import { openClaims } from "../core/run.ts"
import { type Db, together } from "./db.ts"
import { gateRooms } from "./gate.ts"
import { keyColumn, limitStates, lockLimits, remember, tryLimits } from "./limiter.ts"
import {
  byRank,
  deleteHeld,
  firstLimit,
  insertHeld,
  insertReady,
  insertSlots,
  type Lines,
  linesOf,
  type QueueRow,
  queueNames,
  readQueueValues,
  type StoredQueueRow,
  toQueueRow,
} from "./queue.ts"

/** One pass per key moves at most this many runs; the sweep for missed releases does the rest. */
export const releaseBatch = 1_000
/** Runs that turn out to be held by another of their limits make way for the next ones of their key, this often. */
const passesMost = 10
/** How many runs are looked at for a key: one statement for all keys of a size. */
const sizes = [1, 10, 100, releaseBatch]

export interface Released {
  readonly lines: Lines
  /** When runs may go on by time alone; null when none was found that waits for it. */
  readonly dueAt: number | null
}

/** Runs that have their places under all their limits, and stand nowhere yet. */
export interface LetThrough extends Pick<Released, "dueAt"> {
  readonly rows: readonly QueueRow[]
}

/**
 * Lets runs through, as far as their limits have room: those of `arrivals`, which stand nowhere yet, and those that are held under `keys`,
 * a key's runs in the order of their rank. A key may be named several times: once for each run that left it, so that as many are looked
 * at. What a limit holds back is held under it from now on.
 */
export async function letThrough(db: Db, keys: readonly string[], arrivals: readonly QueueRow[], now: number): Promise<LetThrough> {
  const wanted = new Map<string, number>()
  const want = (key: string): unknown => wanted.set(key, Math.min((wanted.get(key) ?? 0) + 1, releaseBatch))
  for (const key of keys) want(key)
  const arrived = Map.groupBy(arrivals, (row) => firstLimit(row) ?? "")
  for (const [key, rows] of arrived) for (let i = 0; i < rows.length; i++) want(key)
  return pass(new ReleasePass(db, now, false), wanted, arrived)
}

/** The same, and puts them in line. */
export async function releaseHeld(db: Db, keys: readonly string[], arrivals: readonly QueueRow[], now: number): Promise<Released> {
  return putInLine(db, await letThrough(db, keys, arrivals, now))
}

async function putInLine(db: Db, { rows, dueAt }: LetThrough): Promise<Released> {
  await insertReady(db, rows)
  return { lines: linesOf(rows), dueAt }
}

/** What limits have room for, as far as one transaction can. @param n about how many runs of each are expected */
export async function releaseAll(db: Db, keys: readonly string[], now: number, n = releaseBatch): Promise<Released> {
  return putInLine(db, await pass(new ReleasePass(db, now, true), new Map(keys.map((key) => [key, n])), new Map()))
}

type Arrived = ReadonlyMap<string, readonly QueueRow[]>

async function pass(release: ReleasePass, wanted: ReadonlyMap<string, number>, arrived: Arrived): Promise<LetThrough> {
  let rest = wanted
  for (let i = 0; rest.size > 0 && i < passesMost; i++) rest = await release.run(rest, i === 0 ? arrived : new Map())
  return release.end(rest)
}

/** Releases what a gate held, as far as it is open now: a batch. */
export async function releaseGate(db: Db, fanoutId: string, now: number): Promise<Released> {
  return releaseAll(
    db,
    gateClaims(fanoutId).map(({ key }) => key),
    now,
  )
}

/**
 * Finds limits that have both held runs and room, and releases: a missed release heals. A page of the limits at a time, from the one
 * after `after`; gives the last one that was looked at, null when there are no more. Runs in a transaction.
 */
export async function releaseMissed(db: Db, after: string, now: number): Promise<Released & { readonly last: string | null }> {
  const rows = await db.query<{ key: string | null }>(
    `with recursive k(key) as (
       select min(limit_key) from held where limit_key > $1
       union all select (select min(limit_key) from held where limit_key > k.key) from k where k.key is not null)
     select key from k where key is not null limit $2`,
    [after, limits.sweepBatch],
  )
  const keys = rows.flatMap(({ key }) => (key === null ? [] : [key]))
  // Looked at without a lock first: a sweep must not make those wait who have something to release.
  const heads = await headsOf(db, new Map(keys.map((key) => [key, 1])))
  const [states, paused] = await together([statesOf(db, keys), pausedFunctions(db, [...heads.values()].flat())])
  const open = keys.filter((key) => {
    const head = heads.get(key)?.[0]
    if (head === undefined || paused.has(head.functionId)) return false
    const claim = head.limits.find((limit) => limit.key === key)
    return claim === undefined || roomOf(claim, states.get(key) ?? unusedLimit, now) === "free"
  })
  const released = await releaseAll(db, open, now)
  return { ...released, last: keys.length < limits.sweepBatch ? null : (keys.at(-1) ?? null) }
}

/** Where the runs of a paused function wait that a limit shared with others would hold: nobody else has to pass there. */
export function pausedKey(functionId: string): string {
  return `paused:${functionId}`
}

/** A limit that only runs of one function stand under. */
function isOwn(key: string): boolean {
  return key.startsWith("fn:") || key.startsWith("throttle:") || key.startsWith("paused:")
}

/** Runs that wait for a limit, in their order; and those that came just now, of which some may not be looked at. */
interface Line {
  readonly rows: readonly QueueRow[]
  readonly unseen: readonly QueueRow[]
  /** Whether these are all that the limit holds. */
  readonly whole: boolean
}

interface Decision {
  readonly released: QueueRow[]
  /** Under the limits that hold them from now on. */
  readonly held: (readonly [limitKey: string, row: QueueRow])[]
  /** Rows that were held until now, and are no longer where they were. */
  readonly left: (readonly [limitKey: string, rank: number, runId: string])[]
  /** Keys that may have room and held runs yet. */
  readonly again: Map<string, number>
}

/** The room of limits, given out under their locks, in several passes of one transaction. */
class ReleasePass {
  readonly #db: Db
  readonly #now: number
  readonly #states = new Map<string, LimitState>()
  /** Limits that time opens again: when to look, null when nobody waits. */
  readonly #looks = new Map<string, number | null>()
  readonly #released: QueueRow[] = []
  readonly #thorough: boolean
  /** Limits that another transaction has locked. */
  #busy: ReadonlySet<string> = new Set()

  /** @param thorough also looks at limits that hold nobody: what was planned for them is over */
  constructor(db: Db, now: number, thorough: boolean) {
    this.#db = db
    this.#now = now
    this.#thorough = thorough
  }

  /** Gives the keys to pass over once more. */
  async run(wanted: ReadonlyMap<string, number>, arrived: Arrived): Promise<Map<string, number>> {
    const db = this.#db
    const fresh = this.#unknown(wanted.keys())
    const arriving = [...arrived.values()].flat()
    const claimed = claimedBy(arriving)
    const made = await lockLimits(db, [...fresh, ...claimed], claimed)
    // Of limits that were not there nothing has to be read. A thorough look is at runs that were held before their limit was locked.
    const unseen = this.#thorough ? new Set<string>() : made
    for (const key of unseen) if (gatedBy(key) === null) this.#states.set(key, { ...unusedLimit })
    const stored = new Map([...wanted].filter(([key]) => !unseen.has(key)))
    // A gate that is shut is not looked behind: all the rest of its fan-out may stand there.
    const rooms = await gateRooms(db, stored.keys())
    const heads = await headsOf(db, rooms.size === 0 ? stored : new Map([...stored].filter(([key]) => rooms.get(key) !== 0)))
    const lines = linesIn(heads, arrived, wanted)
    if (lines.size === 0 && !this.#thorough) return new Map()
    // Runs may count against limits that nobody asked about: these are locked and counted too.
    const others = this.#unknown([...lines.values()].flatMap(({ rows }) => claimedBy(rows)))
    this.#busy = await tryLimits(
      db,
      others.filter((key) => !wanted.has(key)),
    )
    const asked = this.#thorough ? fresh : fresh.filter((key) => lines.has(key) && !this.#states.has(key))
    const known = new Set(asked)
    const [paused] = await together([
      pausedFunctions(
        db,
        [...lines.values()].flatMap(({ rows }) => rows),
      ),
      this.#load(asked, true),
      this.#load(
        others.filter((key) => !known.has(key) && !this.#busy.has(key)),
        false,
      ),
    ])
    const { released, held, left, again } = this.#decide(lines, new Set(arriving), wanted, paused)
    await together([deleteHeld(db, left), insertHeld(db, held), insertSlots(db, released)])
    for (const row of released) this.#released.push(passed(row))
    return again
  }

  /** @param rest keys that the passes did not suffice for */
  async end(rest: ReadonlyMap<string, number>): Promise<LetThrough> {
    for (const key of rest.keys()) if (this.#looks.has(key)) this.#looks.set(key, this.#now + limits.throttleLookMs)
    await remember(
      this.#db,
      Array.from(this.#looks, ([key, dueAt]) => ({ key, rate: this.#states.get(key)?.rate ?? null, dueAt })).toSorted((a, b) =>
        a.key < b.key ? -1 : 1,
      ),
    )
    const due = [...this.#looks.values()].filter((at) => at !== null)
    return { rows: this.#released, dueAt: due.length === 0 ? null : Math.min(...due) }
  }

  #unknown(keys: Iterable<string>): string[] {
    return [...new Set(keys)].filter((key) => !this.#states.has(key))
  }

  /** @param passed whether the runs that they hold are looked at now: what was planned is planned again if one still waits */
  async #load(keys: readonly string[], passed: boolean): Promise<void> {
    if (keys.length === 0) return
    for (const [key, state] of await statesOf(this.#db, keys)) {
      this.#states.set(key, state)
      if (passed && state.dueAt !== null) this.#looks.set(key, null)
    }
  }

  #decide(
    lines: ReadonlyMap<string, Line>,
    fresh: ReadonlySet<QueueRow>,
    wanted: ReadonlyMap<string, number>,
    paused: ReadonlySet<string>,
  ): Decision {
    const decision: Decision = { released: [], held: [], left: [], again: new Map() }
    // Whoever has waited longest comes first to what several share.
    for (const [key, { rows, unseen, whole }] of [...lines].toSorted(([, a], [, b]) => (a.rows[0]?.rank ?? 0) - (b.rows[0]?.rank ?? 0))) {
      let made = 0
      let done = 0
      for (const row of rows) {
        const busy = this.#busy.size > 0 && row.limits.some((claim) => this.#busy.has(claim.key))
        const hold = paused.has(row.functionId) ? { key: isOwn(key) ? key : pausedKey(row.functionId), room: null } : this.#holding(row)
        if (busy) {
          // Another transaction gives out what this run also needs. To wait for it here could be to wait for each other.
          this.#looks.set(key, this.#now + limits.busyLimitMs)
          break
        }
        if (hold?.key === key) {
          if (hold.room !== null) this.#looks.set(key, lookAt(hold.room, this.#now))
          break
        }
        done++
        if (!fresh.has(row)) decision.left.push([key, row.rank, row.runId])
        if (hold === null) this.#take(row, decision)
        else {
          decision.held.push([hold.key, row])
          made++
        }
      }
      for (const row of rows.slice(done)) if (fresh.has(row)) decision.held.push([key, row])
      for (const row of unseen) decision.held.push([key, row])
      if (whole || done < rows.length || done < (wanted.get(key) ?? 0)) continue
      // What was asked for is released. More may follow where runs made way for others, and where time decides how many may pass.
      if (this.#looks.has(key)) decision.again.set(key, Math.min(done * 10, releaseBatch))
      else if (made > 0 || unseen.length > 0) decision.again.set(key, Math.max(made, unseen.length))
    }
    return decision
  }

  /** The first limit of a run that has no room. */
  #holding(row: QueueRow): { readonly key: string; readonly room: Exclude<Room, "free"> } | null {
    for (const claim of openClaims(row.limits)) {
      const room = roomOf(claim, this.#states.get(claim.key) ?? unusedLimit, this.#now)
      if (room === "free") continue
      // Who comes to wait for a time must be looked at then.
      const look = lookAt(room, this.#now)
      if (look !== null) this.#looks.set(claim.key, look)
      return { key: claim.key, room }
    }
    return null
  }

  #take(row: QueueRow, { released }: Decision): void {
    for (const claim of placesOf(openClaims(row.limits))) {
      const state = this.#states.get(claim.key)
      if (state === undefined) continue
      take(claim, state, this.#now)
      if (claim.throttle !== undefined && !this.#looks.has(claim.key)) this.#looks.set(claim.key, state.dueAt)
    }
    released.push(row)
  }
}

/** How things stand with limits; what a gate leaves open now is said by its fan-out. */
async function statesOf(db: Db, keys: readonly string[]): Promise<Map<string, LimitState>> {
  const [states, rooms] = await together([limitStates(db, keys), gateRooms(db, keys)])
  for (const [key, max] of rooms) {
    const state = states.get(key)
    if (state !== undefined) states.set(key, { ...state, max })
  }
  return states
}

function claimedBy(rows: readonly QueueRow[]): string[] {
  return rows.flatMap(({ limits: claims }) => openClaims(claims).map(({ key }) => key))
}

/** A run that has come through its gate. */
function passed(row: QueueRow): QueueRow {
  return { ...row, limits: entered(row.limits) }
}

/** What is held and what came, in the order of the ranks. Of what came, nothing may pass those who are held and were not looked at. */
function linesIn(
  heads: ReadonlyMap<string, readonly QueueRow[]>,
  arrived: Arrived,
  wanted: ReadonlyMap<string, number>,
): Map<string, Line> {
  const isWhole = (key: string, rows: readonly QueueRow[]): boolean => rows.length < (wanted.get(key) ?? 0)
  const lines = new Map(Array.from(heads, ([key, rows]): [string, Line] => [key, { rows, unseen: [], whole: isWhole(key, rows) }]))
  for (const [key, fresh] of arrived) {
    const stored = heads.get(key) ?? []
    const whole = isWhole(key, stored)
    const rows = stored.length === 0 && fresh.length === 1 ? fresh : [...stored, ...fresh].toSorted(byRank)
    const last = whole ? undefined : stored.at(-1)
    const seen = last === undefined ? rows.length : rows.indexOf(last) + 1
    lines.set(key, { rows: rows.slice(0, seen), unseen: rows.slice(seen), whole })
  }
  return lines
}

async function pausedFunctions(db: Db, runs: readonly QueueRow[]): Promise<Set<string>> {
  const ids = new Set(runs.map(({ functionId }) => functionId))
  if (ids.size === 0) return new Set()
  const rows = await db.query<{ id: string }>(
    `select function.id from ${db.dialect.rows("$1", [["id", "text"]])} as j join function on function.id = j.id where function.paused is not null`,
    [JSON.stringify([...ids].map((id) => [id]))],
  )
  return new Set(rows.map(({ id }) => id))
}

/** The first runs that each limit holds: exactly as many as are wanted of a few, and one statement for all others of which about as many are. */
async function headsOf(db: Db, wanted: ReadonlyMap<string, number>): Promise<Map<string, QueueRow[]>> {
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

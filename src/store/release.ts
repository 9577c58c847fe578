import { entered, gateClaims, gatedBy, placesOf } from "../core/gate.ts"
import { limits } from "../core/limits.ts"
import { lookAt, type LimitState, type Room, roomOf, take, unusedLimit } from "../core/room.ts"
import { type LimitClaim, openClaims } from "../core/run.ts"
import { type Db, together } from "./db.ts"
import { gateRooms } from "./gate.ts"
import { type Arrived, headsOf, type Line, linesIn, pausedFunctions, quietOf, releaseBatch, unclaimedOf } from "./held.ts"
import { leftJustNow, limitStates, lockLimits, remember, tryLimits } from "./limiter.ts"
import { deleteHeld, firstLimit, insertHeld, insertReady, insertSlots, type Lines, linesOf, type QueueRow } from "./queue.ts"

/** Runs that turn out to be held by another of their limits make way for the next ones of their key, this often. */
const passesMost = 10

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
 * Lets runs through, as far as their limits have room: those of `arrivals`, which stand nowhere yet, and those that are held under limits in
 * which places were given up, as many of each; a limit's runs in the order of their rank. What a limit holds back is held under it from now on.
 */
export async function letThrough(db: Db, freed: readonly LimitClaim[], arrivals: readonly QueueRow[], now: number): Promise<LetThrough> {
  const quiet = db.dialect.concurrent ? await quietOf(db, [...freed.map(({ key }) => key), ...claimedBy(arrivals)]) : nobody
  const left = new Map<string, number>()
  for (const { key, max } of freed) {
    if (max > narrowMost || !quiet.has(key)) left.set(key, Math.min((left.get(key) ?? 0) + 1, releaseBatch))
  }
  const unused = quiet === nobody ? nobody : await unusedOf(db, arrivals, quiet)
  const arrived = Map.groupBy(arrivals, (row) => comesTo(row, quiet, unused))
  return pass(new ReleasePass(db, now, false, quiet), left, arrived)
}

/** The same, and puts them in line. */
export async function releaseHeld(db: Db, freed: readonly LimitClaim[], arrivals: readonly QueueRow[], now: number): Promise<Released> {
  return putInLine(db, await letThrough(db, freed, arrivals, now))
}

async function putInLine(db: Db, { rows, dueAt }: LetThrough): Promise<Released> {
  await insertReady(db, rows)
  return { lines: linesOf(rows), dueAt }
}

const nobody: ReadonlySet<string> = new Set()

/**
 * The limit that a run waits for, as far as can be seen before anything is locked: a crowded one behind others that nobody uses, or else the
 * first one.
 */
function comesTo(row: QueueRow, quiet: ReadonlySet<string>, unused: ReadonlySet<string>): string {
  const next = unused.size === 0 ? undefined : openClaims(row.limits).find(({ key }) => !unused.has(key))
  return (next === undefined || quiet.has(next.key) ? firstLimit(row) : next.key) ?? ""
}

/** Of limits that come before a crowded one those that nobody counts against, and to which no more come than they have places. */
async function unusedOf(db: Db, rows: readonly QueueRow[], quiet: ReadonlySet<string>): Promise<ReadonlySet<string>> {
  const places = new Map<string, number>()
  for (const row of rows) {
    const claims = openClaims(row.limits)
    const crowded = claims.findIndex(({ key }) => !quiet.has(key))
    for (const { key, max, throttle } of claims.slice(0, Math.max(0, crowded))) {
      places.set(key, throttle === undefined ? (places.get(key) ?? max) - 1 : -1)
    }
  }
  const keys = [...places].flatMap(([key, left]) => (left >= 0 ? [key] : []))
  return keys.length === 0 ? nobody : unclaimedOf(db, keys)
}

/** Whoever finds such a limit full says so on all its places, so that who gives one up needs no lock to know that nobody waits. */
const narrowMost = 10

/** What limits have room for, as far as one transaction can. @param n about how many runs of each are expected */
export async function releaseAll(db: Db, keys: readonly string[], now: number, n = releaseBatch): Promise<Released> {
  return putInLine(db, await pass(new ReleasePass(db, now, true, nobody), new Map(keys.map((key) => [key, n])), new Map()))
}

async function pass(release: ReleasePass, left: ReadonlyMap<string, number>, arrived: Arrived): Promise<LetThrough> {
  let rest = left.size + arrived.size === 0 ? left : await release.run(left, arrived)
  for (let i = 1; rest.size > 0 && i < passesMost; i++) rest = await release.run(rest, new Map())
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
  /** How many runs were counted under limits at first. */
  readonly #counted = new Map<string, number>()
  /** Limits that time opens again: when to look, null when nobody waits. */
  readonly #looks = new Map<string, number | null>()
  readonly #released: QueueRow[] = []
  readonly #thorough: boolean
  readonly #quiet: ReadonlySet<string>
  /** Limits that another transaction has locked. */
  #busy: ReadonlySet<string> = new Set()
  /** Narrow limits that were found full, and how many were counted there. */
  readonly #full = new Map<string, number>()

  /**
   * @param thorough also looks at limits that hold nobody: what was planned for them is over
   * @param quiet limits under which nobody was held
   */
  constructor(db: Db, now: number, thorough: boolean, quiet: ReadonlySet<string>) {
    this.#db = db
    this.#now = now
    this.#thorough = thorough
    this.#quiet = quiet
  }

  /**
   * @param left how many runs to look for under a limit
   * @returns what to look at once more
   */
  async run(left: ReadonlyMap<string, number>, arrived: Arrived): Promise<Map<string, number>> {
    const db = this.#db
    const keys = new Set([...left.keys(), ...arrived.keys()])
    const fresh = this.#unknown(keys)
    // Whoever comes to a limit that nobody waits for will want the others too.
    const through = [...arrived].flatMap(([key, rows]) => (this.#quiet.has(key) ? rows : []))
    const made = this.#unused(await lockLimits(db, [...fresh, ...claimedBy(through)]))
    await this.#load(this.#unknown(arrived.keys()))
    const wanted = new Map([...keys].map((key) => [key, this.#expected(key, left.get(key) ?? 0, arrived.get(key) ?? [])]))
    // A gate that is shut is not looked behind: all the rest of its fan-out may stand there. Nobody waits for what was not there.
    const rooms = await gateRooms(db, left.keys())
    const stored = new Map([...wanted].filter(([key, n]) => n > 0 && rooms.get(key) !== 0 && (this.#thorough || !made.has(key))))
    const lines = linesIn(await headsOf(db, stored), arrived, wanted)
    if (lines.size === 0 && !this.#thorough) return new Map()
    // Runs may count against limits that nobody asked about: these are locked and counted too.
    const claimed = this.#unknown([...lines.values()].flatMap(({ rows }) => claimedBy(rows)))
    const tried = await tryLimits(
      db,
      claimed.filter((key) => !keys.has(key)),
    )
    this.#busy = tried.busy
    this.#unused(tried.made)
    const asked = this.#thorough ? fresh : fresh.filter((key) => lines.has(key))
    const [paused] = await together([
      pausedFunctions(
        db,
        [...lines.values()].flatMap(({ rows }) => rows),
      ),
      this.#load(this.#unknown([...asked, ...claimed]).filter((key) => !tried.busy.has(key))),
    ])
    this.#replan(asked.filter((key) => (wanted.get(key) ?? 0) > 0))
    const { released, held, left: gone, again } = this.#decide(lines, new Set([...arrived.values()].flat()), wanted, paused)
    for (const key of await leftJustNow(db, this.#full)) this.#looks.set(key, this.#now + limits.busyLimitMs)
    this.#full.clear()
    await together([deleteHeld(db, gone), insertHeld(db, held), insertSlots(db, released)])
    for (const row of released) this.#released.push(passed(row))
    if (again.size > 0) for (const [key, { used }] of this.#states) this.#counted.set(key, used)
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

  /** Limits that were not there: nothing has to be read of them. What a gate leaves open stands elsewhere. */
  #unused(made: ReadonlySet<string>): ReadonlySet<string> {
    for (const key of made) if (gatedBy(key) === null) this.#states.set(key, { ...unusedLimit })
    return made
  }

  async #load(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    for (const [key, state] of await statesOf(this.#db, keys)) {
      this.#states.set(key, state)
      this.#counted.set(key, state.used)
    }
  }

  /** Of limits whose runs are looked at now: what was planned is planned again if one still waits. */
  #replan(keys: readonly string[]): void {
    for (const key of keys) if (!this.#looks.has(key) && (this.#states.get(key)?.dueAt ?? null) !== null) this.#looks.set(key, null)
  }

  /** How many runs may go on under a limit, at most: of those that it holds, as many as have left it, and of those that come to it. */
  #expected(key: string, left: number, rows: readonly QueueRow[]): number {
    const claims = rows.flatMap((row) => row.limits.filter((claim) => claim.key === key))
    const [first] = claims
    if (first === undefined) return Math.min(left, releaseBatch)
    const widest = claims.reduce((a, b) => (b.max > a.max ? b : a), first)
    const state = this.#states.get(key) ?? unusedLimit
    const room = roomOf(widest, state, this.#now)
    const all = Math.min(left + rows.length, releaseBatch)
    if (room === "free") return widest.throttle === undefined ? Math.max(left, Math.min(all, (state.max ?? widest.max) - state.used)) : all
    if (left === 0) this.#note(key, room, widest)
    return left
  }

  /** A limit has no room for a run that comes to wait there. */
  #note(key: string, room: Exclude<Room, "free">, claim: LimitClaim): void {
    // Who comes to wait for a time must be looked at then.
    const look = lookAt(room, this.#now)
    if (look !== null) this.#looks.set(key, look)
    const counted = this.#counted.get(key) ?? 0
    if (look === null && counted > 0 && claim.throttle === undefined && claim.max <= narrowMost) this.#full.set(key, counted)
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
        if (hold?.key === key) break
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
      if (whole || rows.length === 0 || done < rows.length || done < (wanted.get(key) ?? 0)) continue
      // What was asked for is released. More may follow where runs made way for others, and where time decides how many may pass.
      if (this.#looks.has(key)) decision.again.set(key, Math.min(done * 10, releaseBatch))
      else if (made > 0 || unseen.some((row) => this.#holding(row)?.key !== key)) decision.again.set(key, Math.max(made, unseen.length))
    }
    return decision
  }

  /** The first limit of a run that has no room. */
  #holding(row: QueueRow): { readonly key: string; readonly room: Exclude<Room, "free"> } | null {
    for (const claim of openClaims(row.limits)) {
      const room = roomOf(claim, this.#states.get(claim.key) ?? unusedLimit, this.#now)
      if (room === "free") continue
      this.#note(claim.key, room, claim)
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

import { placesOf } from "../core/gate.ts"
import { type LimitClaim, type NewRun, openClaims } from "../core/run.ts"
import { type Column, Conflict, type Db } from "./db.ts"
import { deleteRows, insertRows, takeRows } from "./row-list.ts"

/** A live run as it stands in one of the queues. */
export interface QueueRow {
  readonly runId: string
  readonly functionId: string
  readonly rank: number
  readonly attempt: number
  readonly fence: number
  readonly losses: number
  readonly limits: readonly LimitClaim[]
}

export interface StoredQueueRow {
  run_id: string
  function_id: string
  rank: number
  attempt: number
  fence: number
  losses: number
  limits: string | null
}

/** The order in which runs start. */
export function byRank(a: QueueRow, b: QueueRow): number {
  return a.rank - b.rank || (a.runId < b.runId ? -1 : 1)
}

/** What became of queue moves. */
export interface Moved {
  /** The places that runs gave up: their limits are to be looked at again. */
  readonly freed: readonly LimitClaim[]
  /** Runs that are in line as soon as their limits have room: they stand nowhere until `release.ts` has put them somewhere. */
  readonly arrivals: readonly QueueRow[]
  /** The moments of timers that were set. */
  readonly timers: readonly number[]
  readonly lines: Lines
}

/** What was put in line: by function, how many runs, and the lowest rank among them. */
export type Lines = ReadonlyMap<string, { readonly runs: number; readonly rank: number }>

const noLines: Lines = new Map()
export const nothingMoved: Moved = { freed: [], arrivals: [], timers: [], lines: noLines }

export function linesOf(rows: readonly Pick<QueueRow, "functionId" | "rank">[]): Lines {
  return addLines(rows.map(({ functionId, rank }) => new Map([[functionId, { runs: 1, rank }]])))
}

export function addLines(all: readonly Lines[]): Lines {
  const some = all.filter(({ size }) => size > 0)
  if (some.length <= 1) return some[0] ?? noLines
  const sum = new Map<string, { runs: number; rank: number }>()
  for (const lines of some) {
    for (const [functionId, { runs, rank }] of lines) {
      const line = sum.get(functionId)
      if (line === undefined) sum.set(functionId, { runs, rank })
      else {
        line.runs += runs
        line.rank = Math.min(line.rank, rank)
      }
    }
  }
  return sum
}

export function runsIn(lines: Lines): number {
  let runs = 0
  for (const line of lines.values()) runs += line.runs
  return runs
}

export const queueColumns: readonly Column[] = [
  ["run_id", "text"],
  ["function_id", "text"],
  ["rank", "bigint"],
  ["attempt", "bigint"],
  ["fence", "bigint"],
  ["losses", "bigint"],
  ["limits", "text"],
]
export const queueNames = queueColumns.map(([name]) => name).join(", ")

export function queueValues(row: QueueRow): readonly (string | number | null)[] {
  return [row.runId, row.functionId, row.rank, row.attempt, row.fence, row.losses, encodeLimits(row.limits)]
}

/** A run that was never claimed. */
export function newQueueRow(run: NewRun): QueueRow {
  const rank = run.rank ?? run.dueAt
  return { runId: run.id, functionId: run.functionId, rank, attempt: 0, fence: run.fence ?? 0, losses: 0, limits: run.limits }
}

/** The limit whose room a run waits for first; null when it may go on as it is. */
export function firstLimit({ limits }: Pick<QueueRow, "limits">): string | null {
  return openClaims(limits)[0]?.key ?? null
}

type QueueValues = [runId: string, functionId: string, rank: number, attempt: number, fence: number, losses: number, limits: string | null]

/** Rows as `queueValues` wrote them. */
export function readQueueValues(rows: string): QueueRow[] {
  return (JSON.parse(rows) as QueueValues[]).map(([runId, functionId, rank, attempt, fence, losses, limits]) => ({
    runId,
    functionId,
    rank,
    attempt,
    fence,
    losses,
    limits: decodeLimits(limits),
  }))
}

export function toQueueRow(row: StoredQueueRow): QueueRow {
  return {
    runId: row.run_id,
    functionId: row.function_id,
    rank: row.rank,
    attempt: row.attempt,
    fence: row.fence,
    losses: row.losses,
    limits: decodeLimits(row.limits),
  }
}

const noLimits: readonly LimitClaim[] = []

/** [[key, max], …], with a third value for how it is held, and two more for a throttle. */
export function encodeLimits(limits: readonly LimitClaim[]): string | null {
  if (limits.length === 0) return null
  return JSON.stringify(
    limits.map(({ key, max, hold, throttle }) => {
      if (throttle !== undefined) return [key, max, hold ?? null, throttle.periodMs, throttle.burst]
      return hold === undefined ? [key, max] : [key, max, hold]
    }),
  )
}

type EncodedLimit = [key: string, max: number, hold?: LimitClaim["hold"] | null, periodMs?: number, burst?: number]

export function decodeLimits(limits: string | null): readonly LimitClaim[] {
  if (limits === null) return noLimits
  return (JSON.parse(limits) as EncodedLimit[]).map(([key, max, hold, periodMs, burst]): LimitClaim => {
    if (hold == null && periodMs === undefined) return { key, max }
    const throttle = periodMs === undefined || burst === undefined ? {} : { throttle: { periodMs, burst } }
    return { key, max, ...(hold == null ? {} : { hold }), ...throttle }
  })
}

/** Puts runs in line that wait for no limit; gives the others, for `release.ts`. */
export async function enqueue(
  db: Db,
  rows: readonly QueueRow[],
): Promise<{ readonly lines: Lines; readonly arrivals: readonly QueueRow[] }> {
  const free = rows.filter((row) => firstLimit(row) === null)
  const arrivals = free.length === rows.length ? [] : rows.filter((row) => firstLimit(row) !== null)
  await insertReady(db, free)
  return { lines: linesOf(free), arrivals }
}

/** Parks runs until their time. */
export async function insertTimers(
  db: Db,
  timers: readonly { dueAt: number; state: "scheduled" | "waiting"; row: QueueRow }[],
): Promise<void> {
  await insertRows(
    db,
    "timer",
    timerColumns,
    timers.map(({ dueAt, state, row }) => [dueAt, state, ...queueValues(row)]),
  )
}

const timerColumns: readonly Column[] = [["due_at", "bigint"], ["state", "text"], ...queueColumns]
const heldColumns: readonly Column[] = [["limit_key", "text"], ...queueColumns]

/** @param rows JSON rows of `queueValues` */
export function insertReadyRows(db: Db, rows: string): Promise<void> {
  return insertRows(db, "ready", queueColumns, rows)
}

export function insertReady(db: Db, rows: readonly QueueRow[]): Promise<void> {
  return insertRows(db, "ready", queueColumns, rows.map(queueValues))
}

/** Each under the limit that holds it. */
export async function insertHeld(db: Db, rows: readonly (readonly [limitKey: string, row: QueueRow])[]): Promise<void> {
  await insertRows(
    db,
    "held",
    heldColumns,
    rows.map(([key, row]) => [key, ...queueValues(row)]),
  )
}

/**
 * Of runs that leave their limit, under its lock. Somebody who is cancelling one has taken it before, and may be waiting for the limit: then
 * all begins anew.
 */
export async function deleteHeld(db: Db, rows: readonly (readonly [limitKey: string, rank: number, runId: string])[]): Promise<void> {
  if (rows.length === 0) return
  // By what it returns: how many rows a statement changed is not known inside of a user's transaction.
  const deleted = db.dialect.concurrent
    ? await db.query(
        `delete from held where (limit_key, rank, run_id) in
           (select held.limit_key, held.rank, held.run_id from ${db.dialect.rows("$1", heldKey)} as j
              join held on held.limit_key = j.limit_key and held.rank = j.rank and held.run_id = j.run_id
              for update of held skip locked) returning run_id`,
        [JSON.stringify(rows)],
      )
    : await takeRows(db, "held", heldKey, rows)
  if (deleted.length < rows.length) throw new Conflict("a run was cancelled while its limit let it go on")
}

const heldKey: readonly Column[] = [
  ["limit_key", "text"],
  ["rank", "bigint"],
  ["run_id", "text"],
]

const slotColumns: readonly Column[] = [
  ["limit_key", "text"],
  ["run_id", "text"],
]

function slotsOf(rows: readonly Pick<QueueRow, "runId" | "limits">[]): [limitKey: string, runId: string][] {
  return rows.flatMap(({ runId, limits }) => limits.map(({ key }): [string, string] => [key, runId]))
}

/** For runs that are released: the places that they take now. A throttle counts starts, not runs. */
export async function insertSlots(db: Db, rows: readonly QueueRow[]): Promise<void> {
  const taken = rows.map(({ runId, limits }) => ({
    runId,
    limits: placesOf(openClaims(limits)).filter(({ throttle }) => throttle === undefined),
  }))
  await insertRows(db, "slot", slotColumns, slotsOf(taken))
}

/** For new runs: the places that they have from the start. */
export async function insertFirstSlots(db: Db, rows: readonly Pick<QueueRow, "runId" | "limits">[]): Promise<void> {
  const first = new Set<LimitClaim["hold"]>(["taken", "debounce", "batch"])
  const taken = rows.map(({ runId, limits }) => ({ runId, limits: limits.filter(({ hold }) => first.has(hold)) }))
  await insertRows(db, "slot", slotColumns, slotsOf(taken))
}

/** Frees what the runs occupy. */
export async function deleteSlots(db: Db, rows: readonly Pick<QueueRow, "runId" | "limits">[]): Promise<void> {
  await deleteRows(db, "slot", slotColumns, slotsOf(rows))
}

/** Of runs that are put back: what they keep is not freed. */
export function givenUp(before: Pick<QueueRow, "runId" | "limits">, kept: readonly LimitClaim[]): Pick<QueueRow, "runId" | "limits"> {
  const keeps = new Set(kept.filter(({ hold }) => hold === "taken").map(({ key }) => key))
  return keeps.size === 0 ? before : { runId: before.runId, limits: before.limits.filter(({ key }) => !keeps.has(key)) }
}

/** What rows count against: a claim for each limit of each row. */
export function claimsOf(rows: readonly Pick<QueueRow, "limits">[]): LimitClaim[] {
  return rows.flatMap(({ limits }) => limits)
}

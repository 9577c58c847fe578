import type { LimitClaim, NewRun } from "../core/run.ts"
import type { Column, Db } from "./db.ts"

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
  return { runId: run.id, functionId: run.functionId, rank: run.dueAt, attempt: 0, fence: 0, losses: 0, limits: run.limits }
}

/** A run that is held, under the first of its limits until `releaseHeld` knows better. */
export function heldValues(row: QueueRow, limitKey: string = row.limits[0]?.key ?? ""): readonly (string | number | null)[] {
  return [limitKey, ...queueValues(row)]
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

export function encodeLimits(limits: readonly LimitClaim[]): string | null {
  return limits.length === 0 ? null : JSON.stringify(limits.map(({ key, max }) => [key, max]))
}

export function decodeLimits(limits: string | null): readonly LimitClaim[] {
  return limits === null ? noLimits : (JSON.parse(limits) as [string, number][]).map(([key, max]) => ({ key, max }))
}

/** Puts runs in line: those without limits are ready; the others are held, until `releaseHeld` finds room for them. */
export async function enqueue(db: Db, rows: readonly QueueRow[]): Promise<void> {
  const free = rows.filter(({ limits }) => limits.length === 0)
  const limited = rows.filter(({ limits }) => limits.length > 0)
  if (free.length > 0) await insertReady(db, JSON.stringify(free.map(queueValues)))
  if (limited.length > 0) await insertHeld(db, JSON.stringify(limited.map((row) => heldValues(row))))
}

/** Parks runs until their time. */
export async function insertTimers(
  db: Db,
  timers: readonly { dueAt: number; state: "scheduled" | "waiting"; row: QueueRow }[],
): Promise<void> {
  if (timers.length === 0) return
  const columns: Column[] = [["due_at", "bigint"], ["state", "text"], ...queueColumns]
  await db.execute(
    `insert into timer (due_at, state, ${queueNames}) select due_at, state, ${queueNames} from ${db.dialect.rows("$1", columns)} as j where true`,
    [JSON.stringify(timers.map(({ dueAt, state, row }) => [dueAt, state, ...queueValues(row)]))],
  )
}

/**
 * Moves held runs into the ready line, as far as the limits of `keys` have room: a key's runs in the order of their rank. A run that
 * another of its limits still holds back is held under that one from now on.
 */
export async function releaseHeld(db: Db, keys: Iterable<string>): Promise<void> {
  for (const key of new Set(keys)) await releaseKey(db, key)
}

/** One pass per key moves at most this many runs; the sweep for missed releases does the rest. */
const releaseBatch = 1_000

async function releaseKey(db: Db, key: string): Promise<void> {
  const head = await db.query<StoredQueueRow>(heldOf, [key, 1])
  const max = head[0] === undefined ? 0 : (toQueueRow(head[0]).limits.find((limit) => limit.key === key)?.max ?? 1)
  if (max === 0) return
  const occupied = new Map<string, number>([[key, await occupancy(db, key)]])
  const room = max - (occupied.get(key) ?? 0)
  if (room <= 0) return
  const candidates = (await db.query<StoredQueueRow>(heldOf, [key, Math.min(room, releaseBatch)])).map(toQueueRow)
  const released: QueueRow[] = []
  const moved: [string, QueueRow][] = []
  for (const row of candidates) {
    const full = await firstFull(db, row, occupied)
    if (full === key) break
    if (full !== null) moved.push([full, row])
    else {
      released.push(row)
      for (const limit of row.limits) occupied.set(limit.key, (occupied.get(limit.key) ?? 0) + 1)
    }
  }
  const gone = [...released, ...moved.map(([, row]) => row)]
  if (gone.length === 0) return
  await db.execute(
    `delete from held where limit_key = $2 and (rank, run_id) in
       (select rank, run_id from ${db.dialect.rows("$1", [
         ["rank", "bigint"],
         ["run_id", "text"],
       ])} as j)`,
    [JSON.stringify(gone.map(({ rank, runId }) => [rank, runId])), key],
  )
  if (moved.length > 0) await insertHeld(db, JSON.stringify(moved.map(([full, row]) => heldValues(row, full))))
  if (released.length > 0) {
    await insertReady(db, JSON.stringify(released.map(queueValues)))
    await insertSlots(db, released)
  }
}

const heldOf = `select ${queueNames} from held where limit_key = $1 order by rank, run_id limit $2`

async function occupancy(db: Db, key: string): Promise<number> {
  const [row] = await db.query<{ n: number }>("select count(*) as n from slot where limit_key = $1", [key])
  return row?.n ?? 0
}

async function firstFull(db: Db, row: QueueRow, occupied: Map<string, number>): Promise<string | null> {
  for (const { key, max } of row.limits) {
    if (!occupied.has(key)) occupied.set(key, await occupancy(db, key))
    if ((occupied.get(key) ?? 0) >= max) return key
  }
  return null
}

/** @param rows JSON rows of `queueValues` */
export async function insertReady(db: Db, rows: string): Promise<void> {
  await db.execute(`insert into ready (${queueNames}) select ${queueNames} from ${db.dialect.rows("$1", queueColumns)} as j where true`, [
    rows,
  ])
}

const heldColumns: readonly Column[] = [["limit_key", "text"], ...queueColumns]

/** @param rows JSON rows of `heldValues` */
export async function insertHeld(db: Db, rows: string): Promise<void> {
  await db.execute(
    `insert into held (limit_key, ${queueNames}) select limit_key, ${queueNames} from ${db.dialect.rows("$1", heldColumns)} as j where true`,
    [rows],
  )
}

const slotColumns: readonly Column[] = [
  ["limit_key", "text"],
  ["run_id", "text"],
]

function slotsOf(rows: readonly Pick<QueueRow, "runId" | "limits">[]): string {
  return JSON.stringify(rows.flatMap(({ runId, limits }) => limits.map(({ key }) => [key, runId])))
}

async function insertSlots(db: Db, rows: readonly QueueRow[]): Promise<void> {
  await db.execute(
    `insert into slot (limit_key, run_id) select limit_key, run_id from ${db.dialect.rows("$1", slotColumns)} as j where true`,
    [slotsOf(rows)],
  )
}

/** Frees what the runs occupy; gives the keys that have room now. */
export async function deleteSlots(db: Db, rows: readonly Pick<QueueRow, "runId" | "limits">[]): Promise<string[]> {
  const limited = rows.filter(({ limits }) => limits.length > 0)
  if (limited.length === 0) return []
  await db.execute(
    `delete from slot where (limit_key, run_id) in (select limit_key, run_id from ${db.dialect.rows("$1", slotColumns)} as j)`,
    [slotsOf(limited)],
  )
  return [...new Set(limited.flatMap(({ limits }) => limits.map(({ key }) => key)))]
}

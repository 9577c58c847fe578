import { placesOf } from "../core/gate.ts"
import type { LimitClaim, NewRun } from "../core/run.ts"
import { type Column, type Db, together } from "./db.ts"

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

/** What became of queue moves. */
export interface Moved {
  /** Limits to look at again, each as often as runs left or came. */
  readonly keys: readonly string[]
  /** The moments of timers that were set. */
  readonly timers: readonly number[]
  readonly lines: Lines
}

/** What was put in line: by function, how many runs, and the lowest rank among them. */
export type Lines = ReadonlyMap<string, { readonly runs: number; readonly rank: number }>

const noLines: Lines = new Map()
export const nothingMoved: Moved = { keys: [], timers: [], lines: noLines }

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
  return { runId: run.id, functionId: run.functionId, rank: run.dueAt, attempt: 0, fence: run.fence ?? 0, losses: 0, limits: run.limits }
}

/** A run that is held, under the first of its limits until `release.ts` knows better. */
export function heldValues(row: QueueRow): readonly (string | number | null)[] {
  return [row.limits[0]?.key ?? "", ...queueValues(row)]
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

/** Puts runs in line: those without limits are ready; the others are held, until `release.ts` finds room for them. */
export async function enqueue(db: Db, rows: readonly QueueRow[]): Promise<Lines> {
  const free = rows.filter(({ limits }) => limits.length === 0)
  const limited = rows.filter(({ limits }) => limits.length > 0)
  await together([
    insertReady(db, free),
    insertHeld(
      db,
      limited.map((row) => [row.limits[0]?.key ?? "", row]),
    ),
  ])
  return linesOf(free)
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

const heldColumns: readonly Column[] = [["limit_key", "text"], ...queueColumns]

/** @param rows JSON rows of `queueValues` */
export async function insertReadyRows(db: Db, rows: string): Promise<void> {
  await db.execute(`insert into ready (${queueNames}) select ${queueNames} from ${db.dialect.rows("$1", queueColumns)} as j where true`, [
    rows,
  ])
}

/** @param rows JSON rows of `heldValues` */
export async function insertHeldRows(db: Db, rows: string): Promise<void> {
  await db.execute(
    `insert into held (limit_key, ${queueNames}) select limit_key, ${queueNames} from ${db.dialect.rows("$1", heldColumns)} as j where true`,
    [rows],
  )
}

export async function insertReady(db: Db, rows: readonly QueueRow[]): Promise<void> {
  if (rows.length > 0) await insertReadyRows(db, JSON.stringify(rows.map(queueValues)))
}

/** Each under the limit that holds it. */
export async function insertHeld(db: Db, rows: readonly (readonly [limitKey: string, row: QueueRow])[]): Promise<void> {
  if (rows.length > 0) await insertHeldRows(db, JSON.stringify(rows.map(([key, row]) => [key, ...queueValues(row)])))
}

export async function deleteHeld(db: Db, rows: readonly (readonly [limitKey: string, rank: number, runId: string])[]): Promise<void> {
  await db.execute(
    `delete from held where (limit_key, rank, run_id) in
       (select limit_key, rank, run_id from ${db.dialect.rows("$1", [
         ["limit_key", "text"],
         ["rank", "bigint"],
         ["run_id", "text"],
       ])} as j)`,
    [JSON.stringify(rows)],
  )
}

const slotColumns: readonly Column[] = [
  ["limit_key", "text"],
  ["run_id", "text"],
]

function slotsOf(rows: readonly Pick<QueueRow, "runId" | "limits">[]): string {
  return JSON.stringify(rows.flatMap(({ runId, limits }) => limits.map(({ key }) => [key, runId])))
}

export async function insertSlots(db: Db, rows: readonly QueueRow[]): Promise<void> {
  if (rows.length === 0) return
  await db.execute(
    `insert into slot (limit_key, run_id) select limit_key, run_id from ${db.dialect.rows("$1", slotColumns)} as j where true`,
    [slotsOf(rows.map(({ runId, limits }) => ({ runId, limits: placesOf(limits) })))],
  )
}

/** Frees what the runs occupy. */
export async function deleteSlots(db: Db, rows: readonly Pick<QueueRow, "runId" | "limits">[]): Promise<void> {
  const limited = rows.filter(({ limits }) => limits.length > 0)
  if (limited.length === 0) return
  await db.execute(
    `delete from slot where (limit_key, run_id) in (select limit_key, run_id from ${db.dialect.rows("$1", slotColumns)} as j)`,
    [slotsOf(limited)],
  )
}

/** The limits that rows count against, each as often as there are rows. */
export function keysOf(rows: readonly Pick<QueueRow, "limits">[]): string[] {
  return rows.flatMap(({ limits }) => limits.map(({ key }) => key))
}

import type { BulkFilter } from "../core/bulk.ts"
import type { ChangeOf } from "../core/change.ts"
import type { Operation, OperationKind } from "../core/fanouts.ts"
import { idBefore } from "../core/id.ts"
import type { LimitClaim } from "../core/run.ts"
import { countFanouts } from "./commit-fanout.ts"
import { dropWaits } from "./commit-wait.ts"
import { type Column, type Db, together } from "./db.ts"
import { bulkPart, freeze, type FrozenFilter, unfinishedSteps } from "./operate-runs.ts"
import { addLines, deleteSlots, enqueue, keysOf, type Lines, type QueueRow, queueNames, type StoredQueueRow, toQueueRow } from "./queue.ts"
import { releaseHeld } from "./release.ts"

/** Runs of one step of an operation. */
const batch = 500

interface OperationRow {
  id: string
  kind: OperationKind
  fanout_id: string
  filter: string | null
  fingerprint: string | null
  snapshot_at: number
  cursor: string
  affected: number
  created_at: number
  ended_at: number | null
}

/** The limits of each function's runs, and those a run may be held by besides. */
export type LimitsOf = (functionId: string) => readonly LimitClaim[]

export interface Operated {
  readonly lines: Lines
  /** Whether to come back at once, after a rest, or not at all. */
  readonly rest: "none" | "some" | "over"
  readonly ended: number
  /** Runs that are to be cancelled. */
  readonly doomed?: number
}

/** Does the next part of the oldest operation that is not done: whoever comes first, under the lock of its row. Runs in a transaction. */
export async function operate(db: Db, limitsOf: LimitsOf, runPrefix: string, now: number): Promise<Operated> {
  const [row] = await db.query<OperationRow>(`select * from operation where ended_at is null order by id limit 1 ${db.dialect.skipLocked}`)
  if (row === undefined) return { lines: new Map(), rest: "over", ended: 0 }
  if (row.filter !== null) {
    const part = { kind: row.kind, filter: JSON.parse(row.filter) as FrozenFilter, snapshotAt: row.snapshot_at, cursor: row.cursor }
    const { cursor, affected, doomed, lines } = await bulkPart(db, part, limitsOf, runPrefix, now)
    await advanceTo(db, row, cursor ?? row.cursor, affected, cursor === null ? now : null)
    return { lines, rest: "none", ended: 0, doomed }
  }
  return row.kind === "retry" ? retryPart(db, row, limitsOf, now) : cancelPart(db, row, limitsOf, now)
}

async function advanceTo(db: Db, row: OperationRow, cursor: string, affected: number, endedAt: number | null): Promise<void> {
  await db.execute("update operation set cursor = $2, affected = affected + $3, ended_at = $4 where id = $1", [
    row.id,
    cursor,
    affected,
    endedAt,
  ])
}

const ids: readonly Column[] = [["id", "text"]]
const listed = (runs: readonly string[]): string => JSON.stringify(runs.map((id) => [id]))

/** What had failed when the operation began: later failures are not its business. */
async function retryPart(db: Db, row: OperationRow, limitsOf: LimitsOf, now: number): Promise<Operated> {
  const [fanout] = await db.query<{ created_at: number }>("select created_at from fanout where id = $1", [row.fanout_id])
  const from = row.cursor === "" ? idBefore("run", fanout?.created_at ?? 0) : row.cursor
  const failed = await db.query<{ id: string; function_id: string; rank: number; fence: number | null }>(
    `select r.id, r.function_id, r.rank, (select max(fence) from attempt as a where a.run_id = r.id) as fence
       from result as x join run as r on r.id = x.run_id
       where x.state = 'failed' and x.state <> 'completed' and x.run_id > $2 and x.ended_at <= $3 and r.fanout_id = $1
         ${row.fingerprint === null ? "" : "and x.fingerprint = $4"} order by x.run_id limit ${batch}`,
    [row.fanout_id, from, row.snapshot_at, ...(row.fingerprint === null ? [] : [row.fingerprint])],
  )
  const last = failed.at(-1)
  if (last === undefined) {
    await advanceTo(db, row, row.cursor, 0, now)
    return { lines: new Map(), rest: "none", ended: 0 }
  }
  const these = `(select id from ${db.dialect.rows("$1", ids)} as j)`
  const list = listed(failed.map(({ id }) => id))
  await together([
    db.execute(`delete from result where run_id in ${these}`, [list]),
    // A step that failed for good would fail its run again with what is kept of it.
    db.execute(`delete from step where run_id in ${these} and ${unfinishedSteps}`, [list]),
    db.execute("update fanout set failed = failed - $2 where id = $1", [row.fanout_id, failed.length]),
    advanceTo(db, row, last.id, failed.length, null),
  ])
  const rows = failed.map(
    ({ id, function_id, rank, fence }): QueueRow => ({
      runId: id,
      functionId: function_id,
      rank,
      attempt: 0,
      fence: fence ?? 1,
      losses: 0,
      limits: limitsOf(function_id),
    }),
  )
  const lines = addLines([await enqueue(db, rows), await releaseHeld(db, keysOf(rows))])
  return { lines, rest: "none", ended: 0 }
}

async function cancelPart(db: Db, row: OperationRow, limitsOf: LimitsOf, now: number): Promise<Operated> {
  const runs = await db.query<{ id: string; function_id: string; rank: number }>(
    `select id, function_id, rank from run where fanout_id = $1 and id > $2 and created_at <= $3 order by id limit ${batch}`,
    [row.fanout_id, row.cursor, row.snapshot_at],
  )
  const last = runs.at(-1)
  if (last === undefined) return again(db, row, now)
  const taken = await takeStanding(db, runs, limitsOf)
  const ended = taken.map(({ runId, functionId, fence, rank, limits, attempt }): ChangeOf<"run.settle"> => {
    const run = { id: runId, functionId, fence, rank, fanoutId: row.fanout_id, limits }
    return {
      kind: "run.settle",
      run,
      attempt,
      startedAt: now,
      endedAt: now,
      settlement: { to: "cancelled", output: null, failure: null },
      waits: true,
    }
  })
  await together([
    deleteSlots(db, taken),
    dropWaits(
      db,
      taken.map(({ runId }) => runId),
    ),
    db.execute(
      `insert into result (run_id, state, attempt, started_at, ended_at) select run_id, 'cancelled', attempt, $2, $2 from ${db.dialect.rows(
        "$1",
        [
          ["run_id", "text"],
          ["attempt", "bigint"],
        ],
      )} as j where true`,
      [JSON.stringify(taken.map(({ runId, attempt }) => [runId, attempt])), now],
    ),
    advanceTo(db, row, last.id, taken.length, null),
  ])
  const lines = await releaseHeld(db, keysOf(taken))
  const { ended: fanouts } = await countFanouts(db, [], ended, [], now)
  return { lines, rest: "none", ended: fanouts }
}

/** The walk is over. Runs that were running then may have parked since: it goes round again until none is left. */
async function again(db: Db, row: OperationRow, now: number): Promise<Operated> {
  const [running] = await db.query("select 1 from lease as l join run as r on r.id = l.run_id where r.fanout_id = $1 limit 1", [
    row.fanout_id,
  ])
  const [parked] = await db.query("select 1 from timer as t join run as r on r.id = t.run_id where r.fanout_id = $1 limit 1", [
    row.fanout_id,
  ])
  const over = running === undefined && parked === undefined
  await advanceTo(db, row, "", 0, over ? now : null)
  return { lines: new Map(), rest: over ? "none" : "some", ended: 0 }
}

/** Takes runs out of whatever line they stand in. */
async function takeStanding(
  db: Db,
  runs: readonly { id: string; function_id: string; rank: number }[],
  limitsOf: LimitsOf,
): Promise<QueueRow[]> {
  const held = runs.flatMap(({ id, function_id, rank }) => limitsOf(function_id).map(({ key }) => [key, rank, id]))
  const [ready, timers, kept] = await together([
    db.query<StoredQueueRow>(
      `delete from ready where (function_id, rank, run_id) in (select function_id, rank, run_id from ${db.dialect.rows("$1", [
        ["function_id", "text"],
        ["rank", "bigint"],
        ["run_id", "text"],
      ])} as j) returning ${queueNames}`,
      [JSON.stringify(runs.map(({ id, function_id, rank }) => [function_id, rank, id]))],
    ),
    db.query<StoredQueueRow>(
      `delete from timer where run_id in (select id from ${db.dialect.rows("$1", ids)} as j) returning ${queueNames}`,
      [listed(runs.map(({ id }) => id))],
    ),
    db.query<StoredQueueRow>(
      `delete from held where (limit_key, rank, run_id) in (select limit_key, rank, run_id from ${db.dialect.rows("$1", [
        ["limit_key", "text"],
        ["rank", "bigint"],
        ["run_id", "text"],
      ])} as j) returning ${queueNames}`,
      [JSON.stringify(held)],
    ),
  ])
  return [...ready, ...timers, ...kept].map(toQueueRow)
}

export async function addOperation(
  db: Db,
  operation: { id: string; kind: OperationKind; fanoutId: string; fingerprint: string | null; filter?: BulkFilter },
  now: number,
): Promise<void> {
  const { id, kind, fanoutId, fingerprint, filter } = operation
  const frozen = filter === undefined ? null : JSON.stringify(await freeze(db, filter))
  await db.execute(
    `insert into operation (id, kind, fanout_id, filter, fingerprint, snapshot_at, cursor, affected, created_at)
       values ($1, $2, $3, $4, $5, $6, '', 0, $6)`,
    [id, kind, fanoutId, frozen, fingerprint, now],
  )
}

export async function operation(db: Db, id: string): Promise<Operation | null> {
  const [row] = await db.query<OperationRow>("select * from operation where id = $1", [id])
  if (row === undefined) return null
  return {
    id: row.id,
    kind: row.kind,
    fanoutId: row.fanout_id,
    fingerprint: row.fingerprint,
    ...(row.filter === null ? {} : { filter: JSON.parse(row.filter) as BulkFilter }),
    affected: row.affected,
    state: row.ended_at === null ? "running" : "done",
    createdAt: row.created_at,
    endedAt: row.ended_at,
  }
}

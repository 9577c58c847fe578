import type { Operation, OperationKind } from "../core/fanouts.ts"
import { idBefore } from "../core/id.ts"
import type { LimitClaim } from "../core/run.ts"
import { endedBy, insertEnds, takeStanding } from "./cancel.ts"
import { countFanouts } from "./commit-fanout.ts"
import { type Column, type Db, together } from "./db.ts"
import { addLines, decodeLimits, deleteSlots, enqueue, keysOf, type Lines, type QueueRow } from "./queue.ts"
import { releaseHeld } from "./release.ts"

/** Runs of one step of an operation. */
const batch = 500

interface OperationRow {
  id: string
  kind: OperationKind
  fanout_id: string
  fingerprint: string | null
  snapshot_at: number
  cursor: string
  affected: number
  created_at: number
  ended_at: number | null
}

export interface Operated {
  readonly lines: Lines
  /** Whether to come back at once, after a rest, or not at all. */
  readonly rest: "none" | "some" | "over"
  readonly ended: number
}

/** Does the next part of the oldest operation that is not done: whoever comes first, under the lock of its row. Runs in a transaction. */
export async function operate(db: Db, now: number): Promise<Operated> {
  const [row] = await db.query<OperationRow>(`select * from operation where ended_at is null order by id limit 1 ${db.dialect.skipLocked}`)
  if (row === undefined) return { lines: new Map(), rest: "over", ended: 0 }
  return row.kind === "retry" ? retryPart(db, row, now) : cancelPart(db, row, now)
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
async function retryPart(db: Db, row: OperationRow, now: number): Promise<Operated> {
  const [fanout] = await db.query<{ created_at: number }>("select created_at from fanout where id = $1", [row.fanout_id])
  const from = row.cursor === "" ? idBefore("run", fanout?.created_at ?? 0) : row.cursor
  const failed = await db.query<{ id: string; function_id: string; rank: number; limits: string | null; fence: number | null }>(
    `select r.id, r.function_id, r.rank, r.limits, (select max(fence) from attempt as a where a.run_id = r.id) as fence
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
    db.execute(`delete from step where run_id in ${these} and state = 'failed'`, [list]),
    db.execute("update fanout set failed = failed - $2 where id = $1", [row.fanout_id, failed.length]),
    advanceTo(db, row, last.id, failed.length, null),
  ])
  const rows = failed.map(
    ({ id, function_id, rank, limits, fence }): QueueRow => ({
      runId: id,
      functionId: function_id,
      rank,
      attempt: 0,
      fence: fence ?? 1,
      losses: 0,
      limits: onceMore(decodeLimits(limits)),
    }),
  )
  const lined = await enqueue(db, rows)
  const released = await releaseHeld(db, [], lined.arrivals, now)
  return { lines: addLines([lined.lines, released.lines]), rest: "none", ended: 0 }
}

/** What a run counts against that begins again: its place was given up, and it waits for no more events. */
function onceMore(claims: readonly LimitClaim[]): LimitClaim[] {
  return claims.flatMap((claim): LimitClaim[] => {
    if (claim.hold === "debounce") return []
    if (claim.hold === "batch") return [{ ...claim, hold: "events" }]
    return claim.hold === "taken" ? [{ ...claim, hold: "run" }] : [claim]
  })
}

async function cancelPart(db: Db, row: OperationRow, now: number): Promise<Operated> {
  const runs = await db.query<{ id: string }>(
    `select id from run where fanout_id = $1 and id > $2 and created_at <= $3 order by id limit ${batch}`,
    [row.fanout_id, row.cursor, row.snapshot_at],
  )
  const last = runs.at(-1)
  if (last === undefined) return again(db, row, now)
  const taken = await takeStanding(
    db,
    runs.map(({ id }) => id),
  )
  const ended = taken.map((run) => endedBy(run, row.fanout_id, "cancelled", now))
  await together([
    deleteSlots(db, taken),
    insertEnds(
      db,
      taken.map(({ runId, attempt }) => ({ runId, attempt, state: "cancelled", reason: null, failure: null })),
      now,
    ),
    advanceTo(db, row, last.id, taken.length, null),
  ])
  const { lines } = await releaseHeld(db, keysOf(taken), [], now)
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

export async function addOperation(
  db: Db,
  operation: { id: string; kind: OperationKind; fanoutId: string; fingerprint: string | null },
  now: number,
): Promise<void> {
  const { id, kind, fanoutId, fingerprint } = operation
  await db.execute(
    "insert into operation (id, kind, fanout_id, fingerprint, snapshot_at, cursor, affected, created_at) values ($1, $2, $3, $4, $5, '', 0, $5)",
    [id, kind, fanoutId, fingerprint, now],
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
    affected: row.affected,
    state: row.ended_at === null ? "running" : "done",
    createdAt: row.created_at,
    endedAt: row.ended_at,
  }
}

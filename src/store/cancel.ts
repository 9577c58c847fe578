import type { ChangeOf } from "../core/change.ts"
import type { Failure } from "../core/failure.ts"
import { fingerprintOf } from "../core/fingerprint.ts"
import type { FinalState } from "../core/run.ts"
import { type Column, Conflict, type Db, together } from "./db.ts"
import { deleteSlots, type QueueRow, queueNames, type StoredQueueRow, toQueueRow } from "./queue.ts"

const ids: readonly Column[] = [["id", "text"]]
const listed = (runs: readonly string[]): string => JSON.stringify(runs.toSorted().map((id) => [id]))

/** Runs that ended from outside. */
export interface CancelledRuns {
  /** To be counted in their fan-outs. */
  readonly ended: ChangeOf<"run.settle">[]
  /** Those of them that a node was executing: it has lost its lease and may be told. */
  readonly running: string[]
  /** Limits that have room now. */
  readonly keys: string[]
}

/**
 * Ends runs wherever they stand; what a node still writes about one it was executing is refused. Runs that have ended before are left as
 * they are. The caller counts and releases what follows. Runs in a transaction.
 */
export async function cancelRuns(
  db: Db,
  runs: readonly { readonly runId: string; readonly reason: string }[],
  state: "cancelled" | "skipped",
  now: number,
): Promise<CancelledRuns> {
  if (runs.length === 0) return { ended: [], running: [], keys: [] }
  const list = runs.map(({ runId }) => runId)
  const these = `(select id from ${db.dialect.rows("$1", ids)} as j)`
  const leased = await db.query<StoredQueueRow>(
    // Not waited for: whoever is writing about the run may be waiting for what this transaction has locked.
    `delete from lease where run_id in (select run_id from lease where run_id in ${these} order by run_id ${db.dialect.skipLocked}) returning ${queueNames}`,
    [listed(list)],
  )
  const standing = await takeStanding(db, list)
  const rows = [...leased.map(toQueueRow), ...standing]
  const taken = new Set(rows.map(({ runId }) => runId))
  const missed = list.filter((id) => !taken.has(id))
  if (missed.length > 0) {
    const over = await db.query<{ run_id: string }>(`select run_id from result where run_id in ${these}`, [listed(missed)])
    if (over.length < new Set(missed).size) throw new Conflict("a run moved on while it was cancelled")
  }
  const reasons = new Map(runs.map(({ runId, reason }) => [runId, reason]))
  const fanouts = await db.query<{ id: string; fanout_id: string | null }>(`select id, fanout_id from run where id in ${these}`, [
    listed([...taken]),
  ])
  const fanoutOf = new Map(fanouts.map(({ id, fanout_id }) => [id, fanout_id]))
  await together([
    deleteSlots(db, rows),
    db.execute(`delete from joining where run_id in ${these}`, [listed([...taken])]),
    insertEnds(
      db,
      rows.map(({ runId, attempt }) => ({ runId, attempt, state, reason: reasons.get(runId) ?? null, failure: null })),
      now,
    ),
  ])
  return {
    ended: rows.map((row) => endedBy(row, fanoutOf.get(row.runId) ?? null, state, now)),
    running: leased.map(({ run_id }) => run_id),
    keys: rows.flatMap(({ limits }) => limits.map(({ key }) => key)),
  }
}

/** Takes runs that no node executes out of whatever line they stand in. */
export async function takeStanding(db: Db, runs: readonly string[]): Promise<QueueRow[]> {
  const these = `(select id from ${db.dialect.rows("$1", ids)} as j)`
  const list = listed(runs)
  const [ready, timers, held] = await together([
    db.query<StoredQueueRow>(
      `delete from ready where (function_id, rank, run_id) in (select function_id, rank, id from run where id in ${these}) returning ${queueNames}`,
      [list],
    ),
    db.query<StoredQueueRow>(`delete from timer where run_id in ${these} returning ${queueNames}`, [list]),
    db.query<StoredQueueRow>(`delete from held where run_id in ${these} returning ${queueNames}`, [list]),
  ])
  return [...ready, ...timers, ...held].map(toQueueRow)
}

/** How runs end that no attempt ends. */
export interface RunEnd {
  readonly runId: string
  readonly state: FinalState
  readonly attempt: number
  readonly reason: string | null
  readonly failure: Failure | null
}

export async function insertEnds(db: Db, ends: readonly RunEnd[], now: number): Promise<void> {
  if (ends.length === 0) return
  await db.execute(
    `insert into result (run_id, state, attempt, reason, failure, fingerprint, started_at, ended_at)
       select run_id, state, attempt, reason, failure, fingerprint, $2, $2 from ${db.dialect.rows("$1", [
         ["run_id", "text"],
         ["state", "text"],
         ["attempt", "bigint"],
         ["reason", "text"],
         ["failure", "text"],
         ["fingerprint", "text"],
       ])} as j where true`,
    [
      JSON.stringify(
        ends.map(({ runId, state, attempt, reason, failure }) => [
          runId,
          state,
          attempt,
          reason,
          failure === null ? null : JSON.stringify(failure),
          failure === null ? null : fingerprintOf(failure),
        ]),
      ),
      now,
    ],
  )
}

/** The end of a run, as the counts of its fan-out take it. */
export function endedBy(
  { runId, functionId, fence, rank, limits, attempt }: QueueRow,
  fanoutId: string | null,
  to: FinalState,
  now: number,
): ChangeOf<"run.settle"> {
  const run = { id: runId, functionId, fence, rank, fanoutId, limits }
  return { kind: "run.settle", run, attempt, startedAt: now, endedAt: now, settlement: { to, output: null, failure: null } }
}

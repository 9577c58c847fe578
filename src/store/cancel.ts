import type { Change } from "../core/change.ts"
import { cancelledFailure, endChanges } from "../core/ended.ts"
import type { LimitClaim } from "../core/run.ts"
import type { TickContext } from "../core/tick.ts"
import { type Column, Conflict, type Db, together } from "./db.ts"
import { claimsOf, deleteSlots, type QueueRow, queueNames, type StoredQueueRow, toQueueRow } from "./queue.ts"
import { cancelledFacts } from "./waits.ts"

/** A live run as it is found by its event. */
export interface LiveRun {
  readonly id: string
  readonly functionId: string
  readonly rank: number
  readonly eventId: string
}

/** Of runs that were cancelled: which, the limits that have room now, and the claims that were taken from their nodes. */
export interface Cancelled {
  readonly runIds: readonly string[]
  readonly freed: readonly LimitClaim[]
  readonly claims: readonly (readonly [runId: string, fence: number])[]
}

const ids: readonly Column[] = [["id", "text"]]

/** The runs of events that have not ended. */
export async function liveRuns(db: Db, eventIds: readonly string[]): Promise<LiveRun[]> {
  if (eventIds.length === 0) return []
  const rows = await db.query<{ id: string; function_id: string; rank: number; event_id: string }>(
    `select r.id, r.function_id, r.rank, r.event_id from ${db.dialect.rows("$1", ids)} as j join run as r on r.event_id = j.id
       where not exists (select 1 from result where result.run_id = r.id)`,
    [JSON.stringify(eventIds.map((id) => [id]))],
  )
  return rows.map(({ id, function_id, rank, event_id }) => ({ id, functionId: function_id, rank, eventId: event_id }))
}

/** Takes runs out of whatever line they stand in, under the locks of their waits. */
export async function takeStanding(db: Db, runs: readonly Omit<LiveRun, "eventId">[]): Promise<QueueRow[]> {
  const list = JSON.stringify(
    runs
      .map(({ id }) => id)
      .toSorted()
      .map((id) => [id]),
  )
  const these = `(select id from ${db.dialect.rows("$1", ids)} as j)`
  // Waits before timers, like whoever wakes one.
  if (db.dialect.concurrent) {
    await db.query(`select 1 from wait where run_id in ${these} order by run_id, step_key ${db.dialect.lockRows}`, [list])
  }
  const [timers, held, ready] = await together([
    db.query<StoredQueueRow>(`delete from timer where run_id in ${these} returning ${queueNames}`, [list]),
    db.query<StoredQueueRow>(`delete from held where run_id in ${these} returning ${queueNames}`, [list]),
    db.query<StoredQueueRow>(
      `delete from ready where (function_id, rank, run_id) in (select function_id, rank, run_id from ${db.dialect.rows("$1", [
        ["function_id", "text"],
        ["rank", "bigint"],
        ["run_id", "text"],
      ])} as j) returning ${queueNames}`,
      [JSON.stringify(runs.map(({ id, functionId, rank }) => [functionId, rank, id]))],
    ),
  ])
  return [...timers, ...held, ...ready].map(toQueueRow)
}

/**
 * Ends runs as cancelled, wherever they stand; they belong to no fan-out. One that is being executed loses its lease: what its code still
 * writes is refused. Runs in a transaction.
 */
export async function cancelRuns(db: Db, runs: readonly LiveRun[], reason: string, now: number): Promise<Cancelled> {
  if (runs.length === 0) return { runIds: [], freed: [], claims: [] }
  const list = JSON.stringify(
    runs
      .map(({ id }) => id)
      .toSorted()
      .map((id) => [id]),
  )
  const these = `(select id from ${db.dialect.rows("$1", ids)} as j)`
  // What has a lease is locked first: whoever settles it at this moment was first, or finds it gone.
  const leased = await db.query<StoredQueueRow>(`delete from lease where run_id in ${these} returning ${queueNames}`, [list])
  const taken = [...leased.map(toQueueRow), ...(await takeStanding(db, runs))]
  if (taken.length < runs.length) await expectEnded(db, runs, taken)
  const gone = JSON.stringify(taken.map(({ runId }) => [runId]))
  await together([
    deleteSlots(db, taken),
    db.execute(`delete from wait where run_id in ${these}`, [gone]),
    insertCancelled(db, taken, reason, now),
  ])
  return {
    runIds: taken.map(({ runId }) => runId),
    freed: claimsOf(taken),
    claims: leased.map(({ run_id, fence }) => [run_id, fence] as const),
  }
}

/** How runs end that are cancelled where they stand. */
export async function insertCancelled(
  db: Db,
  runs: readonly Pick<QueueRow, "runId" | "attempt">[],
  reason: string,
  now: number,
): Promise<void> {
  await db.execute(
    `insert into result (run_id, state, attempt, failure, started_at, ended_at)
       select run_id, 'cancelled', attempt, cast($3 as text), $2, $2 from ${db.dialect.rows("$1", [
         ["run_id", "text"],
         ["attempt", "bigint"],
       ])} as j where true`,
    [JSON.stringify(runs.map(({ runId, attempt }) => [runId, attempt])), now, JSON.stringify(cancelledFailure(reason))],
  )
}

/** What follows from the ends of cancelled runs: whoever invoked them goes on, and functions that hear of it start. */
export async function cancelChanges(
  db: Db,
  runIds: readonly string[],
  reason: string,
  { match, newId, now }: Pick<TickContext, "match" | "newId" | "now">,
): Promise<Change[]> {
  const facts = await cancelledFacts(db, runIds, reason)
  return facts.flatMap(({ id, functionId, event }) =>
    endChanges({ id, functionId, event }, { state: "cancelled", reason }, match, newId, now),
  )
}

/** What was found nowhere has ended meanwhile; or it moved on behind our back, and all begins anew. */
async function expectEnded(db: Db, runs: readonly LiveRun[], taken: readonly QueueRow[]): Promise<void> {
  const found = new Set(taken.map(({ runId }) => runId))
  const missing = runs.filter(({ id }) => !found.has(id))
  const [ended] = await db.query<{ n: number }>(
    `select count(*) as n from ${db.dialect.rows("$1", ids)} as j join result on result.run_id = j.id`,
    [JSON.stringify(missing.map(({ id }) => [id]))],
  )
  if (ended?.n !== missing.length) throw new Conflict("a run moved on while it was to be cancelled")
}

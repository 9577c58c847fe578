import { gatedBy, gateClaims, type GateRules, ungated } from "../core/gate.ts"
import { type LimitClaim, openClaims } from "../core/run.ts"
import { withSeal, type Counted, counted } from "./fanout-row.ts"
import { moveGates } from "./gate.ts"
import { type Column, type Db, together } from "./db.ts"
import {
  claimsOf,
  deleteSlots,
  insertHeld,
  insertTimers,
  type Lines,
  type QueueRow,
  queueNames,
  type StoredQueueRow,
  toQueueRow,
} from "./queue.ts"
import { releaseHeld } from "./release.ts"

/** Why a fan-out stands still that somebody has paused. */
export const byHand = "paused by hand"

/**
 * Shuts the gate of a fan-out, which is given one if it has none; gives whether it was open, and had not ended. What has no gate yet is put
 * behind it by an operation. Runs in a transaction.
 */
export async function pauseFanout(db: Db, fanoutId: string, now: number): Promise<boolean> {
  const changed = await db.execute(
    `update fanout set paused_at = $2, pause_reason = $3, rules = coalesce(rules, $4), gate = coalesce(gate, 'open')
       where id = $1 and cancelled_at is null and paused_at is null and (sealed_at is null or completed + failed + cancelled < total)`,
    [fanoutId, now, byHand, JSON.stringify(ungated satisfies GateRules)],
  )
  return changed > 0
}

/**
 * Lets a fan-out that stands still go on as it is; gives whether there is such a one with a gate. Where a canary stopped it the others follow;
 * where somebody did they wait for the first ones as before. Runs in a transaction.
 */
export async function resumeFanout(db: Db, fanoutId: string, now: number): Promise<boolean> {
  const [row] = await db.query<Counted>(
    `update fanout set gate = case when pause_reason = $3 then gate else 'open' end, paused_at = null, pause_reason = null, since = $2,
         ended_before = completed + failed + cancelled, base_ended = completed + failed + cancelled, base_failed = failed
       where id = $1 and rules is not null and cancelled_at is null returning ${counted}`,
    [fanoutId, now, byHand],
  )
  if (row === undefined) return false
  // The first ones may have ended meanwhile.
  await moveGates(db, [withSeal(row)], now)
  return true
}

const ids: readonly Column[] = [["id", "text"]]

/** A run of the fan-out that has not ended. */
export interface Standing {
  readonly id: string
  readonly functionId: string
  readonly rank: number
}

/**
 * Puts runs behind the gate of their fan-out that are in line, held elsewhere or yet to come; those that have begun go on. Gives how many.
 * Runs in a transaction.
 */
export async function putBehindGate(
  db: Db,
  fanoutId: string,
  runs: readonly Standing[],
  now: number,
): Promise<{ affected: number; lines: Lines }> {
  const list = JSON.stringify(runs.map(({ id }) => [id]))
  const these = `(select id from ${db.dialect.rows("$1", ids)} as j)`
  const [later, ready, held] = await together([
    db.query<StoredQueueRow & { due_at: number }>(
      `delete from timer where run_id in ${these} and state = 'scheduled' returning ${queueNames}, due_at`,
      [list],
    ),
    db.query<StoredQueueRow>(
      `delete from ready where (function_id, rank, run_id) in (select function_id, rank, run_id from ${db.dialect.rows("$1", [
        ["function_id", "text"],
        ["rank", "bigint"],
        ["run_id", "text"],
      ])} as j) returning ${queueNames}`,
      [JSON.stringify(runs.map(({ id, functionId, rank }) => [functionId, rank, id]))],
    ),
    db.query<StoredQueueRow>(`delete from held where run_id in ${these} returning ${queueNames}`, [list]),
  ])
  const left = ready.map(toQueueRow).map(({ runId, limits: claims }) => ({ runId, limits: openClaims(claims) }))
  const behind = [...ready, ...held].map((row) => gatedRow(toQueueRow(row), fanoutId))
  await together([
    deleteSlots(db, left),
    insertHeld(
      db,
      behind.map((row) => [keyOf(row, fanoutId), row]),
    ),
    insertTimers(
      db,
      later.map((row) => ({ dueAt: row.due_at, state: "scheduled", row: gatedRow(toQueueRow(row), fanoutId) })),
    ),
  ])
  const { lines } = await releaseHeld(db, claimsOf(left), [], now)
  return { affected: behind.length + later.length, lines }
}

function gatedRow(row: QueueRow, fanoutId: string): QueueRow {
  if (row.limits.some(({ key }) => gatedBy(key) === fanoutId)) return row
  const [claim] = gateClaims(fanoutId)
  return { ...row, limits: [claim, ...row.limits] }
}

function keyOf({ limits }: QueueRow, fanoutId: string): LimitClaim["key"] {
  return limits.find(({ key }) => gatedBy(key) === fanoutId)?.key ?? gateClaims(fanoutId)[0].key
}

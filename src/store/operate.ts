import type { BulkFilter } from "../core/bulk.ts"
import type { ChangeOf } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import type { Operation, OperationKind } from "../core/fanouts.ts"
import { gateClaims, left } from "../core/gate.ts"
import { beforeRuns } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { TickContext } from "../core/tick.ts"
import type { Page } from "../core/views.ts"
import { cancelChanges, insertCancelled, takeStanding } from "./cancel.ts"
import { writeChanges } from "./commit.ts"
import { countFanouts, sealFanouts } from "./commit-fanout.ts"
import { type Db, together } from "./db.ts"
import { dropWaits } from "./commit-wait.ts"
import { forgetFailures, uncountEnds } from "./failure-groups.ts"
import { amongRunsOf } from "./fanout-row.ts"
import { bulkPart, type BulkPart, freeze, type FrozenFilter, onceMore, undoEnds } from "./operate-runs.ts"
import { pauseFanout, putBehindGate, type Standing } from "./pause-fanout.ts"
import { addRuleWaits } from "./rule-waits.ts"
import { addLines, claimsOf, deleteSlots, enqueue, type Lines, type QueueRow } from "./queue.ts"
import { releaseHeld } from "./release.ts"

/** Runs of one step of an operation. */
const batch = 500

interface OperationRow {
  id: string
  kind: OperationKind
  fanout_id: string
  filter: string | null
  fingerprint: string | null
  run_id: string | null
  snapshot_at: number
  cursor: string
  looks: number
  affected: number
  created_at: number
  ended_at: number | null
  stopped: number
}

export interface Operated {
  readonly lines: Lines
  /** Milliseconds until there is something to do again; null: until an operation begins. */
  readonly restMs: number | null
  readonly ended: number
  /** Runs that are to be cancelled. */
  readonly doomed?: number
}

/** Does the next part of the operation whose turn it is: whoever comes first, under the lock of its row. Runs in a transaction. */
export async function operate(db: Db, context: TickContext): Promise<Operated> {
  const { now } = context
  const [row] = await db.query<OperationRow>(
    `select * from operation where ended_at is null and next_at <= $1 order by next_at, id limit 1 ${db.dialect.skipLocked}`,
    [now],
  )
  if (row !== undefined) {
    if (row.kind === "pause") return pausePart(db, row, now)
    if (row.filter !== null) return filteredPart(db, row, row.kind, JSON.parse(row.filter) as FrozenFilter, context)
    return row.kind === "retry" ? retryPart(db, row, context) : cancelPart(db, row, context)
  }
  const [next] = await db.query<{ at: number | null }>("select min(next_at) as at from operation where ended_at is null")
  // One that is due is in the hands of another node.
  const restMs = next?.at == null ? null : Math.max(limits.lookAgainMs, next.at - now)
  return { lines: new Map(), restMs, ended: 0 }
}

/** The next part of an operation on the runs that a filter means. */
async function filteredPart(
  db: Db,
  row: OperationRow,
  kind: BulkPart["kind"],
  filter: FrozenFilter,
  context: TickContext,
): Promise<Operated> {
  const { now } = context
  const part = { kind, filter, snapshotAt: row.snapshot_at, cursor: row.cursor }
  const { cursor, affected, doomed, lines } = await bulkPart(db, part, context)
  await advanceTo(db, row, { cursor: cursor ?? row.cursor, affected, nextAt: now, ...(cursor === null ? { endedAt: now } : {}) })
  return { lines, restMs: 0, ended: 0, doomed }
}

async function advanceTo(
  db: Db,
  row: OperationRow,
  to: { cursor: string; affected: number; nextAt: number; endedAt?: number },
): Promise<void> {
  const looks = to.cursor === "" ? row.looks + 1 : row.looks
  await db.execute("update operation set cursor = $2, affected = affected + $3, next_at = $4, looks = $5, ended_at = $6 where id = $1", [
    row.id,
    to.cursor,
    to.affected,
    to.nextAt,
    looks,
    to.endedAt ?? null,
  ])
}

interface FailedRun {
  id: string
  function_id: string
  event_id: string
  rank: number
  fence: number | null
  fingerprint: string | null
  limits: string | null
}

/** What had failed when the operation began: later failures are not its business. */
async function failedRuns(db: Db, row: OperationRow, from: string): Promise<FailedRun[]> {
  const only = row.run_id ?? row.fingerprint
  const filter = row.run_id !== null ? "and x.run_id = $4" : row.fingerprint !== null ? "and x.fingerprint = $4" : ""
  return db.query<FailedRun>(
    `select r.id, r.function_id, r.event_id, r.rank, r.limits, x.fingerprint, (select max(fence) from attempt as a where a.run_id = r.id) as fence
       from result as x join run as r on r.id = x.run_id
       where x.state = 'failed' and x.state <> 'completed' and x.run_id > $2 and x.ended_at <= $3 and r.fanout_id = $1
         and ${amongRunsOf("$1", "x.run_id")} ${filter} order by x.run_id limit ${batch}`,
    [row.fanout_id, from, row.snapshot_at, ...(only === null ? [] : [only])],
  )
}

async function retryPart(db: Db, row: OperationRow, { functions, now }: TickContext): Promise<Operated> {
  const [fanout] = await db.query<{ created_at: number; gate: string | null }>("select created_at, gate from fanout where id = $1", [
    row.fanout_id,
  ])
  const looked = await failedRuns(db, row, row.cursor === "" ? beforeRuns(fanout?.created_at ?? 0) : row.cursor)
  const last = looked.at(-1)
  if (last === undefined) {
    await advanceTo(db, row, { cursor: row.cursor, affected: 0, nextAt: now, endedAt: now })
    return { lines: new Map(), restMs: 0, ended: 0 }
  }
  const undone = await undoEnds(
    db,
    looked.map(({ id }) => id),
  )
  const failed = looked.filter(({ id }) => undone.has(id))
  await advanceTo(db, row, { cursor: last.id, affected: failed.length, nextAt: now })
  const begun = failed.map((run) => ({ id: run.id, functionId: run.function_id, eventId: run.event_id, fence: run.fence ?? 1 }))
  await addRuleWaits(db, functions, begun, now)
  // The first runs of a canary go first again; the others come through the gate like those that were never begun.
  const [gate] = fanout?.gate === "open" ? gateClaims(row.fanout_id) : []
  const rows = failed.map(
    ({ id, function_id, rank, fence, limits: first }): QueueRow => ({
      runId: id,
      functionId: function_id,
      rank,
      attempt: 0,
      fence: fence ?? 1,
      losses: 0,
      limits: [...(gate === undefined ? [] : [gate]), ...onceMore(first)],
    }),
  )
  const lined = await enqueue(db, rows)
  const released = await releaseHeld(db, [], lined.arrivals, now)
  const lines = addLines([lined.lines, released.lines])
  // Last, as counts always are: whoever counts the same fan-out has the locks of its limits already.
  await uncountEnds(db, row.fanout_id, failed.length, 0)
  const causes = failed.map(({ fingerprint }) => fingerprint)
  await forgetFailures(db, row.fanout_id, causes)
  return { lines, restMs: 0, ended: 0 }
}

/** The next runs of the fan-out, and those of them that have not ended; null when there are no more. */
async function nextRuns(db: Db, row: OperationRow): Promise<{ readonly last: string; readonly live: readonly Standing[] } | null> {
  const runs = await db.query<{ id: string; function_id: string; rank: number; ended: string | null }>(
    `select r.id, r.function_id, r.rank, x.run_id as ended
       from (select id, function_id, rank from run where fanout_id = $1 and id > $2 order by id limit ${batch}) as r
       left join result as x on x.run_id = r.id order by r.id`,
    [row.fanout_id, row.cursor],
  )
  const last = runs.at(-1)
  const live = runs.flatMap(({ id, function_id, rank, ended }) => (ended === null ? [{ id, functionId: function_id, rank }] : []))
  return last === undefined ? null : { last: last.id, live }
}

/** A walk over the runs of a fan-out that somebody has paused. What its source adds from now on has a gate from the start. */
async function pausePart(db: Db, row: OperationRow, now: number): Promise<Operated> {
  const [open] = await db.query("select 1 from fanout where id = $1 and paused_at is not null and cancelled_at is null and gate = 'open'", [
    row.fanout_id,
  ])
  const next = open === undefined ? null : await nextRuns(db, row)
  if (next === null) {
    await advanceTo(db, row, { cursor: row.cursor, affected: 0, nextAt: now, endedAt: now })
    return { lines: new Map(), restMs: 0, ended: 0 }
  }
  const { affected, lines } = await putBehindGate(db, row.fanout_id, next.live, now)
  await advanceTo(db, row, { cursor: next.last, affected, nextAt: now })
  return { lines, restMs: 0, ended: 0 }
}

/** A walk over all runs of the fan-out that have not ended: it is sealed, so there will be no others. */
async function cancelPart(db: Db, row: OperationRow, context: TickContext): Promise<Operated> {
  const { now } = context
  const next = await nextRuns(db, row)
  if (next === null) return lookAgain(db, row, now)
  const standing = await takeStanding(db, next.live)
  const taken = standing.map((each) => ({ ...each, limits: left(each.limits) }))
  const ended = taken.map(({ runId, functionId, fence, rank, limits: claims, attempt }): ChangeOf<"run.settle"> => {
    const run = { id: runId, functionId, fence, rank, fanoutId: row.fanout_id, limits: claims }
    const settlement = { to: "cancelled", output: null, failure: null } as const
    return { kind: "run.settle", run, attempt, startedAt: now, endedAt: now, settlement, waits: true }
  })
  await together([
    deleteSlots(db, taken),
    dropWaits(
      db,
      taken.map(({ runId }) => runId),
    ),
    insertCancelled(db, taken, withFanout, now),
    advanceTo(db, row, { cursor: next.last, affected: taken.length, nextAt: now }),
  ])
  const told = await cancelChanges(
    db,
    taken.map(({ runId }) => runId),
    withFanout,
    context,
  )
  const { lines } = await writeChanges(db, told, now, claimsOf(taken))
  const { ended: fanouts } = await countFanouts(db, [], ended, [], now)
  return { lines, restMs: 0, ended: fanouts }
}

const withFanout = "its fan-out was cancelled"

/** The walk is over. Runs that were under way may have parked since: it goes round again, each time later, until the counts say that all have ended. */
async function lookAgain(db: Db, row: OperationRow, now: number): Promise<Operated> {
  const [open] = await db.query("select 1 from fanout where id = $1 and completed + failed + cancelled < total", [row.fanout_id])
  if (open === undefined) {
    await advanceTo(db, row, { cursor: "", affected: 0, nextAt: now, endedAt: now })
    return { lines: new Map(), restMs: 0, ended: 0 }
  }
  const restMs = Math.min(limits.lookAgainMs * 2 ** Math.min(row.looks, 20), limits.lookAgainMostMs)
  await advanceTo(db, row, { cursor: "", affected: 0, nextAt: now + restMs })
  return { lines: new Map(), restMs, ended: 0 }
}

/** What is to be done. `event`: other data for the one run. */
export interface NewOperation {
  readonly id: string
  readonly kind: OperationKind
  readonly fanoutId: string
  readonly fingerprint: string | null
  readonly runId: string | null
  readonly event: { readonly id: string; readonly data: string } | null
  /** Runs that are meant, instead of those of a fan-out. */
  readonly filter?: BulkFilter
}

/**
 * Begins an operation: what it means for the fan-out as a whole is done here and at once. Runs in a transaction.
 * @throws FanfareError `not_found`, `invalid_option`
 */
export async function addOperation(
  db: Db,
  { id, kind, fanoutId, fingerprint, runId, event, filter }: NewOperation,
  now: number,
): Promise<Operation> {
  const begun = { id, kind, fanoutId, fingerprint, runId, affected: 0, state: "running", createdAt: now, endedAt: null } as const
  if (filter !== undefined && kind !== "pause") {
    await insertOperation(db, begun, await freeze(db, kind, filter))
    return { ...begun, filter }
  }
  if (kind === "pause") {
    if (!(await pauseFanout(db, fanoutId, now))) {
      throw new FanfareError("invalid_option", `the fan-out ${fanoutId} cannot be paused: it stands still, has ended or was cancelled`, {
        field: "id",
      })
    }
    await insertOperation(db, begun, null)
    return begun
  }
  if (runId !== null) await failedRun(db, fanoutId, runId)
  if (runId !== null && event !== null) await changeData(db, runId, event)
  const set =
    kind === "cancel"
      ? "cancelled_at = $2, paused_at = null, pause_reason = null"
      : `cancelled_at = case when completed + failed + cancelled < total then cancelled_at else null end, paused_at = null, pause_reason = null,
         since = $2, ended_before = completed + failed + cancelled, base_ended = completed + failed + cancelled, base_failed = failed`
  const [fanout] = await db.query<{ sealed_at: number | null }>(`update fanout set ${set} where id = $1 returning sealed_at`, [
    fanoutId,
    now,
  ])
  if (fanout === undefined) throw new FanfareError("not_found", `there is no fan-out ${fanoutId}`, { field: "id" })
  if (kind === "cancel" && fanout.sealed_at === null) await sealFanouts(db, [fanoutId], now)
  await insertOperation(db, begun, null)
  return begun
}

async function insertOperation(
  db: Db,
  { id, kind, fanoutId, fingerprint, runId, createdAt }: Operation,
  filter: FrozenFilter | null,
): Promise<void> {
  await db.execute(
    `insert into operation (id, kind, fanout_id, filter, fingerprint, run_id, snapshot_at, cursor, looks, next_at, affected, created_at, stopped)
       values ($1, $2, $3, $4, $5, $6, $7, '', 0, $7, 0, $7, 0)`,
    [id, kind, fanoutId, filter === null ? null : JSON.stringify(filter), fingerprint, runId, createdAt],
  )
}

async function failedRun(db: Db, fanoutId: string, runId: string): Promise<void> {
  const [run] = await db.query<{ state: string | null }>(
    "select x.state from run as r left join result as x on x.run_id = r.id where r.id = $1 and r.fanout_id = $2",
    [runId, fanoutId],
  )
  if (run === undefined) throw new FanfareError("not_found", `there is no run ${runId} in the fan-out ${fanoutId}`, { field: "runId" })
  if (run.state !== "failed") {
    throw new FanfareError("invalid_option", `the run ${runId} has not failed: it is ${run.state ?? "under way"}`, { field: "runId" })
  }
}

/** Another event takes the place of the run's; for the run it has the same id. What it did with the old data is forgotten. */
async function changeData(db: Db, runId: string, event: { readonly id: string; readonly data: string }): Promise<void> {
  await db.execute(
    `insert into event (id, key, name, data, ts, received_at, fanout_id, source_run_id)
       select $2, coalesce(e.key, e.id), e.name, $3, e.ts, e.received_at, e.fanout_id, e.source_run_id
         from run as r join event as e on e.id = r.event_id where r.id = $1`,
    [runId, event.id, event.data],
  )
  await db.execute("update run set event_id = $2 where id = $1", [runId, event.id])
  await db.execute("delete from step where run_id = $1", [runId])
}

export async function operation(db: Db, id: string): Promise<Operation | null> {
  const [row] = await db.query<OperationRow>("select * from operation where id = $1", [id])
  return row === undefined ? null : toOperation(row)
}

/** Newest first. */
export async function operations(db: Db, after: string | null, limit: number): Promise<Page<Operation>> {
  const rows = await db.query<OperationRow>(`select * from operation ${after === null ? "" : "where id < $2"} order by id desc limit $1`, [
    limit + 1,
    ...(after === null ? [] : [after]),
  ])
  const items = rows.slice(0, limit).map(toOperation)
  return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
}

/** Ends an operation where it is: what it has done stays done. What is cancelled or paused of a fan-out is held back at once, so that cannot be stopped. */
export async function stopOperation(db: Db, id: string, now: number): Promise<void> {
  await db.execute(
    "update operation set ended_at = $2, stopped = 1 where id = $1 and ended_at is null and not (kind in ('cancel', 'pause') and fanout_id <> '')",
    [id, now],
  )
}

function toOperation(row: OperationRow): Operation {
  const filter = row.filter === null ? null : (JSON.parse(row.filter) as FrozenFilter)
  return {
    id: row.id,
    kind: row.kind,
    fanoutId: row.fanout_id,
    fingerprint: row.fingerprint,
    runId: row.run_id,
    ...(filter === null ? {} : { filter: givenOf(filter) }),
    affected: row.affected,
    state: row.ended_at === null ? "running" : row.stopped === 1 ? "stopped" : "done",
    createdAt: row.created_at,
    endedAt: row.ended_at,
  }
}

function givenOf(frozen: FrozenFilter): BulkFilter {
  const { last: _, first: __, ...given } = frozen
  return given
}

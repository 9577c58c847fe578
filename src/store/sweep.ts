import { idBefore } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { ClaimedRun } from "../core/run.ts"
import { payloadsOf, toClaimed } from "./claim.ts"
import { sealFanouts } from "./commit-fanout.ts"
import type { Db } from "./db.ts"
import { doom } from "./commit-wait.ts"
import { dueLimits, lockLimits } from "./limiter.ts"
import {
  addLines,
  claimsOf,
  deleteSlots,
  enqueue,
  type Lines,
  type QueueRow,
  queueNames,
  runsIn,
  type StoredQueueRow,
  toQueueRow,
} from "./queue.ts"
import { releaseAll, releaseHeld } from "./release.ts"
import { expireWaits, forgetWatches } from "./waits.ts"

export interface Woken {
  readonly count: number
  /** Runs that are to be cancelled. */
  readonly doomed: number
  /** When the next timer is due; null when there is none. */
  readonly nextAt: number | null
  /** By the store's time. */
  readonly now: number
  readonly lines: Lines
}

/**
 * Puts runs whose time has come in line, the longest due first, and those that a limit held until now; their waits that are over end with it.
 * One whose wait another connection is just ending is left to the next look. Runs in a transaction.
 */
export async function wakeRuns(db: Db, limit: number, now: number): Promise<Woken> {
  const nextAt = await nextDue(db)
  // Most looks find nothing: they cost one question.
  if (nextAt === null || nextAt > now) return { count: 0, doomed: 0, nextAt, now, lines: new Map() }
  const { moved, doomed } = await expireWaits(db, limit, now)
  const due = await takeDue(db, limit, now)
  await deleteSlots(db, due.map(waitedUnder))
  const lined = await enqueue(db, due.map(begun))
  const arrivals = [...moved.arrivals, ...lined.arrivals]
  const dueKeys = await dueLimits(db, limit, now)
  if (dueKeys.length > 0) await lockLimits(db, [...dueKeys, ...claimsOf(arrivals).map(({ key }) => key)])
  const released = await releaseHeld(db, [], arrivals, now)
  const open = await releaseAll(db, dueKeys, now, dueRuns)
  await doom(db, doomed)
  const lines = addLines([moved.lines, lined.lines, released.lines, open.lines])
  return { count: due.length + moved.count + runsIn(open.lines), doomed: doomed.length, nextAt: await nextDue(db), now, lines }
}

async function takeDue(db: Db, limit: number, now: number): Promise<QueueRow[]> {
  const rows = await db.query<StoredQueueRow>(
    `with picked as materialized
       (select due_at, run_id from timer where due_at <= $1 and (state <> 'waiting' or not exists
          (select 1 from wait as w where w.run_id = timer.run_id and w.due_at <= $1)) order by due_at, run_id limit $2 ${db.dialect.skipLocked})
     delete from timer where (due_at, run_id) in (select due_at, run_id from picked) returning ${queueNames}`,
    [now, limit],
  )
  return rows.map(toQueueRow)
}

/** When a timer, a wait or a limit is due next. */
async function nextDue(db: Db): Promise<number | null> {
  const [next] = await db.query<{ at: number | null }>(
    `select min(at) as at from (select min(due_at) as at from timer union all select min(due_at) from wait where due_at is not null
       union all select (select due_at from limiter where due_at is not null order by due_at limit 1) as at) as next`,
  )
  return next?.at ?? null
}

/** Runs that a look at a limit whose time has come expects to find. */
const dueRuns = 10

/** The places of runs that waited for more events: from now on such events start another. */
function waitedUnder({ runId, limits: claims }: QueueRow): Pick<QueueRow, "runId" | "limits"> {
  return { runId, limits: claims.filter(({ hold }) => hold === "debounce" || hold === "batch") }
}

function begun(row: QueueRow): QueueRow {
  if (!row.limits.some(({ hold }) => hold === "debounce" || hold === "batch")) return row
  const claims = row.limits.filter(({ hold }) => hold !== "debounce")
  return { ...row, limits: claims.map((claim) => (claim.hold === "batch" ? { ...claim, hold: "events" } : claim)) }
}

/** A run in the hands of a node that is dead, and what its last attempt left behind. */
export interface LostRun {
  readonly run: ClaimedRun
  readonly nodeId: string
  readonly progressed: boolean
}

/** Leases of nodes, other than `nodeId` itself, that are gone or were not seen for `leaseMs`. */
export async function lostRuns(db: Db, nodeId: string, limit: number, leaseMs: number, now: number): Promise<LostRun[]> {
  const rows = await db.query<StoredQueueRow & { node_id: string; claimed_at: number; progressed: number }>(
    `select l.*, (select count(*) from step as s where s.run_id = l.run_id and s.fence = l.fence and s.state = 'completed') as progressed
     from lease as l where not exists (select 1 from node as n where n.id = l.node_id and n.seen_at > $1) and l.node_id <> $3 limit $2`,
    [now - leaseMs, limit, nodeId],
  )
  const payloads = await payloadsOf(
    db,
    rows.map(({ run_id }) => run_id),
  )
  return rows.flatMap((row) => {
    const payload = payloads.get(row.run_id)
    if (payload === undefined) return []
    const run = toClaimed(payload, toQueueRow(row), row.claimed_at, 0)
    return [{ run, nodeId: row.node_id, progressed: row.progressed > 0 }]
  })
}

/** Of these claims those that do not hold any more. */
export async function goneClaims(db: Db, claims: readonly (readonly [runId: string, fence: number])[]): Promise<[string, number][]> {
  if (claims.length === 0) return []
  const rows = await db.query<{ run_id: string; fence: number }>(
    `select j.run_id, j.fence from ${db.dialect.rows("$1", [
      ["run_id", "text"],
      ["fence", "bigint"],
    ])} as j where not exists (select 1 from lease where lease.run_id = j.run_id and lease.fence = j.fence)`,
    [JSON.stringify(claims)],
  )
  return rows.map(({ run_id, fence }) => [run_id, fence])
}

/**
 * Deletes ticks that were decided before `before`, and schedules made at run time that came to their end before; gives how many ticks. That a
 * moment is not decided twice does not rest on its row: a schedule remembers its newest one.
 */
export async function pruneTicks(db: Db, before: number, limit: number): Promise<number> {
  const { skipLocked } = db.dialect
  await db.execute(
    `with picked as materialized (select id from schedule where ended_at is not null and ended_at < $1 and app_id is null and paused_at is null
       order by ended_at limit $2 ${skipLocked})
     delete from schedule where id in (select id from picked)`,
    [before, limit],
  )
  return db.execute(
    `with picked as materialized (select schedule_id, at from tick where decided_at < $1 order by decided_at limit $2 ${skipLocked})
     delete from tick where (schedule_id, at) in (select schedule_id, at from picked)`,
    [before, limit],
  )
}

/**
 * Deletes runs that ended before `before`, oldest first, at most `limit` of them with all that belongs to them; gives how many.
 * Runs that still live are left, and so is an event as long as one of its runs is.
 */
export async function pruneRuns(db: Db, before: number, limit: number, now: number): Promise<number> {
  const rows = await db.query<{ id: string; event_id: string }>(
    `select r.id, r.event_id from
       (select run_id from result where run_id < $3 and ended_at < $1 order by run_id limit $2 ${db.dialect.skipLocked}) as x
       join run as r on r.id = x.run_id`,
    // No run that was created later can have ended before: the walk ends there, however many there are.
    [before, limit, idBefore("run", before)],
  )
  await forgetUnused(db, limit, now)
  await sealLeft(db, limit, now)
  await pruneFanouts(db, before, limit)
  if (rows.length === 0) return 0
  const ids = JSON.stringify(rows.map(({ id }) => [id]))
  const these = `(select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`
  const others = await db.query<{ event_id: string }>(`select event_id from batched where run_id in ${these}`, [ids])
  for (const table of ["step", "attempt", "log", "wait", "doomed", "batched", "traced", "result"])
    await db.execute(`delete from ${table} where run_id in ${these}`, [ids])
  await db.execute(`delete from run where id in ${these}`, [ids])
  await db.execute(
    `delete from event where id in ${these} and not exists (select 1 from run where run.event_id = event.id)
       and not exists (select 1 from batched where batched.event_id = event.id)`,
    [JSON.stringify([...rows, ...others].map(({ event_id }) => [event_id]))],
  )
  return rows.length
}

/**
 * Deletes limits that hold nobody; gives how many. In a transaction of its own that waits for nobody, since others wait for the rows that it
 * has. Looked at once more under their locks: that a limit is not there means that nobody counts against it.
 */
export async function forgetLimits(db: Db, limit: number, now: number): Promise<number> {
  const unused = `max is null and keep_until <= $2 and not exists (select 1 from held where held.limit_key = limiter.key)
    and not exists (select 1 from slot where slot.limit_key = limiter.key)`
  const rows = await db.query<{ key: string }>(
    `select key from limiter where ${unused} order by keep_until limit $1 ${db.dialect.skipLocked}`,
    [limit, now],
  )
  if (rows.length === 0) return 0
  return db.execute(`delete from limiter where key in (select key from ${db.dialect.rows("$1", [["key", "text"]])} as j) and ${unused}`, [
    JSON.stringify(rows.map(({ key }) => [key])),
    now,
  ])
}

/** Senders' ids that have expired, old counts, and nodes that were not seen for long. */
async function forgetUnused(db: Db, limit: number, now: number): Promise<void> {
  const { skipLocked } = db.dialect
  await db.execute(
    `with picked as materialized (select key from event_key where expires_at <= $1 order by expires_at limit $2 ${skipLocked})
     delete from event_key where key in (select key from picked)`,
    [now, limit],
  )
  await forgetWatches(db, now)
  await db.execute(
    `with picked as materialized (select function_id, at, node_id from tally where at < $1 order by at limit $2 ${skipLocked})
     delete from tally where (function_id, at, node_id) in (select function_id, at, node_id from picked)`,
    [now - limits.tallyDays * 86_400_000, limit],
  )
  await db.execute("delete from node where seen_at < $1", [now - limits.nodeMemoryMs])
}

/** Fan-outs whose sender did not come back: what they have is all. */
async function sealLeft(db: Db, limit: number, now: number): Promise<void> {
  const rows = await db.query<{ id: string }>(
    `select id from fanout where sealed_at is null and grown_at < $1 order by grown_at limit $2 ${db.dialect.skipLocked}`,
    [now - limits.unsealedMs, limit],
  )
  if (rows.length === 0) return
  await sealFanouts(
    db,
    rows.map(({ id }) => id),
    now,
  )
}

/** Fan-outs that ended before `before` and whose runs are gone, and operations that ended before. */
async function pruneFanouts(db: Db, before: number, limit: number): Promise<void> {
  const { skipLocked } = db.dialect
  const gone = await db.query<{ id: string }>(
    `with picked as materialized (select id from fanout where id < $1 and sealed_at < $2 and coalesce(last_end_at, sealed_at) < $2
         and completed + failed + cancelled = total and not exists (select 1 from run where run.fanout_id = fanout.id) order by id limit $3 ${skipLocked})
     delete from fanout where id in (select id from picked) returning id`,
    [idBefore("fan", before), before, limit],
  )
  const list = JSON.stringify(gone.map(({ id }) => [id]))
  for (const table of gone.length === 0 ? [] : ["failure_group", "finished"])
    await db.execute(`delete from ${table} where fanout_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`, [list])
  await db.execute(
    `with picked as materialized (select id from operation where ended_at is not null and ended_at < $1 order by ended_at limit $2 ${skipLocked})
     delete from operation where id in (select id from picked)`,
    [before, limit],
  )
}

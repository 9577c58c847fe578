import { idBefore } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { ClaimedRun } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import { type Column, type Db, together } from "./db.ts"
import {
  decodeLimits,
  encodeLimits,
  enqueue,
  keysOf,
  type QueueRow,
  queueColumns,
  queueNames,
  type StoredQueueRow,
  toQueueRow,
} from "./queue.ts"
import { releaseHeld } from "./release.ts"
import { type StoredStep, toStep } from "./rows.ts"

export interface ClaimRequest {
  readonly nodeId: string
  /** The functions whose code this node has. */
  readonly functionIds: readonly string[]
  readonly limit: number
  /** The function that was served last: the round goes on behind it. */
  readonly after: string
}

export interface Claim {
  readonly runs: readonly ClaimedRun[]
  /** Steps of the runs that have been claimed before. */
  readonly steps: readonly (StepRecord & { readonly runId: string })[]
  /** Give it as `after` to the next claim. */
  readonly after: string
}

/** Takes ready runs for a node: round robin over its functions, each function's in the order of their rank. Runs in a transaction. */
export async function claimRuns(db: Db, request: ClaimRequest, now: number): Promise<Claim> {
  const hosted = new Set(request.functionIds)
  const waiting = (await functionsWithReady(db)).filter((id) => hosted.has(id))
  const turn = waiting.findIndex((id) => id > request.after)
  const round = turn <= 0 ? waiting : [...waiting.slice(turn), ...waiting.slice(0, turn)]
  const taken: QueueRow[] = []
  let after = request.after
  let open = round
  while (open.length > 0 && taken.length < request.limit) {
    const share = Math.max(1, Math.floor((request.limit - taken.length) / open.length))
    // With fewer places than functions, those that come first in the round get one each.
    const served = open.slice(0, request.limit - taken.length)
    const rows = await together(served.map((functionId) => takeReady(db, functionId, share)))
    taken.push(...rows.flat())
    after = served.at(-1) ?? after
    open = served.filter((_, i) => rows[i]?.length === share)
  }
  if (taken.length === 0) return { runs: [], steps: [], after }
  const resumed = taken.filter(({ fence }) => fence > 0).map(({ runId }) => runId)
  const [, runs, steps] = await together([
    insertLeases(db, taken, request.nodeId, now),
    claimedRuns(db, taken, now),
    resumed.length === 0 ? Promise.resolve([]) : stepsOf(db, resumed),
  ])
  return { runs, steps, after }
}

/** A walk over the index from one function to the next: its cost follows the number of functions, not of runs. */
async function functionsWithReady(db: Db): Promise<string[]> {
  const rows = await db.query<{ id: string | null }>(
    `with recursive f(id) as (
       select min(function_id) from ready
       union all select (select min(function_id) from ready where function_id > f.id) from f where f.id is not null)
     select id from f where id is not null`,
  )
  return rows.flatMap(({ id }) => (id === null ? [] : [id]))
}

async function takeReady(db: Db, functionId: string, limit: number): Promise<QueueRow[]> {
  const rows = await db.query<StoredQueueRow>(
    // Materialized: picked once, whatever the plan; another pick could skip what this one locked and take more.
    `with picked as materialized
       (select function_id, rank, run_id from ready where function_id = $1 order by rank, run_id limit $2 ${db.dialect.skipLocked})
     delete from ready where (function_id, rank, run_id) in (select function_id, rank, run_id from picked)
       returning ${queueNames}`,
    [functionId, limit],
  )
  // What `returning` gives has no promised order.
  return rows.map(toQueueRow).toSorted((a, b) => a.rank - b.rank || (a.runId < b.runId ? -1 : 1))
}

const leaseColumns: readonly Column[] = [["node_id", "text"], ["claimed_at", "bigint"], ...queueColumns]

async function insertLeases(db: Db, rows: readonly QueueRow[], nodeId: string, now: number): Promise<void> {
  await db.execute(
    `insert into lease (node_id, claimed_at, ${queueNames}) select node_id, claimed_at, ${queueNames} from ${db.dialect.rows("$1", leaseColumns)} as j where true`,
    [
      JSON.stringify(
        rows.map((row) => [
          nodeId,
          now,
          row.runId,
          row.functionId,
          row.rank,
          row.attempt + 1,
          row.fence + 1,
          row.losses,
          encodeLimits(row.limits),
        ]),
      ),
    ],
  )
}

interface JoinedRun {
  id: string
  fanout_id: string | null
  created_at: number
  event_id: string
  event_key: string | null
  name: string
  data: string
  ts: number
}

const joined = `select r.id, r.fanout_id, r.created_at, e.id as event_id, e.key as event_key, e.name, e.data, e.ts`

async function claimedRuns(db: Db, taken: readonly QueueRow[], now: number): Promise<ClaimedRun[]> {
  const again = taken.filter(({ fence }) => fence > 0).map(({ runId }) => runId)
  const [rows, lines] = await together([
    db.query<JoinedRun>(
      `${joined} from ${db.dialect.rows("$1", [["run_id", "text"]])} as j join run as r on r.id = j.run_id join event as e on e.id = r.event_id`,
      [JSON.stringify(taken.map(({ runId }) => [runId]))],
    ),
    logLines(db, again),
  ])
  const byId = new Map(rows.map((row) => [row.id, row]))
  return taken.flatMap((row) => {
    const found = byId.get(row.runId)
    return found === undefined
      ? []
      : [toClaimed(found, { ...row, attempt: row.attempt + 1, fence: row.fence + 1 }, now, lines.get(row.runId) ?? 0)]
  })
}

function toClaimed(found: JoinedRun, row: QueueRow, claimedAt: number, logLines: number): ClaimedRun {
  return {
    id: found.id,
    functionId: row.functionId,
    attempt: row.attempt,
    fence: row.fence,
    losses: row.losses,
    rank: row.rank,
    fanoutId: found.fanout_id,
    createdAt: found.created_at,
    claimedAt,
    event: { id: found.event_key ?? found.event_id, name: found.name, data: found.data, ts: found.ts },
    limits: row.limits,
    logLines,
  }
}

async function logLines(db: Db, runIds: readonly string[]): Promise<Map<string, number>> {
  if (runIds.length === 0) return new Map()
  const rows = await db.query<{ run_id: string; n: number }>(
    `select run_id, max(line) + 1 as n from log where run_id in (select run_id from ${db.dialect.rows("$1", [["run_id", "text"]])} as j) group by run_id`,
    [JSON.stringify(runIds.map((id) => [id]))],
  )
  return new Map(rows.map(({ run_id, n }) => [run_id, n]))
}

async function stepsOf(db: Db, runIds: readonly string[]): Promise<Claim["steps"]> {
  const rows = await db.query<StoredStep>(
    `select step.* from ${db.dialect.rows("$1", [["id", "text"]])} as j join step on step.run_id = j.id`,
    [JSON.stringify(runIds.map((id) => [id]))],
  )
  return rows.map((row) => ({ ...toStep(row), runId: row.run_id }))
}

export interface Woken {
  readonly count: number
  /** When the next timer is due; null when there is none. */
  readonly nextAt: number | null
  /** By the store's time. */
  readonly now: number
}

/** Puts runs whose time has come in line, the longest due first. Runs in a transaction. */
export async function wakeRuns(db: Db, limit: number, now: number): Promise<Woken> {
  const due = await db.query<StoredQueueRow & { due_at: number }>(
    `with picked as materialized
       (select due_at, run_id from timer where due_at <= $1 order by due_at, run_id limit $2 ${db.dialect.skipLocked})
     delete from timer where (due_at, run_id) in (select due_at, run_id from picked) returning ${queueNames}, due_at`,
    [now, limit],
  )
  const rows = due.map(toQueueRow)
  await enqueue(db, rows)
  await releaseHeld(db, keysOf(rows))
  const [next] = await db.query<{ at: number | null }>("select min(due_at) as at from timer")
  return { count: rows.length, nextAt: next?.at ?? null, now }
}

/** A run in the hands of a node that is dead, and what its last attempt left behind. */
export interface LostRun {
  readonly run: ClaimedRun
  readonly nodeId: string
  readonly progressed: boolean
}

/** Leases of nodes, other than `nodeId` itself, that are gone or were not seen for `leaseMs`. */
export async function lostRuns(db: Db, nodeId: string, limit: number, leaseMs: number, now: number): Promise<LostRun[]> {
  const rows = await db.query<JoinedRun & StoredQueueRow & { node_id: string; claimed_at: number; progressed: number }>(
    `${joined}, l.run_id, l.function_id, l.rank, l.attempt, l.fence, l.losses, l.limits, l.node_id, l.claimed_at,
       (select count(*) from step as s where s.run_id = l.run_id and s.fence = l.fence and s.state = 'completed') as progressed
     from (select * from lease where not exists (select 1 from node as n where n.id = lease.node_id and n.seen_at > $1)
           and node_id <> $3 limit $2) as l
       join run as r on r.id = l.run_id join event as e on e.id = r.event_id`,
    [now - leaseMs, limit, nodeId],
  )
  return rows.map((row) => ({
    run: toClaimed(row, { ...toQueueRow(row), limits: decodeLimits(row.limits) }, row.claimed_at, 0),
    nodeId: row.node_id,
    progressed: row.progressed > 0,
  }))
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
  if (rows.length === 0) return 0
  const ids = JSON.stringify(rows.map(({ id }) => [id]))
  const these = `(select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`
  for (const table of ["step", "attempt", "log", "result"]) await db.execute(`delete from ${table} where run_id in ${these}`, [ids])
  await db.execute(`delete from run where id in ${these}`, [ids])
  await db.execute(`delete from event where id in ${these} and not exists (select 1 from run where run.event_id = event.id)`, [
    JSON.stringify(rows.map(({ event_id }) => [event_id])),
  ])
  return rows.length
}

/** Senders' ids that have expired, limits that hold nobody, and nodes that were not seen for long. */
async function forgetUnused(db: Db, limit: number, now: number): Promise<void> {
  const { skipLocked } = db.dialect
  await db.execute(
    `with picked as materialized (select key from event_key where expires_at <= $1 order by expires_at limit $2 ${skipLocked})
     delete from event_key where key in (select key from picked)`,
    [now, limit],
  )
  await db.execute(
    `with picked as materialized (select key from limiter where not exists (select 1 from held where held.limit_key = limiter.key)
       and not exists (select 1 from slot where slot.limit_key = limiter.key) limit $1 ${skipLocked})
     delete from limiter where key in (select key from picked)`,
    [limit],
  )
  await db.execute("delete from node where seen_at < $1", [now - limits.nodeMemoryMs])
}

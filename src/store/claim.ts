import type { ClaimedRun, Quota, RunEvent } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import { type Column, type Db, together } from "./db.ts"
import type { Mark, Marks } from "./marks.ts"
import {
  byRank,
  insertReady,
  linesOf,
  type QueueRow,
  queueColumns,
  queueNames,
  queueValues,
  type StoredQueueRow,
  toQueueRow,
} from "./queue.ts"
import { insertRows } from "./row-list.ts"
import { type StoredStep, toStep } from "./rows.ts"

export interface ClaimRequest {
  readonly nodeId: string
  /** The functions whose code this node has. */
  readonly functionIds: readonly string[]
  readonly limit: number
  /** Functions of which it wants fewer; of each at most one. */
  readonly quotas?: readonly Quota[]
  /** The function that was served last: the round goes on behind it. */
  readonly after: string
}

export interface Claim {
  readonly runs: readonly ClaimedRun[]
  /** Steps of the runs that have been claimed before. */
  readonly steps: readonly (StepRecord & { readonly runId: string })[]
  /** Give it as `after` to the next claim. */
  readonly after: string
  /** There may be runs that this claim did not look for: milliseconds until the next one does. Null when there are none. */
  readonly lookInMs: number | null
}

/**
 * Takes ready runs for a node: round robin over its functions, each function's in the order of their rank. Runs in a transaction.
 * @param arrived runs that come into line in this transaction and stand nowhere yet: those that are taken at once never stand in `ready`
 */
export async function claimRuns(
  db: Db,
  request: ClaimRequest,
  marks: Marks,
  now: number,
  arrived: readonly QueueRow[] = [],
): Promise<Claim> {
  const { functions, lookInMs } = await marks.waiting(db, request.functionIds)
  const { taken, left, after } = await takeInTurn(db, request, functions, marks, arrived)
  await insertReady(db, left)
  marks.joined(linesOf(left))
  marks.claimed()
  if (taken.length === 0) return { runs: [], steps: [], after, lookInMs }
  const resumed = taken.filter(({ fence }) => fence > 0).map(({ runId }) => runId)
  const [, runs, steps] = await together([
    insertLeases(db, taken, request.nodeId, now),
    claimedRuns(db, taken, now),
    resumed.length === 0 ? Promise.resolve([]) : stepsOf(db, resumed),
  ])
  return { runs, steps, after, lookInMs }
}

/** `left`: what stands nowhere and was not taken. */
async function takeInTurn(
  db: Db,
  request: ClaimRequest,
  waiting: readonly string[],
  marks: Marks,
  arrived: readonly QueueRow[],
): Promise<{ taken: QueueRow[]; left: QueueRow[]; after: string }> {
  const lines = new Set(waiting)
  const loose = Map.groupBy(arrived, ({ functionId }) => functionId)
  const hosted = loose.size === 0 ? lines : new Set([...waiting, ...request.functionIds.filter((id) => loose.has(id))])
  const round = [...hosted].toSorted()
  const turn = round.findIndex((id) => id > request.after)
  const quotas = quotasLeft(request.quotas ?? [])
  const hasRoom = (id: string): boolean => quotas.get(id)?.most !== 0
  const taken: QueueRow[] = []
  let after = request.after
  let open = (turn <= 0 ? round : [...round.slice(turn), ...round.slice(0, turn)]).filter(hasRoom)
  while (open.length > 0 && taken.length < request.limit) {
    const share = Math.max(1, Math.floor((request.limit - taken.length) / open.length))
    // With fewer places than functions, those that come first in the round get one each.
    const turns = open.slice(0, request.limit - taken.length)
    const asked = new Map(turns.map((id) => [id, reserve(quotas.get(id), share)]))
    const take = async (id: string, most: number): Promise<QueueRow[]> => {
      const ready = lines.has(id) ? await takeReady(db, id, marks.from(id), most) : []
      if (lines.has(id)) marks.took(id, ready, most)
      if (ready.length < most) lines.delete(id)
      const came = loose.get(id) ?? []
      if (came.length === 0) return ready
      const all = [...ready, ...came].toSorted(byRank)
      loose.set(id, all.slice(most))
      return all.slice(0, most)
    }
    const served = [...asked].filter(([, most]) => most > 0)
    const rows = await together(served.map(([id, most]) => take(id, most)))
    for (const [i, [id, most]] of served.entries()) {
      const missing = most - (rows[i]?.length ?? 0)
      reserve(quotas.get(id), -missing)
      // Whose line gave all it was asked for may have more.
      if (missing > 0) asked.delete(id)
    }
    taken.push(...rows.flat())
    after = turns.at(-1) ?? after
    // Whoever had no turn yet comes first.
    open = [...open.slice(turns.length), ...asked.keys()].filter(hasRoom)
  }
  return { taken, left: [...loose.values()].flat(), after }
}

/** By function; those of one quota share what is left of it. */
function quotasLeft(quotas: readonly Quota[]): Map<string, { most: number }> {
  return new Map(
    quotas.flatMap(({ functionIds, most }) => {
      const left = { most }
      return functionIds.map((id) => [id, left] as const)
    }),
  )
}

/** Takes from what is left, or gives back when `wanted` is negative; gives how many it took. */
function reserve(left: { most: number } | undefined, wanted: number): number {
  if (left === undefined) return wanted
  const most = Math.min(left.most, wanted)
  left.most -= most
  return most
}

async function takeReady(db: Db, functionId: string, from: Mark, limit: number): Promise<QueueRow[]> {
  if (!db.dialect.concurrent) return takeFirst(db, functionId, from, limit)
  const rows = await db.query<StoredQueueRow>(
    // Materialized: picked once, whatever the plan; another pick could skip what this one locked and take more.
    `with picked as materialized
       (select function_id, rank, run_id from ready where function_id = $1 and (rank, run_id) > ($3, $4)
          and not exists (select 1 from function where id = $1 and paused is not null)
          order by rank, run_id limit $2 ${db.dialect.skipLocked})
     delete from ready where (function_id, rank, run_id) in (select function_id, rank, run_id from picked)
       returning ${queueNames}`,
    [functionId, limit, from.rank, from.runId],
  )
  // What `returning` gives has no promised order.
  return rows.map(toQueueRow).toSorted(byRank)
}

/** Where nobody can come in between the first ones are looked at and then deleted as a range, which costs a third. */
async function takeFirst(db: Db, functionId: string, from: Mark, limit: number): Promise<QueueRow[]> {
  const rows = await db.query<StoredQueueRow>(
    `select ${queueNames} from ready where function_id = $1 and (rank, run_id) > ($3, $4)
       and not exists (select 1 from function where id = $1 and paused is not null) order by rank, run_id limit $2`,
    [functionId, limit, from.rank, from.runId],
  )
  const last = rows.at(-1)
  if (last === undefined) return []
  await db.execute("delete from ready where function_id = $1 and (rank, run_id) > ($2, $3) and (rank, run_id) <= ($4, $5)", [
    functionId,
    from.rank,
    from.runId,
    last.rank,
    last.run_id,
  ])
  return rows.map(toQueueRow)
}

const leaseColumns: readonly Column[] = [["node_id", "text"], ["claimed_at", "bigint"], ...queueColumns]

async function insertLeases(db: Db, rows: readonly QueueRow[], nodeId: string, now: number): Promise<void> {
  await insertRows(
    db,
    "lease",
    leaseColumns,
    rows.map((row) => [nodeId, now, ...queueValues({ ...row, attempt: row.attempt + 1, fence: row.fence + 1 })]),
  )
}

/** What a run is and the event that started it: the parts that never change. */
export interface Payload {
  id: string
  fanout_id: string | null
  created_at: number
  event_id: string
  event_key: string | null
  name: string
  data: string
  ts: number
  trace: string | null
}

/** By run. The ids come as a list of values, so every plan looks each of them up. */
export async function payloadsOf(db: Db, runIds: readonly string[]): Promise<ReadonlyMap<string, Payload>> {
  if (runIds.length === 0) return new Map()
  const rows = await db.query<Payload>(
    `select r.id, r.fanout_id, r.created_at, e.id as event_id, e.key as event_key, e.name, e.data, e.ts, e.trace
     from ${db.dialect.rows("$1", [["run_id", "text"]])} as j join run as r on r.id = j.run_id join event as e on e.id = r.event_id`,
    [JSON.stringify(runIds.map((id) => [id]))],
  )
  return new Map(rows.map((row) => [row.id, row]))
}

async function claimedRuns(db: Db, taken: readonly QueueRow[], now: number): Promise<ClaimedRun[]> {
  const again = taken.filter(({ fence }) => fence > 0).map(({ runId }) => runId)
  const [byId, lines, traces, more] = await together([
    payloadsOf(
      db,
      taken.map(({ runId }) => runId),
    ),
    logLines(db, again),
    ownTraces(db, again),
    eventsOf(
      db,
      taken.filter(({ limits }) => limits.some(({ hold }) => hold === "events")).map(({ runId }) => runId),
    ),
  ])
  return taken.flatMap((row) => {
    const found = byId.get(row.runId)
    if (found === undefined) return []
    const own = traces.get(row.runId)
    const payload = own === undefined ? found : { ...found, trace: own }
    const claimed = toClaimed(payload, { ...row, attempt: row.attempt + 1, fence: row.fence + 1 }, now, lines.get(row.runId) ?? 0)
    const others = more.get(row.runId)
    return [others === undefined ? claimed : { ...claimed, events: [claimed.event, ...others] }]
  })
}

/** The events of batches, but for the first ones, in the order in which they came. */
export async function eventsOf(db: Db, runIds: readonly string[]): Promise<Map<string, RunEvent[]>> {
  const events = new Map<string, RunEvent[]>(runIds.map((id) => [id, []]))
  if (runIds.length === 0) return events
  const rows = await db.query<Omit<Payload, "id" | "fanout_id" | "created_at"> & { run_id: string }>(
    `select b.run_id, e.id as event_id, e.key as event_key, e.name, e.data, e.ts, e.trace
       from ${db.dialect.rows("$1", [["run_id", "text"]])} as j join batched as b on b.run_id = j.run_id join event as e on e.id = b.event_id
       order by b.run_id, b.event_id`,
    [JSON.stringify(runIds.map((id) => [id]))],
  )
  for (const { run_id, event_id, event_key, name, data, ts, trace } of rows)
    events.get(run_id)?.push({ id: event_key ?? event_id, name, data, ts, ...(trace === null ? {} : { trace }) })
  return events
}

export function toClaimed(found: Payload, row: QueueRow, claimedAt: number, logLines: number): ClaimedRun {
  const claimed: ClaimedRun = {
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
  return found.trace === null ? claimed : { ...claimed, trace: found.trace }
}

/** Traces that runs began by themselves in an earlier attempt: their events have none. */
async function ownTraces(db: Db, runIds: readonly string[]): Promise<Map<string, string>> {
  if (runIds.length === 0) return new Map()
  const rows = await db.query<{ run_id: string; trace: string }>(
    `select t.run_id, t.trace from ${db.dialect.rows("$1", [["run_id", "text"]])} as j join traced as t on t.run_id = j.run_id`,
    [JSON.stringify(runIds.map((id) => [id]))],
  )
  return new Map(rows.map(({ run_id, trace }) => [run_id, trace]))
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

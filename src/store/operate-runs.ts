import type { BulkFilter } from "../core/bulk.ts"
import { gatedBy } from "../core/gate.ts"
import { idBefore } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { LimitClaim, RunState } from "../core/run.ts"
import { FanfareError } from "../core/errors.ts"
import type { TickContext } from "../core/tick.ts"
import { copyBatches } from "./commit-admit.ts"
import { doom } from "./commit-wait.ts"
import type { Column, Db, Param } from "./db.ts"
import { forgetFailures, uncountEnds } from "./failure-groups.ts"
import { amongRunsOf } from "./fanout-row.ts"
import { addRuleWaits } from "./rule-waits.ts"
import { addLines, decodeLimits, encodeLimits, enqueue, type Lines, type QueueRow } from "./queue.ts"
import { releaseHeld } from "./release.ts"

/** Runs looked at in one part. */
const batch = 500

/** A filter as an operation keeps it. `last`: the newest run there was; `first`: none before it is meant. */
export interface FrozenFilter extends BulkFilter {
  readonly last: string
  readonly first?: string
}

export interface BulkPart {
  readonly kind: "cancel" | "replay" | "retry"
  readonly filter: FrozenFilter
  readonly snapshotAt: number
  readonly cursor: string
}

export interface BulkDone {
  /** Null when there are no more. */
  readonly cursor: string | null
  readonly affected: number
  readonly doomed: number
  readonly lines: Lines
}

interface Found {
  id: string
  function_id: string
  event_id: string
  fanout_id: string | null
  rank: number
  result_state: RunState | null
  fingerprint: string | null
  fence: number | null
  limits: string | null
}

/** What a filter means, as conditions on a run `r`, its result `x` and the places it may stand in. */
const states: Readonly<Record<RunState, string>> = {
  completed: "x.state = 'completed'",
  failed: "x.state = 'failed'",
  cancelled: "x.state = 'cancelled'",
  skipped: "x.state = 'skipped'",
  running: "l.run_id is not null",
  scheduled: "t.state = 'scheduled'",
  ready: "q.run_id is not null",
  waiting: "x.run_id is null and l.run_id is null and q.run_id is null and coalesce(t.state, 'waiting') = 'waiting'",
}
const meant: Readonly<Record<BulkPart["kind"], string>> = {
  cancel: "x.run_id is null",
  replay: "true",
  retry: "x.state in ('failed', 'cancelled')",
}
const places = `left join result as x on x.run_id = r.id left join lease as l on l.run_id = r.id left join timer as t on t.run_id = r.id
  left join ready as q on q.function_id = r.function_id and q.rank = r.rank and q.run_id = r.id`

type Add = (value: Param) => string

/** @param column of the run */
function bounds({ functionId, fanoutId, from, to }: BulkFilter, add: Add, column = (name: string): string => name): string[] {
  return [
    ...(functionId === undefined ? [] : [`${column("function_id")} = ${add(functionId)}`]),
    ...(fanoutId === undefined ? [] : [`${column("fanout_id")} = ${add(fanoutId)}`]),
    ...(from === undefined ? [] : [`${column("created_at")} >= ${add(from)}`]),
    ...(to === undefined ? [] : [`${column("created_at")} < ${add(to)}`]),
  ]
}

const ended = (state: "failed" | "cancelled" | "skipped"): string =>
  `select run_id, fingerprint from result where state = '${state}' and state <> 'completed'`
const live = (place: string): string => `select run_id, null as fingerprint from ${place}`

/** Where runs of a state are found without a walk over all there ever were. */
const sources: Readonly<Partial<Record<RunState, readonly string[]>>> = {
  failed: [ended("failed")],
  cancelled: [ended("cancelled")],
  skipped: [ended("skipped")],
  running: [live("lease where run_id <> ''")],
  scheduled: [live("timer where state = 'scheduled'")],
  waiting: [live("timer where state = 'waiting'"), live("held where run_id <> ''")],
}
/** In the order of runs this one would be a walk over all of it: it is only counted like this. */
const counted: typeof sources = { ...sources, ready: [live("ready where run_id <> ''")] }

function sourcesOf(kind: BulkPart["kind"], { state }: BulkFilter): readonly string[] | undefined {
  return state === undefined ? (kind === "retry" ? [ended("failed"), ended("cancelled")] : undefined) : sources[state]
}

/** The number of runs that a filter means, counted up to a bound. */
export async function countRuns(db: Db, filter: BulkFilter): Promise<number> {
  const params: Param[] = []
  const add = (value: Param): string => `$${params.push(value)}`
  const found = filter.state === undefined ? undefined : counted[filter.state]
  if (found !== undefined) {
    // A column that is asked for row by row leads no database to read all runs.
    const conditions = bounds(filter, add, (name) => `(select ${name} from run where run.id = s.run_id)`)
    if (filter.fanoutId !== undefined) conditions.push(amongRunsOf(add(filter.fanoutId), "s.run_id"))
    if (filter.fingerprint !== undefined) conditions.push(`s.fingerprint = ${add(filter.fingerprint)}`)
    const [row] = await db.query<{ n: number }>(
      `select count(*) as n from (select 1 from (${found.join(" union all ")}) as s
         ${conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`} limit ${limits.bulkCount}) as c`,
      params,
    )
    return row?.n ?? 0
  }
  const inner = bounds(filter, add)
  const [row] = await db.query<{ n: number }>(
    `select count(*) as n from (select r.id from (select * from run ${inner.length === 0 ? "" : `where ${inner.join(" and ")}`}) as r ${places}
       where ${filter.state === undefined ? "true" : states[filter.state]} limit ${limits.bulkCount}) as c`,
    params,
  )
  return row?.n ?? 0
}

export async function freeze(db: Db, kind: BulkPart["kind"], filter: BulkFilter): Promise<FrozenFilter> {
  const [row] = await db.query<{ id: string | null }>("select max(id) as id from run")
  const frozen = { ...filter, last: row?.id ?? "" }
  if (kind !== "cancel") return frozen
  // What ended before the oldest run that lives need not be walked over.
  const [oldest] = await db.query<{ id: string | null }>(
    `select min(id) as id from (select min(run_id) as id from lease union all select min(run_id) as id from timer
       union all select min(run_id) as id from held union all select min(run_id) as id from ready) as m`,
  )
  return { ...frozen, first: oldest?.id ?? frozen.last }
}

/** The next runs to look at, in the order of their ids. */
function walk({ kind, filter, snapshotAt, cursor }: BulkPart, add: Add): string {
  const from = cursor === "" ? idBefore("run", Math.max(0, (filter.from ?? 0) - limits.clockSkewMs)) : cursor
  const [after, last] = [add(from), add(filter.last)]
  const found = sourcesOf(kind, filter)
  if (found === undefined) {
    const oldest = filter.first === undefined ? [] : [`id >= ${add(filter.first)}`]
    const conditions = [`id > ${after}`, `id <= ${last}`, ...oldest, `created_at <= ${add(snapshotAt)}`, ...bounds(filter, add)]
    return `(select *, 1 as fits from run where ${conditions.join(" and ")} order by id limit ${batch})`
  }
  const parts = found.map(
    (source) => `select * from (${source} and run_id > ${after} and run_id <= ${last} order by run_id limit ${batch}) as s`,
  )
  const conditions = [`run.created_at <= ${add(snapshotAt)}`, ...bounds(filter, add, (name) => `run.${name}`)]
  if (filter.fingerprint !== undefined) conditions.push(`s.fingerprint = ${add(filter.fingerprint)}`)
  return `(select run.*, case when ${conditions.join(" and ")} then 1 else 0 end as fits
      from (select * from (${parts.join(" union all ")}) as p order by run_id limit ${batch}) as s join run on run.id = s.run_id)`
}

/** Does the next part. Runs in a transaction. */
export async function bulkPart(db: Db, part: BulkPart, { functions, newId, now }: Doing): Promise<BulkDone> {
  const { kind, filter, snapshotAt } = part
  const params: Param[] = []
  const add = (value: Param): string => `$${params.push(value)}`
  const found = walk(part, add)
  const looked = await db.query<Found & { fits: number }>(
    `select r.id, r.function_id, r.event_id, r.fanout_id, r.rank, r.limits, x.state as result_state, x.fingerprint,
         (select max(fence) from attempt as a where a.run_id = r.id) as fence,
         case when r.fits = 1 and ${meant[kind]} and ${filter.state === undefined ? "true" : states[filter.state]}
           and (x.run_id is null or x.ended_at <= ${add(snapshotAt)}) then 1 else 0 end as fits
       from ${found} as r ${places} order by r.id`,
    params,
  )
  const last = looked.at(-1)
  if (last === undefined) return { cursor: null, affected: 0, doomed: 0, lines: new Map() }
  const these = looked.filter(({ fits }) => fits === 1)
  const done = { cursor: last.id, affected: these.length, doomed: 0, lines: new Map() }
  if (these.length === 0) return done
  if (kind === "cancel") {
    await doom(
      db,
      these.map(({ id }) => ({ runId: id, reason: "by request, with others", below: null })),
    )
    return { ...done, doomed: these.length }
  }
  if (kind === "replay") return { ...done, lines: await anew(db, these, { functions, newId, now }) }
  const { affected, lines } = await again(db, these, { functions, now })
  return { ...done, affected, lines }
}

/**
 * Sets one run going again where it stopped. Runs in a transaction.
 * @throws FanfareError `not_found`, `invalid_option`: it has not failed and was not cancelled
 */
export async function retryRun(db: Db, id: string, context: Omit<Doing, "newId">): Promise<Lines> {
  const [run] = await db.query<Found>(
    `select r.id, r.function_id, r.event_id, r.fanout_id, r.rank, r.limits, x.state as result_state, x.fingerprint,
       (select max(fence) from attempt as a where a.run_id = r.id) as fence
     from run as r left join result as x on x.run_id = r.id where r.id = $1`,
    [id],
  )
  if (run === undefined) throw new FanfareError("not_found", `there is no run ${id}`, { field: "id" })
  const state = run.result_state
  if (state === "failed" || state === "cancelled") {
    const { affected, lines } = await again(db, [run], context)
    if (affected === 1) return lines
  }
  throw new FanfareError("invalid_option", `the run ${id} has neither failed nor been cancelled: it is ${state ?? "under way"}`, {
    field: "id",
    hint: "Such a run can be replayed: that makes a new one for the same event.",
  })
}

type Doing = Pick<TickContext, "functions" | "newId" | "now">

const ids: readonly Column[] = [["id", "text"]]

/** What a run that is done again must not find of its last attempt: failures, and waits that ended with the run. */
const unfinishedSteps = "(state = 'failed' or (state = 'waiting' and kind in ('event', 'signal', 'invoke')))"

/** The ends of runs are taken back, each by whoever comes first: gives which. What of their steps must not stay goes too. */
export async function undoEnds(db: Db, runIds: readonly string[]): Promise<ReadonlySet<string>> {
  const these = `(select id from ${db.dialect.rows("$1", ids)} as j)`
  const list = (some: readonly string[]): string => JSON.stringify(some.map((id) => [id]))
  const taken = await db.query<{ run_id: string }>(`delete from result where run_id in ${these} returning run_id`, [list(runIds)])
  const undone = taken.map(({ run_id }) => run_id)
  if (undone.length > 0) await db.execute(`delete from step where run_id in ${these} and ${unfinishedSteps}`, [list(undone)])
  return new Set(undone)
}

async function again(
  db: Db,
  candidates: readonly Found[],
  { functions, now }: Omit<Doing, "newId">,
): Promise<{ affected: number; lines: Lines }> {
  const undone = await undoEnds(
    db,
    candidates.map(({ id }) => id),
  )
  const found = candidates.filter(({ id }) => undone.has(id))
  const byFanout = Map.groupBy(
    found.filter(({ fanout_id }) => fanout_id !== null),
    ({ fanout_id }) => fanout_id ?? "",
  )
  const runs = found.map(({ id, function_id, event_id, rank, fence, limits: first }) => ({
    id,
    functionId: function_id,
    eventId: event_id,
    rank,
    fence: (fence ?? 0) + 1,
    first,
  }))
  await addRuleWaits(db, functions, runs, now)
  const lines = await line(db, runs, now)
  // Last, as counts always are: whoever counts the same fan-out has the locks of its limits already.
  for (const [id, runs] of [...byFanout].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const failed = runs.filter(({ result_state }) => result_state === "failed")
    await uncountEnds(db, id, failed.length, runs.length - failed.length)
    await forgetFailures(
      db,
      id,
      failed.map(({ fingerprint }) => fingerprint),
    )
  }
  return { affected: found.length, lines }
}

async function anew(db: Db, found: readonly Found[], { functions, newId, now }: Doing): Promise<Lines> {
  const fresh = found.map((old) => ({ ...old, newId: newId("run") }))
  await db.execute(
    `insert into run (id, function_id, event_id, fanout_id, parent_id, created_at, rank, limits)
       select id, function_id, event_id, null, null, $2, $2, limits from ${db.dialect.rows("$1", [
         ["id", "text"],
         ["function_id", "text"],
         ["event_id", "text"],
         ["limits", "text"],
       ])} as j where true`,
    [
      JSON.stringify(
        fresh.map(({ newId: id, function_id, event_id, limits: first }) => [id, function_id, event_id, encodeLimits(onceMore(first))]),
      ),
      now,
    ],
  )
  await copyBatches(
    db,
    fresh.map((run) => ({ runId: run.newId, from: run.id })),
  )
  const runs = fresh.map(({ newId: id, function_id, event_id, limits: first }) => ({
    id,
    functionId: function_id,
    eventId: event_id,
    rank: now,
    fence: 0,
    first,
  }))
  await addRuleWaits(db, functions, runs, now)
  return line(db, runs, now)
}

async function line(
  db: Db,
  runs: readonly { id: string; functionId: string; rank: number; fence: number; first: string | null }[],
  now: number,
): Promise<Lines> {
  const rows = runs.map(
    ({ id, functionId, rank, fence, first }): QueueRow => ({
      runId: id,
      functionId,
      rank,
      attempt: 0,
      fence,
      losses: 0,
      limits: onceMore(first),
    }),
  )
  const lined = await enqueue(db, rows)
  const released = await releaseHeld(db, [], lined.arrivals, now)
  return addLines([lined.lines, released.lines])
}

/**
 * What a run counts against that begins again, from what it began with: its places were given up, it waits for no more events, and the gate of
 * its fan-out is another matter.
 */
export function onceMore(first: string | null): readonly LimitClaim[] {
  return decodeLimits(first).flatMap((claim): LimitClaim[] => {
    if (claim.hold === "debounce" || gatedBy(claim.key) !== null) return []
    if (claim.hold === "batch") return [{ ...claim, hold: "events" }]
    return claim.hold === "taken" ? [{ ...claim, hold: "run" }] : [claim]
  })
}

import type { FunctionDefinition, PausePolicy } from "../core/definition.ts"
import type { FailureGroup } from "../core/fanouts.ts"
import { idBefore } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { FinalState, RunState } from "../core/run.ts"
import type { Schedule } from "../core/schedule.ts"
import type { FanoutSummary, FunctionSummary, KnownFunctions, Page, RunDetail, RunFilter, RunSummary } from "../core/views.ts"
import { type Db, type Param, together } from "./db.ts"
import { hostedFunctions } from "./read-nodes.ts"
import { holdReason, type Reasons, reasonsFor, waitReason } from "./read-reason.ts"
import { type StoredStep, toFailure, toStep } from "./rows.ts"

interface RunRow {
  id: string
  function_id: string
  created_at: number
  event_id: string
  event_name: string
  fanout_id: string | null
  parent_id: string | null
  result_state: RunState | null
  output: string | null
  failure: string | null
  started_at: number | null
  ended_at: number | null
  result_attempt: number | null
  lease_attempt: number | null
  claimed_at: number | null
  timer_state: RunState | null
  timer_attempt: number | null
  due_at: number | null
  ready_attempt: number | null
  last_failure: string | null
  joins: string | null
  reason: string | null
  limit_key: string | null
  held_attempt: number | null
  held_limits: string | null
  timer_limits: string | null
}

/** A run's state is where it stands: ended, leased, on a timer, in line or held. */
const runSelect = `select r.id, r.function_id, r.created_at, r.event_id, e.name as event_name, r.fanout_id, r.parent_id,
    x.state as result_state, x.output, x.failure, x.started_at, x.ended_at, x.attempt as result_attempt,
    l.attempt as lease_attempt, l.claimed_at, t.state as timer_state, t.attempt as timer_attempt, t.due_at, q.attempt as ready_attempt,
    x.reason, h.limit_key, h.attempt as held_attempt, h.limits as held_limits, t.limits as timer_limits,
    (select a.failure from attempt as a where a.run_id = r.id order by a.fence desc limit 1) as last_failure,
    (select w.fanout_id from joining as w where w.run_id = r.id limit 1) as joins`
const runJoins = `join event as e on e.id = r.event_id
    left join result as x on x.run_id = r.id
    left join lease as l on l.run_id = r.id
    left join timer as t on t.run_id = r.id
    left join held as h on h.run_id = r.id
    left join ready as q on q.function_id = r.function_id and q.rank = r.rank and q.run_id = r.id`

export async function runs(db: Db, filter: RunFilter): Promise<Page<RunSummary>> {
  const limit = pageLimit(filter.limit)
  const { where, params } = runWhere(filter)
  const rows = await db.query<RunRow>(
    `${runSelect} from (select * from run as r ${where} order by r.id desc limit ${limit + 1}) as r ${runJoins} order by r.id desc`,
    params,
  )
  const known = { hosted: await hostedFunctions(db), ...(await reasonsFor(db, rows)) }
  return page(
    rows.map((row) => toSummary(row, known)),
    limit,
  )
}

/** Conditions only on what the filter names, so that each shape of filter can use its index. */
function runWhere(filter: RunFilter): { where: string; params: Param[] } {
  const params: Param[] = []
  const conditions: string[] = []
  const add = (condition: (param: string) => string, value: string | undefined): void => {
    if (value === undefined) return
    params.push(value)
    conditions.push(condition(`$${params.length}`))
  }
  add((p) => `r.function_id = ${p}`, filter.functionId)
  add((p) => `r.fanout_id = ${p}`, filter.fanoutId)
  add((p) => `r.id < ${p}`, filter.after)
  if (filter.state !== undefined) conditions.push(stateConditions[filter.state])
  return { where: conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`, params }
}

const ended = (state: FinalState): string =>
  `r.id in (select s.run_id from result as s where s.state = '${state}' and s.state <> 'completed')`
const stateConditions: Readonly<Record<RunState, string>> = {
  completed: "exists (select 1 from result as s where s.run_id = r.id and s.state = 'completed')",
  failed: ended("failed"),
  cancelled: ended("cancelled"),
  skipped: ended("skipped"),
  running: "r.id in (select s.run_id from lease as s)",
  scheduled: "r.id in (select s.run_id from timer as s where s.state = 'scheduled')",
  ready: "r.id in (select s.run_id from ready as s)",
  waiting: "(r.id in (select s.run_id from timer as s where s.state = 'waiting') or r.id in (select s.run_id from held as s))",
}

export async function run(db: Db, id: string): Promise<RunDetail | null> {
  const [row] = await db.query<RunRow & { data: string }>(`${runSelect}, e.data from (select * from run where id = $1) as r ${runJoins}`, [
    id,
  ])
  if (row === undefined) return null
  const attempts = await db.query<{ attempt: number; fence: number; started_at: number; ended_at: number; failure: string }>(
    "select * from attempt where run_id = $1 order by fence",
    [id],
  )
  const steps = await db.query<StoredStep>("select * from step where run_id = $1 order by started_at, key", [id])
  const logs = await db.query<{
    line: number
    fence: number
    at: number
    level: "debug" | "info" | "warn" | "error"
    message: string
    fields: string | null
  }>("select * from log where run_id = $1 order by line, fence", [id])
  return {
    ...toSummary(row, { hosted: await hostedFunctions(db), ...(await reasonsFor(db, [row])) }),
    data: row.data,
    output: row.output,
    failure: toFailure(row.failure),
    attempts: attempts.map((a) => ({
      attempt: a.attempt,
      fence: a.fence,
      startedAt: a.started_at,
      endedAt: a.ended_at,
      failure: toFailure(a.failure) ?? { name: "Error", message: "" },
    })),
    steps: steps.map(toStep),
    logs: logs.map(({ at, fence, level, message, fields }) => ({ at, fence, level, message, fields })),
  }
}

/** What the reasons of runs are made from. */
interface Known extends Reasons {
  readonly hosted: ReadonlySet<string>
}

function toSummary(row: RunRow, known: Known): RunSummary {
  const failure = toFailure(row.failure ?? (row.result_state === null ? row.last_failure : null))
  return {
    id: row.id,
    functionId: row.function_id,
    ...standing(row, known),
    createdAt: row.created_at,
    startedAt: row.started_at ?? row.claimed_at,
    endedAt: row.ended_at,
    eventId: row.event_id,
    eventName: row.event_name,
    fanoutId: row.fanout_id,
    parentId: row.parent_id,
    error: failure === null ? null : { name: failure.name, message: failure.message },
  }
}

function standing(row: RunRow, known: Known): Pick<RunSummary, "state" | "attempt" | "dueAt" | "reason"> {
  if (row.result_state !== null) return { state: row.result_state, attempt: row.result_attempt ?? 0, dueAt: null, reason: row.reason }
  if (row.lease_attempt !== null) return { state: "running", attempt: row.lease_attempt, dueAt: null, reason: null }
  if (row.timer_state !== null) {
    const attempt = row.timer_attempt ?? 0
    const wait = row.joins === null ? "sleeping" : `waiting for the fan-out ${row.joins}`
    const later = attempt > 0 ? "waiting for its next attempt" : (waitReason(row, known) ?? "its event is due later")
    return { state: row.timer_state, attempt, dueAt: row.due_at, reason: row.timer_state === "waiting" ? wait : later }
  }
  if (row.ready_attempt !== null) {
    const { hosted, paused } = known
    const free = hosted.has(row.function_id) ? "in line for a free place" : "parked: no live node hosts its function"
    return {
      state: "ready",
      attempt: row.ready_attempt,
      dueAt: null,
      reason: paused.has(row.function_id) ? "its function is paused" : free,
    }
  }
  return { state: "waiting", attempt: row.held_attempt ?? 0, dueAt: null, reason: holdReason(row, known) }
}

interface FanoutRow {
  id: string
  run_id: string | null
  name: string
  events: number
  total: number
  completed: number
  failed: number
  cancelled: number
  created_at: number
  sealed_at: number | null
  first_start_at: number | null
  last_end_at: number | null
  running: number
}

const fanoutSelect = `select f.*,
    (select count(*) from lease as l join run as r on r.id = l.run_id where r.fanout_id = f.id) as running from fanout as f`

export async function fanout(db: Db, id: string): Promise<FanoutSummary | null> {
  const [row] = await db.query<FanoutRow>(`${fanoutSelect} where f.id = $1`, [id])
  return row === undefined ? null : toFanout(row)
}

export async function fanouts(db: Db, after: string | null, limit: number): Promise<Page<FanoutSummary>> {
  const rows = await db.query<FanoutRow>(`${fanoutSelect} where f.id < $1 order by f.id desc limit $2`, [
    after ?? "fan_~",
    pageLimit(limit) + 1,
  ])
  return page(rows.map(toFanout), pageLimit(limit))
}

export async function failureGroups(db: Db, fanoutId: string): Promise<FailureGroup[]> {
  const [fanoutRow] = await db.query<{ created_at: number }>("select created_at from fanout where id = $1", [fanoutId])
  if (fanoutRow === undefined) return []
  return db.query<FailureGroup>(
    // Along the index of what did not complete, from the first run that the fan-out can have.
    `select coalesce(x.fingerprint, '') as fingerprint, count(*) as count, min(x.ended_at) as "firstAt", max(x.ended_at) as "lastAt",
         min(x.run_id) as "runId"
       from result as x join run as r on r.id = x.run_id
       where x.state = 'failed' and x.state <> 'completed' and x.run_id >= $2 and r.fanout_id = $1
       group by x.fingerprint order by count(*) desc limit 100`,
    [fanoutId, idBefore("run", fanoutRow.created_at)],
  )
}

export async function finishedFanouts(db: Db, limit: number): Promise<FanoutSummary[]> {
  const rows = await db.query<FanoutRow>(`${fanoutSelect} join finished as e on e.fanout_id = f.id order by e.fanout_id limit $1`, [limit])
  return rows.map(toFanout)
}

function toFanout(row: FanoutRow): FanoutSummary {
  return {
    id: row.id,
    name: row.name,
    runId: row.run_id,
    events: row.events,
    total: row.total,
    queued: row.total - row.completed - row.failed - row.cancelled - row.running,
    running: row.running,
    completed: row.completed,
    failed: row.failed,
    cancelled: row.cancelled,
    sealed: row.sealed_at !== null,
    createdAt: row.created_at,
    firstStartAt: row.first_start_at,
    lastEndAt: row.last_end_at,
  }
}

export async function knownFunctions(db: Db): Promise<KnownFunctions> {
  const [functions, version] = await together([
    db.query<{ definition: string; retired_at: number | null; paused: PausePolicy | null }>(
      "select definition, retired_at, paused from function order by id",
    ),
    db.query<{ version: number }>("select version from registry where id = 1"),
  ])
  return {
    version: version[0]?.version ?? 0,
    functions: functions.map(({ definition, retired_at, paused }) => ({
      definition: { ...(JSON.parse(definition) as FunctionDefinition), ...(paused === null ? {} : { paused }) },
      active: retired_at === null,
    })),
  }
}

interface ScheduleRow {
  id: string
  function_id: string
  cron: string
  timezone: string
  last_tick_at: number | null
  next_at: number | null
}

export async function schedules(db: Db): Promise<Schedule[]> {
  return (await db.query<ScheduleRow>("select * from schedule order by id")).map(toSchedule)
}

export async function dueSchedules(db: Db, limit: number, now: number): Promise<{ due: Schedule[]; nextAt: number | null; now: number }> {
  const rows = await db.query<ScheduleRow>("select * from schedule where next_at <= $1 order by next_at limit $2", [now, limit])
  const [next] = await db.query<{ at: number | null }>("select min(next_at) as at from schedule where next_at > $1", [now])
  return { due: rows.map(toSchedule), nextAt: next?.at ?? null, now }
}

function toSchedule(row: ScheduleRow): Schedule {
  return {
    id: row.id,
    functionId: row.function_id,
    cron: row.cron,
    timezone: row.timezone,
    lastTickAt: row.last_tick_at,
    nextAt: row.next_at,
  }
}

export async function functionList(db: Db): Promise<FunctionSummary[]> {
  const all = await schedules(db)
  return (await db.tx(knownFunctions)).functions.map(({ definition, active }) => ({
    ...definition,
    active,
    schedules: all.filter(({ functionId, nextAt }) => functionId === definition.id && nextAt !== null),
  }))
}

const depthCap = 10_000
const firstTimers = `(select state from timer order by due_at limit ${depthCap}) as t`

export async function depth(db: Db): Promise<{ ready: number; running: number; scheduled: number; waiting: number }> {
  const count = async (from: string): Promise<number> => {
    const [row] = await db.query<{ n: number }>(`select count(*) as n from (select 1 from ${from} limit $1) as c`, [depthCap])
    return row?.n ?? 0
  }
  return {
    ready: await count("ready"),
    running: await count("lease"),
    scheduled: await count(`${firstTimers} where state = 'scheduled'`),
    waiting: Math.min(depthCap, (await count(`${firstTimers} where state = 'waiting'`)) + (await count("held"))),
  }
}

function pageLimit(limit: number | undefined): number {
  return Math.min(Math.max(limit ?? limits.pageRows, 1), limits.pageRowsMax)
}

function page<T extends { readonly id: string }>(rows: readonly T[], limit: number): Page<T> {
  const items = rows.slice(0, limit)
  return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
}

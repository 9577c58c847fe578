import type { FunctionDefinition, PausePolicy } from "../core/definition.ts"
import type { HttpApp } from "../core/http-app.ts"
import { limits } from "../core/limits.ts"
import type { FinalState, RunState } from "../core/run.ts"
import { traceParts } from "../core/trace.ts"
import type { Depth, FunctionSummary, KnownFunctions, Page, RunDetail, RunFilter, RunSummary } from "../core/views.ts"
import { type Db, type Param, together } from "./db.ts"
import { amongRunsOf } from "./fanout-row.ts"
import { hostedFunctions } from "./read-nodes.ts"
import { holdReason, type Reasons, reasonsFor, moreReason } from "./read-reason.ts"
import { cronSchedules } from "./read-schedules.ts"
import { watches } from "./waits.ts"
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
  wait: string | null
  waits: number
  reason: string | null
  limit_key: string | null
  held_attempt: number | null
  held_limits: string | null
  timer_limits: string | null
}

/** A run's state is where it stands: ended, leased, on a timer, in line or held. */
const runSelect = `select r.id, r.function_id, r.created_at, r.event_id, e.name as event_name, r.fanout_id, r.parent_id,
    x.state as result_state, x.failure, x.started_at, x.ended_at, x.attempt as result_attempt,
    l.attempt as lease_attempt, l.claimed_at, t.state as timer_state, t.attempt as timer_attempt, t.due_at, q.attempt as ready_attempt,
    x.reason, h.limit_key, h.attempt as held_attempt, h.limits as held_limits, t.limits as timer_limits,
    (select a.failure from attempt as a where a.run_id = r.id order by a.fence desc limit 1) as last_failure,
    (select w.topic || case when w.key = '' then '' else ' with ' || w.key end || coalesce((select ' (' || (g.completed + g.failed + g.cancelled)
       || ' of ' || g.total || ' ended)' from fanout as g where w.kind = 'fanout' and g.id = substr(w.topic, 8)), '')
       from wait as w where w.run_id = r.id and w.kind not in ('cancel', 'deadline') order by w.step_key limit 1) as wait,
    (select count(*) from wait as w where w.run_id = r.id and w.kind not in ('cancel', 'deadline')) as waits`
const runJoins = `join event as e on e.id = r.event_id
    left join result as x on x.run_id = r.id
    left join lease as l on l.run_id = r.id
    left join timer as t on t.run_id = r.id
    left join held as h on h.run_id = r.id
    left join ready as q on q.function_id = r.function_id and q.rank = r.rank and q.run_id = r.id`

export async function runs(db: Db, filter: RunFilter): Promise<Page<RunSummary>> {
  const limit = pageLimit(filter.limit)
  const { found, params } = runsFound(filter, limit + 1)
  return page(await summariesOf(db, found, params), limit)
}

/** @param found rows of `run`, as SQL named `r` */
export async function summariesOf(db: Db, found: string, params: readonly Param[]): Promise<RunSummary[]> {
  const rows = await db.query<RunRow>(`${runSelect} from ${found} ${runJoins} order by r.id desc`, params)
  const known = { hosted: await hostedFunctions(db), ...(await reasonsFor(db, rows)) }
  return rows.map((row) => toSummary(row, known))
}

/** Conditions only on what the filter names, so that each shape of filter can use its index. */
function runsFound(filter: RunFilter, limit: number): { found: string; params: Param[] } {
  const params: Param[] = []
  const conditions: string[] = []
  const add = (condition: (param: string) => string, value: string | undefined): void => {
    if (value === undefined) return
    params.push(value)
    conditions.push(condition(`$${params.length}`))
  }
  const places = filter.state === undefined ? undefined : walks[filter.state]
  const walked = places !== undefined
  // A column that is asked for row by row can lead no database astray: the walk goes along the unusual ends and stops when the page is full.
  const column = (name: string): string => (walked ? `(select ${name} from run where run.id = s.run_id)` : `r.${name}`)
  add((p) => `${column("function_id")} = ${p}`, filter.functionId)
  add((p) => `${column("fanout_id")} = ${p}${walked ? ` and ${amongRunsOf(p, "s.run_id")}` : ""}`, filter.fanoutId)
  add((p) => `${column("event_id")} = ${p}`, filter.eventId)
  add((p) => `${walked ? "s.run_id" : "r.id"} < ${p}`, filter.after)
  if (places !== undefined) {
    const parts = places.map(([place, state]) => {
      const where = [state, ...conditions].filter((condition) => condition !== "")
      return `select s.run_id from ${place} as s ${where.length === 0 ? "" : `where ${where.join(" and ")}`} order by s.run_id desc limit ${limit}`
    })
    const [only = ""] = parts
    const all =
      parts.length === 1
        ? only
        : `select * from (${parts.map((part) => `select * from (${part}) as s`).join(" union all ")}) as s order by run_id desc limit ${limit}`
    return { found: `(${all}) as p join run as r on r.id = p.run_id`, params }
  }
  if (filter.state !== undefined) conditions.push(filter.state === "ready" ? standsReady : hasCompleted)
  const where = conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`
  const found = `(select r.* from run as r ${where} order by r.id desc limit ${limit}) as r`
  return { found, params }
}

const ended = (state: FinalState): string => `s.state = '${state}' and s.state <> 'completed'`
/** Where runs of a state stand in the order of their ids: a walk there, and not over all runs, finds them. */
const walks: Readonly<Partial<Record<RunState, readonly (readonly [place: string, condition: string])[]>>> = {
  failed: [["result", ended("failed")]],
  cancelled: [["result", ended("cancelled")]],
  skipped: [["result", ended("skipped")]],
  running: [["lease", ""]],
  scheduled: [["timer", "s.state = 'scheduled'"]],
  waiting: [
    ["timer", "s.state = 'waiting'"],
    ["held", ""],
  ],
}
const hasCompleted = "exists (select 1 from result as s where s.run_id = r.id and s.state = 'completed')"
/** The line has another order. */
const standsReady = "r.id in (select s.run_id from ready as s)"

/** @param chars of payloads that are wanted; their whole lengths are given in any case */
export async function run(db: Db, id: string, chars = Number.MAX_SAFE_INTEGER): Promise<RunDetail | null> {
  const [row] = await db.query<
    RunRow & {
      data: string
      data_chars: number
      output: string | null
      output_chars: number | null
      event_key: string | null
      ts: number
      trace: string | null
    }
  >(
    `${runSelect}, substr(e.data, 1, $2) as data, length(e.data) as data_chars, substr(x.output, 1, $2) as output,
       length(x.output) as output_chars,
       e.key as event_key, e.ts, coalesce(e.trace, (select o.trace from traced as o where o.run_id = r.id)) as trace from (select * from run where id = $1) as r ${runJoins}`,
    [id, Math.min(chars, textMost)],
  )
  if (row === undefined) return null
  const attempts = await db.query<{ attempt: number; fence: number; started_at: number; ended_at: number; failure: string }>(
    "select * from attempt where run_id = $1 order by fence",
    [id],
  )
  const [kept] = await db.query<{ steps: number; lines: number }>(
    "select (select count(*) from step where run_id = $1) as steps, (select count(*) from log where run_id = $1) as lines",
    [id],
  )
  return {
    ...toSummary(row, { hosted: await hostedFunctions(db), ...(await reasonsFor(db, [row])) }),
    eventKey: row.event_key,
    eventTs: row.ts,
    traceId: row.trace === null ? null : traceParts(row.trace).traceId,
    data: row.data,
    dataChars: row.data_chars,
    output: row.output,
    outputChars: row.output_chars,
    failure: toFailure(row.failure),
    attempts: attempts.map((a) => ({
      attempt: a.attempt,
      fence: a.fence,
      startedAt: a.started_at,
      endedAt: a.ended_at,
      failure: toFailure(a.failure) ?? { name: "Error", message: "" },
    })),
    steps: await steps(db, id, share(chars, kept?.steps)),
    logs: await logs(db, id, share(chars, kept?.lines)),
  }
}

/** More than any text has: what both databases take as a number of characters. */
const textMost = 2 ** 30

/** Characters of each of so many payloads of a preview: a thousand beginnings may not be more than a page can take. */
function share(chars: number, count = 0): number {
  return chars > limits.previewChars ? textMost : Math.min(chars, Math.floor(limits.previewAllChars / Math.max(1, count)))
}

async function steps(db: Db, runId: string, chars: number): Promise<RunDetail["steps"]> {
  const rows = await db.query<StoredStep & { chars: number | null }>(
    `select run_id, key, fence, kind, state, attempts, substr(output, 1, $2) as output, length(output) as chars, failure, due_at, started_at,
       ended_at from step where run_id = $1 order by started_at, key`,
    [runId, chars],
  )
  return rows.map((step) => ({ ...toStep(step), outputChars: step.chars }))
}

function logs(db: Db, runId: string, chars: number): Promise<RunDetail["logs"][number][]> {
  return db.query(
    `select at, fence, level, substr(message, 1, $2) as message, length(message) as "messageChars", substr(fields, 1, $2) as fields,
       length(fields) as "fieldsChars" from log where run_id = $1 order by line, fence`,
    [runId, chars],
  )
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
    const at = moment(row.due_at)
    const wait = row.wait === null ? `sleeping until ${at}` : waitReason(row.wait, row.waits, row.due_at)
    const reason =
      row.timer_state === "waiting"
        ? wait
        : attempt > 0
          ? `waiting for its next attempt at ${at}`
          : (moreReason(row, known) ?? `its event is due at ${at}`)
    return { state: row.timer_state, attempt, dueAt: row.due_at, reason }
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

const waitNouns: Readonly<Record<string, string>> = { event: "the event", signal: "the signal", run: "the run", fanout: "the fan-out" }

/** `event:app/paid with data.id="7"` and how many there are in all → for people. */
function waitReason(wait: string, waits: number, dueAt: number | null): string {
  const kind = wait.slice(0, wait.indexOf(":"))
  const what = `waiting for ${waitNouns[kind] ?? kind} ${wait.slice(kind.length + 1)}`
  const until = dueAt === null || dueAt >= limits.eventTsMax ? "" : `, until ${moment(dueAt)}`
  return `${what}${waits > 1 ? ` and ${waits - 1} more` : ""}${until}`
}

function moment(at: number | null): string {
  return new Date(at ?? 0).toISOString()
}

export async function knownFunctions(db: Db): Promise<KnownFunctions> {
  const [functions, apps, version, watched] = await together([
    db.query<{ definition: string; retired_at: number | null; paused: PausePolicy | null }>(
      "select definition, retired_at, paused from function order by id",
    ),
    db.query<HttpAppRow>("select id, url, sdk, framework, calls, checksum from app order by id"),
    db.query<{ version: number }>("select version from registry where id = 1"),
    watches(db),
  ])
  return {
    version: version[0]?.version ?? 0,
    watched,
    functions: functions.map(({ definition, retired_at, paused }) => ({
      definition: { ...(JSON.parse(definition) as FunctionDefinition), ...(paused === null ? {} : { paused }) },
      active: retired_at === null,
    })),
    apps: apps.map((app) => ({ ...app, calls: JSON.parse(app.calls) as HttpApp["calls"] })),
  }
}

type HttpAppRow = Omit<HttpApp, "calls"> & { calls: string }

export async function functionList(db: Db): Promise<FunctionSummary[]> {
  const all = Map.groupBy(await cronSchedules(db), ({ functionId }) => functionId)
  return (await db.tx(knownFunctions)).functions.map(({ definition, active }) => ({
    ...definition,
    // Asked for by the name of the event, one at a time.
    triggers: definition.triggers.map((trigger) => ("event" in trigger ? { event: trigger.event, if: trigger.if } : trigger)),
    active,
    schedules: (all.get(definition.id) ?? []).flatMap(({ id, rule, nextTickAt, lastTickAt, pausedAt }) =>
      nextTickAt === null || rule.kind !== "cron"
        ? []
        : [{ id, cron: rule.cron, timezone: rule.timezone, nextAt: nextTickAt, lastTickAt, pausedAt }],
    ),
  }))
}

export const depthCap = 10_000
const firstTimers = `(select state from timer order by due_at limit ${depthCap}) as t`

export async function depth(db: Db): Promise<Depth> {
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

export function pageLimit(limit: number | undefined): number {
  return Math.min(Math.max(limit ?? limits.pageRows, 1), limits.pageRowsMax)
}

export function page<T extends { readonly id: string }>(rows: readonly T[], limit: number): Page<T> {
  const items = rows.slice(0, limit)
  return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
}

import { limits } from "../core/limits.ts"
import { type Due, loadBegin, loadOf, loadSteps, loadStepMs, type NextMoment, type ScheduleLoad } from "../core/load.ts"
import { defaultPolicies, type Schedule, type SchedulePolicies, type ScheduleRule, type Tick, type TickOutcome } from "../core/schedule.ts"
import type { ScheduleFilter } from "../core/schedules.ts"
import type { Page } from "../core/views.ts"
import { type ScheduleRow, toSchedule } from "./commit-schedule.ts"
import { type Db, type Param, together } from "./db.ts"

/** Of several ids the first that there is. */
export async function schedule(db: Db, ids: readonly string[]): Promise<Schedule | null> {
  const rows = await db.query<ScheduleRow>(
    `select * from schedule where id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`,
    [JSON.stringify(ids.map((id) => [id]))],
  )
  const first = ids.map((id) => rows.find((row) => row.id === id)).find((row) => row !== undefined)
  return first === undefined ? null : toSchedule(first)
}

/** In the order of their ids, a page at a time. */
export async function scheduleList(db: Db, filter: ScheduleFilter): Promise<Page<Schedule>> {
  const limit = Math.min(Math.max(filter.limit ?? limits.pageRows, 1), limits.pageRowsMax)
  const params: Param[] = [filter.after ?? "", limit + 1]
  const conditions = ["id > $1"]
  const add = (condition: (param: string) => string, value: string): void => {
    params.push(value)
    conditions.push(condition(`$${params.length}`))
  }
  if (filter.tag !== undefined) add((p) => `tag is not null and tag = ${p}`, filter.tag)
  if (filter.app !== undefined) {
    // The ids of an app are those between these two.
    add((p) => `id > ${p}`, `${filter.app}-`)
    add((p) => `id < ${p}`, `${filter.app}.`)
  }
  const rows = await db.query<ScheduleRow>(`select * from schedule where ${conditions.join(" and ")} order by id limit $2`, params)
  const items = rows.slice(0, limit).map(toSchedule)
  return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
}

/** Those of all cron triggers: as many as there are in the code of all apps. */
export async function cronSchedules(db: Db): Promise<Schedule[]> {
  return (await db.query<ScheduleRow>("select * from schedule where app_id is not null order by app_id, id")).map(toSchedule)
}

/** Those of the cron triggers of these apps, and whatever else has one of these ids. */
export async function registered(db: Db, appIds: readonly string[], ids: readonly string[]): Promise<Schedule[]> {
  const listed = db.dialect.rows("$1", [["id", "text"]])
  const [ofApps, named] = await together([
    db.query<ScheduleRow>(`select * from schedule where app_id is not null and app_id in (select id from ${listed} as j)`, [
      JSON.stringify(appIds.map((id) => [id])),
    ]),
    db.query<ScheduleRow>(`select * from schedule where id in (select id from ${listed} as j)`, [JSON.stringify(ids.map((id) => [id]))]),
  ])
  return [...new Map([...ofApps, ...named].map((row) => [row.id, toSchedule(row)])).values()]
}

interface TickRow {
  at: number
  outcome: TickOutcome
  reason: string | null
  event_id: string | null
  run_id: string | null
  decided_at: number
}

/** The ledger of a schedule, newest first. */
export async function ticks(db: Db, scheduleId: string, after: number | null, limit: number): Promise<Page<Tick>> {
  const rows = await db.query<TickRow>("select * from tick where schedule_id = $1 and at < $2 order by at desc limit $3", [
    scheduleId,
    after ?? Number.MAX_SAFE_INTEGER,
    limit + 1,
  ])
  const items = rows.slice(0, limit).map(
    (row): Tick => ({
      scheduleId,
      at: row.at,
      outcome: row.outcome,
      reason: row.reason,
      eventId: row.event_id,
      runId: row.run_id,
      decidedAt: row.decided_at,
    }),
  )
  return { items, next: rows.length > limit ? String(items.at(-1)?.at ?? "") : null }
}

type LoadRow = Pick<ScheduleRow, "id" | "rule" | "policies" | "paused_at"> & { readonly next_at: number }

/** Schedules that are looked at one by one; of more than that some of each quarter of an hour stand for the others. */
const lookedWhole = 2_000
const lookedPerStep = 100
const countedPerStep = 1_000_000
const nextKept = 10

/** What comes in the next 24 h, however many schedules there are. */
export async function scheduleLoad(db: Db): Promise<ScheduleLoad> {
  const now = await db.now()
  const to = loadBegin(now) + loadSteps * loadStepMs
  // What is overdue is due at once.
  const rows = await dueBetween(db, 0, to, lookedWhole + 1)
  const all = rows.length <= lookedWhole
  const due = all ? rows.flatMap((row) => dueOf(row, 1)) : await sampled(db, loadBegin(now))
  return { ...loadOf(due, now, all), next: nextOf(rows) }
}

function dueBetween(db: Db, begin: number, end: number, most: number): Promise<LoadRow[]> {
  return db.query<LoadRow>(
    "select id, rule, policies, paused_at, next_at from schedule where next_at >= $1 and next_at < $2 order by next_at limit $3",
    [begin, end, most],
  )
}

function dueOf({ id, rule, policies, paused_at }: LoadRow, weight: number): Due[] {
  if (paused_at !== null) return []
  return [
    {
      id,
      rule: JSON.parse(rule) as ScheduleRule,
      policies: policies === null ? defaultPolicies : (JSON.parse(policies) as SchedulePolicies),
      weight,
    },
  ]
}

/** The first ones of each quarter of an hour, each for its share of all that have their next moment in it. */
async function sampled(db: Db, from: number): Promise<Due[]> {
  const due: Due[] = []
  for (let i = 0; i < loadSteps; i++) {
    const [begin, end] = [i === 0 ? 0 : from + i * loadStepMs, from + (i + 1) * loadStepMs]
    const rows = await dueBetween(db, begin, end, lookedPerStep)
    if (rows.length < lookedPerStep) due.push(...rows.flatMap((row) => dueOf(row, 1)))
    else {
      const [counted] = await db.query<{ n: number }>(
        "select count(*) as n from (select 1 from schedule where next_at >= $1 and next_at < $2 limit $3) as c",
        [begin, end, countedPerStep],
      )
      const weight = (counted?.n ?? rows.length) / rows.length
      due.push(...rows.flatMap((row) => dueOf(row, weight)))
    }
  }
  return due
}

function nextOf(rows: readonly LoadRow[]): NextMoment[] {
  return rows
    .filter(({ paused_at }) => paused_at === null)
    .slice(0, nextKept)
    .map(({ id, rule, next_at }) => {
      const parsed = JSON.parse(rule) as ScheduleRule
      return { scheduleId: id, at: next_at, timezone: parsed.kind === "cron" ? parsed.timezone : null }
    })
}

import { limits } from "../core/limits.ts"
import type { Schedule, Tick, TickOutcome } from "../core/schedule.ts"
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

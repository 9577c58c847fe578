import type { ChangeOf } from "../core/change.ts"
import { defaultPolicies, type Schedule, type SchedulePolicies, type ScheduleRule, type Tick } from "../core/schedule.ts"
import type { Column, Db } from "./db.ts"

export interface ScheduleRow {
  id: string
  app_id: string | null
  function_id: string | null
  event: string | null
  rule: string
  policies: string | null
  data: string | null
  tag: string | null
  created_at: number
  updated_at: number
  last_tick_at: number | null
  next_tick_at: number | null
  next_at: number | null
  waiting_at: number | null
  last_event_id: string | null
  paused_at: number | null
  note: string | null
}

export function toSchedule(row: ScheduleRow): Schedule {
  return {
    id: row.id,
    appId: row.app_id,
    functionId: row.function_id,
    event: row.event,
    rule: JSON.parse(row.rule) as ScheduleRule,
    policies: row.policies === null ? defaultPolicies : (JSON.parse(row.policies) as SchedulePolicies),
    data: row.data,
    tag: row.tag,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastTickAt: row.last_tick_at,
    nextTickAt: row.next_tick_at,
    nextAt: row.next_at,
    waitingAt: row.waiting_at,
    lastEventId: row.last_event_id,
    pausedAt: row.paused_at,
    note: row.note,
  }
}

const columns: readonly Column[] = [
  ["id", "text"],
  ["app_id", "text"],
  ["function_id", "text"],
  ["event", "text"],
  ["rule", "text"],
  ["policies", "text"],
  ["data", "text"],
  ["tag", "text"],
  ["created_at", "bigint"],
  ["updated_at", "bigint"],
  ["last_tick_at", "bigint"],
  ["next_tick_at", "bigint"],
  ["next_at", "bigint"],
  ["ended_at", "bigint"],
]
const names = columns.map(([name]) => name).join(", ")
const defaults = JSON.stringify(defaultPolicies)

/** What a schedule is; what has become of it (its last moment, a pause) stays as it was. */
export async function saveSchedules(db: Db, schedules: readonly Schedule[]): Promise<void> {
  if (schedules.length === 0) return
  const rows = schedules
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    .map((s) => {
      const policies = JSON.stringify(s.policies)
      const ended = s.nextTickAt === null && s.waitingAt === null ? s.updatedAt : null
      const own = [s.id, s.appId, s.functionId, s.event, JSON.stringify(s.rule), policies === defaults ? null : policies, s.data, s.tag]
      return [...own, s.createdAt, s.updatedAt, s.lastTickAt, s.nextTickAt, s.nextAt, ended]
    })
  const kept = new Set(["id", "created_at", "last_tick_at"])
  await db.execute(
    `insert into schedule (${names}) select ${names} from ${db.dialect.rows("$1", columns)} as j where true
       on conflict (id) do update set ${columns
         .filter(([name]) => !kept.has(name))
         .map(([name]) => `${name} = excluded.${name}`)
         .join(", ")}`,
    [JSON.stringify(rows)],
  )
}

export async function putSchedules(db: Db, changes: readonly ChangeOf<"schedule.put">[]): Promise<void> {
  await saveSchedules(
    db,
    changes.map(({ schedule }) => schedule),
  )
}

export async function dropSchedules(db: Db, changes: readonly ChangeOf<"schedule.drop">[]): Promise<void> {
  // The row stays, without a next moment: its last tick keeps old moments from firing if the schedule returns.
  for (const { id } of changes) {
    await db.execute("update schedule set next_at = null, next_tick_at = null, waiting_at = null where id = $1", [id])
  }
}

const moved: readonly Column[] = [
  ["id", "text"],
  ["last_tick_at", "bigint"],
  ["next_tick_at", "bigint"],
  ["next_at", "bigint"],
  ["waiting_at", "bigint"],
  ["last_event_id", "text"],
  ["ended_at", "bigint"],
]

export type MovedSchedule = Pick<Schedule, "id" | "lastTickAt" | "nextTickAt" | "nextAt" | "waitingAt" | "lastEventId">

/** Where schedules stand after their moments were decided. */
export async function moveSchedules(db: Db, schedules: readonly MovedSchedule[], now: number): Promise<void> {
  if (schedules.length === 0) return
  await db.execute(
    `update schedule set next_tick_at = j.next_tick_at, next_at = j.next_at, waiting_at = j.waiting_at, last_event_id = j.last_event_id,
         ended_at = j.ended_at,
         last_tick_at = case when schedule.last_tick_at is null or schedule.last_tick_at < j.last_tick_at then j.last_tick_at else schedule.last_tick_at end
       from ${db.dialect.rows("$1", moved)} as j where schedule.id = j.id`,
    [
      JSON.stringify(
        schedules.map((s) => [s.id, s.lastTickAt, s.nextTickAt, s.nextAt, s.waitingAt, s.lastEventId, s.nextAt === null ? now : null]),
      ),
    ],
  )
}

const tickColumns: readonly Column[] = [
  ["schedule_id", "text"],
  ["at", "bigint"],
  ["outcome", "text"],
  ["reason", "text"],
  ["event_id", "text"],
  ["run_id", "text"],
  ["decided_at", "bigint"],
]
const tickNames = tickColumns.map(([name]) => name).join(", ")

/** Gives the ticks that were not there before: `<schedule> <at>`. What the others would start must not be. */
export async function insertTicks(db: Db, ticks: readonly Tick[]): Promise<Set<string>> {
  if (ticks.length === 0) return new Set()
  const rows = await db.query<{ schedule_id: string; at: number }>(
    `insert into tick (${tickNames}) select ${tickNames} from ${db.dialect.rows("$1", tickColumns)} as j where true
       on conflict (schedule_id, at) do nothing returning schedule_id, at`,
    [JSON.stringify(ticks.map((t) => [t.scheduleId, t.at, t.outcome, t.reason, t.eventId, t.runId, t.decidedAt]))],
  )
  return new Set(rows.map(({ schedule_id, at }) => `${schedule_id} ${at}`))
}

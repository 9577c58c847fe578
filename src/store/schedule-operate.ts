import { limits } from "../core/limits.ts"
import { isSame, momentsOf, planned, type Schedule } from "../core/schedule.ts"
import type { BackfillOptions, BackfillResult, CheckedSchedule, UpsertResult } from "../core/schedules.ts"
import { started, tickWrite } from "../core/tick.ts"
import { writeChanges } from "./commit.ts"
import { saveSchedules, type ScheduleRow, toSchedule } from "./commit-schedule.ts"
import type { Db } from "./db.ts"
import type { Offered } from "./known.ts"
import type { Lines } from "./queue.ts"
import { type Chance, contextOf, passPaused, writeTicks } from "./tick.ts"

async function locked(db: Db, ids: readonly string[]): Promise<Map<string, Schedule>> {
  const rows = await db.query<ScheduleRow>(
    `select * from schedule where id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j) order by id ${db.dialect.lockRows}`,
    [JSON.stringify(ids.toSorted().map((id) => [id]))],
  )
  return new Map(rows.map((row) => [row.id, toSchedule(row)]))
}

/** Schedules that belong to the code of an app, or whose one moment lies in the past, cannot be made or changed. */
export type Refused =
  | { readonly kind: "owned"; readonly id: string; readonly appId: string }
  | { readonly kind: "past"; readonly id: string; readonly at: number }

/** Makes schedules, or makes them what they shall be: all of them, or none when one is refused. Runs in a transaction. */
export async function upsertSchedules(db: Db, wanted: readonly CheckedSchedule[], now: number): Promise<UpsertResult | Refused> {
  const known = await locked(
    db,
    wanted.map(({ id }) => id),
  )
  const saved: Schedule[] = []
  let created = 0
  for (const wish of wanted) {
    const old = known.get(wish.id) ?? null
    if (old !== null && old.appId !== null) return { kind: "owned", id: wish.id, appId: old.appId }
    const next = completed(wish, old, now)
    if (old !== null && isSame(specOf(old), specOf(next))) continue
    const { rule } = next
    if (rule.kind === "at" && rule.at < now - limits.tickLateMs && !isSame(old?.rule, rule))
      return { kind: "past", id: wish.id, at: rule.at }
    if (old === null) created++
    saved.push(next)
  }
  await saveSchedules(db, saved)
  return { created, changed: saved.length - created, unchanged: wanted.length - saved.length }
}

function specOf({ functionId, event, rule, policies, data, tag }: CheckedSchedule): unknown {
  return [functionId, event, rule, policies, data, tag]
}

function completed(wish: CheckedSchedule, old: Schedule | null, now: number): Schedule {
  const { rule } = wish
  // Without a start of its own an interval is counted from when the schedule was made.
  const keeps = old !== null && rule.kind === "every" && old.rule.kind === "every" && rule.everyMs === old.rule.everyMs
  const free = wish.policies.startAt === null && rule.kind === "every"
  const anchored = free ? { ...rule, anchorAt: Math.min(rule.anchorAt, now) } : rule
  const kept = keeps && free && old.policies.startAt === null ? old.rule : anchored
  return {
    ...wish,
    rule: kept,
    appId: null,
    createdAt: old?.createdAt ?? now,
    updatedAt: now,
    lastTickAt: old?.lastTickAt ?? null,
    ...planned(wish.id, kept, wish.policies, old, now),
    waitingAt: old?.waitingAt ?? null,
    lastEventId: old?.lastEventId ?? null,
    pausedAt: old?.pausedAt ?? null,
    note: old?.note ?? null,
  }
}

/** Null when there is no such schedule. */
export async function pauseSchedule(db: Db, id: string, note: string | null, now: number): Promise<Schedule | null> {
  await db.execute("update schedule set paused_at = coalesce(paused_at, $2), note = $3 where id = $1", [id, now, note])
  return (await locked(db, [id])).get(id) ?? null
}

/** What came while it was paused, up to now, has passed. */
export async function resumeSchedule(db: Db, offered: Offered, id: string, now: number): Promise<Schedule | null> {
  const schedule = (await locked(db, [id])).get(id)
  if (schedule === undefined) return null
  if (schedule.pausedAt !== null) {
    await passPaused(db, schedule, offered, now)
    await db.execute("update schedule set paused_at = null, note = null where id = $1", [id])
  }
  return (await locked(db, [id])).get(id) ?? null
}

/** Its ticks stay until the retention is over; what it has started goes on. */
export async function removeSchedule(db: Db, id: string): Promise<boolean> {
  return (await db.execute("delete from schedule where id = $1 and app_id is null", [id])) > 0
}

export interface BackfillRequest extends Required<Omit<BackfillOptions, "dryRun">> {
  readonly id: string
  readonly from: number
  readonly to: number
}

export interface BackfillPart extends BackfillResult {
  /** Where the next part begins; null when all is done. */
  readonly rest: number | null
  /** Why a moment would start nothing now, in words: then none was taken, so that they can be backfilled later. */
  readonly nobody: string | null
  readonly lines: Lines
}

/** Starts the moments of a range that are not in the ledger, oldest first, a bounded part of them. Runs in a transaction. */
export async function backfillSchedule(
  db: Db,
  offered: Offered,
  chance: Chance,
  request: BackfillRequest,
  now: number,
): Promise<BackfillPart | null> {
  const schedule = (await locked(db, [request.id])).get(request.id)
  if (schedule === undefined) return null
  const moments = momentsOf(schedule.rule, schedule.policies)
  const part: number[] = []
  let at = moments.next(request.from - 1)
  for (; at !== null && at <= request.to && part.length < limits.backfillPart; at = moments.next(at)) part.push(at)
  const context = contextOf(offered, chance, now)
  const { nobody } = started(schedule, now, context)
  if (nobody !== null) return { started: 0, known: 0, rest: null, nobody, lines: new Map() }
  const reason = request.overlap === "queue" ? "backfilled; one at a time" : null
  const written = await writeTicks(
    db,
    part.map((each) => tickWrite(schedule, { at: each, outcome: "backfilled", reason }, context)),
  )
  const limit = { key: `backfill:${schedule.id}`, max: 1 }
  const changes = written.changes.map((change) =>
    change.kind !== "run.add" || request.overlap === "allow"
      ? change
      : { ...change, run: { ...change.run, limits: [...change.run.limits, limit] } },
  )
  const { lines } = await writeChanges(db, changes, now)
  const rest = at !== null && at <= request.to ? at : null
  return { started: written.ticks.length, known: part.length - written.ticks.length, rest, nobody, lines }
}

/** Starts what a moment would start, now; the ledger and the moments to come stay as they are. */
export async function runSchedule(
  db: Db,
  offered: Offered,
  chance: Chance,
  id: string,
  now: number,
): Promise<{ readonly runIds: readonly string[]; readonly nobody: string | null; readonly lines: Lines } | null> {
  const schedule = (await locked(db, [id])).get(id)
  if (schedule === undefined) return null
  const { changes, nobody } = started(schedule, now, contextOf(offered, chance, now))
  const { lines } = await writeChanges(db, changes, now)
  return { runIds: changes.flatMap((change) => (change.kind === "run.add" ? [change.run.id] : [])), nobody, lines }
}

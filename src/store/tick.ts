import type { Change } from "../core/change.ts"
import { createIds } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import { momentsOf, type Schedule, type Tick } from "../core/schedule.ts"
import { decideTicks, pausedBy, startsRuns, type TickContext, type TickDecision, type TickWrite, tickWrite } from "../core/tick.ts"
import { cancelChanges, type Cancelled, cancelRuns, type LiveRun, liveRuns } from "./cancel.ts"
import { writeChanges } from "./commit.ts"
import { insertTicks, type MovedSchedule, moveSchedules, type ScheduleRow, toSchedule } from "./commit-schedule.ts"
import type { Db } from "./db.ts"
import type { Offered } from "./known.ts"
import type { Lines } from "./queue.ts"

/** Chance, from which a command makes its ids: two numbers in [0, 1). */
export type Chance = readonly [number, number]

export interface Ticked {
  readonly ticks: readonly Tick[]
  /** Whether others were due that this look has left. */
  readonly more: boolean
  /** When the next schedule is to be looked at; null when there is none. */
  readonly nextAt: number | null
  /** By the store's time. */
  readonly now: number
  /** Schedules that cannot be decided here, such as one in a zone that this machine does not know: looked at again later. */
  readonly unfit: readonly { readonly scheduleId: string; readonly why: string }[]
  /** Claims that were taken away. */
  readonly cancelled: Cancelled["claims"]
  readonly lines: Lines
}

interface Decided {
  readonly schedule: Schedule
  readonly decision: TickDecision
  readonly writes: readonly TickWrite[]
}

/**
 * Decides the moments that are due, the longest due first, and writes them with what they start. Several nodes may do this at the same
 * time: each takes schedules that no other has taken. Runs in a transaction.
 */
export async function tickSchedules(db: Db, offered: Offered, chance: Chance, now: number): Promise<Ticked> {
  const rows = await db.query<ScheduleRow>(
    `select * from schedule where next_at is not null and next_at <= $1 order by next_at limit $2 ${db.dialect.skipLocked}`,
    [now, limits.schedulesPerLook],
  )
  const due = rows.map(toSchedule)
  const live = await stillLive(db, due)
  const context = contextOf(offered, chance, now)
  const decided: Decided[] = []
  const unfit: { scheduleId: string; why: string }[] = []
  let ticks = 0
  for (const schedule of due) {
    if (ticks >= limits.ticksPerTransaction) break
    try {
      const each = decide(schedule, live, context)
      decided.push(each)
      ticks += each.writes.length
    } catch (error) {
      // One that cannot be read must not keep all others from their moments.
      unfit.push({ scheduleId: schedule.id, why: error instanceof Error ? error.message : String(error) })
      decided.push({ schedule, decision: { ...schedule, ticks: [], cancels: false, nextAt: now + limits.waitLookMostMs }, writes: [] })
    }
  }
  const written = await writeDecided(db, decided, live, context)
  const [next] = await db.query<{ at: number | null }>(
    "select min(next_at) as at from schedule where next_at is not null and next_at > $1",
    [now],
  )
  return { ...written, more: decided.length < rows.length || rows.length === limits.schedulesPerLook, nextAt: next?.at ?? null, now, unfit }
}

export function contextOf({ functions, match, waitedFor }: Offered, chance: Chance, now: number): TickContext {
  let drawn = 0
  const newId = createIds({ now: () => now }, { next: () => chance[drawn++ % 2] ?? 0 })
  return { functions, match, waitedFor, newId, now }
}

/** By event: what the last moments started and has not ended, of those schedules that mind. */
async function stillLive(db: Db, schedules: readonly Schedule[]): Promise<Map<string, LiveRun[]>> {
  const events = schedules.flatMap(({ policies, lastEventId }) =>
    policies.overlap === "allow" || lastEventId === null ? [] : [lastEventId],
  )
  return Map.groupBy(await liveRuns(db, events), ({ eventId }) => eventId)
}

function decide(schedule: Schedule, live: ReadonlyMap<string, LiveRun[]>, context: TickContext): Decided {
  const moments = momentsOf(schedule.rule, schedule.policies)
  const state = { ...schedule, paused: pausedBy(schedule, context) }
  const decision = decideTicks(state, moments, live.has(schedule.lastEventId ?? ""), context.now)
  return { schedule, decision, writes: decision.ticks.map((tick) => tickWrite(schedule, tick, context)) }
}

async function writeDecided(
  db: Db,
  decided: readonly Decided[],
  live: ReadonlyMap<string, LiveRun[]>,
  context: TickContext,
): Promise<Pick<Ticked, "ticks" | "cancelled" | "lines">> {
  if (decided.length === 0) return { ticks: [], cancelled: [], lines: new Map() }
  const { now } = context
  const { ticks, changes } = await writeTicks(
    db,
    decided.flatMap(({ writes }) => writes),
  )
  const newest = new Map(ticks.flatMap((tick) => (tick.eventId === null ? [] : [[tick.scheduleId, tick.eventId] as const])))
  const moved = decided.map(({ schedule, decision }): MovedSchedule => {
    const { lastTickAt, nextTickAt, nextAt, waitingAt } = decision
    return { id: schedule.id, lastTickAt, nextTickAt, nextAt, waitingAt, lastEventId: newest.get(schedule.id) ?? schedule.lastEventId }
  })
  await moveSchedules(db, moved, now)
  const ending = decided.flatMap(({ schedule, decision }) => (decision.cancels ? (live.get(schedule.lastEventId ?? "") ?? []) : []))
  const cancelled: Cancelled = await cancelRuns(db, ending, nextMoment, now)
  const told = await cancelChanges(db, cancelled.runIds, nextMoment, context)
  const { lines } = await writeChanges(db, [...changes, ...told], now, cancelled.freed)
  return { ticks, cancelled: cancelled.claims, lines }
}

const nextMoment = "the next moment of its schedule has come"

/** Decides what is due of a paused schedule, under the lock of its row: all of it passes. */
export async function passPaused(db: Db, schedule: Schedule, offered: Offered, now: number): Promise<void> {
  const context = contextOf(offered, [0, 0], now)
  await writeDecided(db, [decide(schedule, new Map(), context)], new Map(), context)
}

/** Rows of moments; what a moment starts is given only when it was not decided before. */
export async function writeTicks(db: Db, writes: readonly TickWrite[]): Promise<{ ticks: Tick[]; changes: Change[] }> {
  const fresh = await insertTicks(
    db,
    writes.map(({ tick }) => tick),
  )
  const first = writes.filter(({ tick }) => fresh.has(`${tick.scheduleId} ${tick.at}`))
  return {
    ticks: first.map(({ tick }) => tick),
    changes: first.flatMap(({ tick, changes }) => (startsRuns(tick.outcome) ? changes : [])),
  }
}

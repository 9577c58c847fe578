import type { Change, ChangeOf, Duplicates, NewEvent, Unit, UnitResult } from "../core/change.ts"
import { limits } from "../core/limits.ts"
import type { NewRun } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import type { Column, Db } from "./db.ts"
import { enqueue, insertHeld, insertReady, insertTimers, newQueueRow } from "./queue.ts"

export type Refusals = (UnitResult | undefined)[]

/** What became of queue moves: limits to look at again, and the moments of timers that were set. */
export interface Moved {
  readonly keys: readonly string[]
  readonly timers: readonly number[]
}

/**
 * Looks at the events that carry a sender's id. Those that were there before, within the window, are duplicates of the first one: given
 * by unit. The same id with another name or data refuses its unit.
 */
export async function refuseByKeys(db: Db, units: readonly Unit[], results: Refusals, now: number): Promise<Map<number, Duplicates>> {
  const keyed = units.flatMap(({ changes }, i) =>
    changes.flatMap((change) => (change.kind === "event.add" && change.event.key !== null ? [{ i, event: change.event }] : [])),
  )
  const duplicates = new Map<number, Duplicates>()
  if (keyed.length === 0) return duplicates
  const known = await eventsByKey(
    db,
    keyed.map(({ event }) => event.key ?? ""),
    now,
  )
  for (const { i, event } of keyed) {
    if (results[i] !== undefined) continue
    const key = event.key ?? ""
    const first = known.get(key)
    if (first === undefined) known.set(key, event)
    else if (first.name === event.name && first.data === event.data)
      duplicates.set(i, { ...duplicates.get(i), [event.id]: { id: first.id, fanoutId: first.fanoutId } })
    else results[i] = { kind: "conflict", eventKey: key }
  }
  return duplicates
}

type KnownEvent = Pick<NewEvent, "id" | "name" | "data" | "fanoutId">

async function eventsByKey(db: Db, keys: readonly string[], now: number): Promise<Map<string, KnownEvent>> {
  const rows = await db.query<KnownEvent & { key: string }>(
    `select k.key, e.id, e.name, e.data, e.fanout_id as "fanoutId" from ${db.dialect.rows("$1", [["key", "text"]])} as j
       join event_key as k on k.key = j.key and k.expires_at > $2
       join event as e on e.id = k.event_id`,
    [JSON.stringify(keys.map((key) => [key])), now],
  )
  return new Map(rows.map((row) => [row.key, row]))
}

/** A unit without the events that are duplicates, and without their runs; what it remembers of its send names the first ones. */
export function withoutDuplicates(changes: readonly Change[], known: Duplicates): Change[] {
  const events = Object.keys(known).length
  const runs = changes.filter((change) => change.kind === "run.add" && change.run.eventId in known).length
  return changes.flatMap((change): Change[] => {
    if (change.kind === "event.add") return change.event.id in known ? [] : [change]
    if (change.kind === "run.add") return change.run.eventId in known ? [] : [change]
    if (change.kind === "fanout.grow") {
      return change.events === events ? [] : [{ ...change, events: change.events - events, runs: change.runs - runs }]
    }
    if (change.kind === "step.save" && change.step.kind === "send") return [{ ...change, step: withFirstIds(change.step, known) }]
    return [change]
  })
}

function withFirstIds(step: StepRecord, known: Duplicates): StepRecord {
  const kept = JSON.parse(step.output ?? "null") as { ids: string[] }
  return { ...step, output: JSON.stringify({ ...kept, ids: kept.ids.map((id) => known[id]?.id ?? id) }) }
}

const eventColumns: readonly Column[] = [
  ["id", "text"],
  ["key", "text"],
  ["name", "text"],
  ["data", "text"],
  ["ts", "bigint"],
  ["received_at", "bigint"],
  ["fanout_id", "text"],
  ["source_run_id", "text"],
]
const eventNames = eventColumns.map(([name]) => name).join(", ")

export function eventValues(e: NewEvent): readonly (string | number | null)[] {
  return [e.id, e.key, e.name, e.data, e.ts, e.receivedAt, e.fanoutId, e.sourceRunId]
}

async function insertEvents(db: Db, rows: string): Promise<void> {
  await db.execute(`insert into event (${eventNames}) select ${eventNames} from ${db.dialect.rows("$1", eventColumns)} as j where true`, [
    rows,
  ])
}

/** Rows that were written out beforehand, a piece at a time. Gives the limits under which some of them are held. */
export async function addRows(db: Db, changes: readonly ChangeOf<"rows.add">[]): Promise<readonly string[]> {
  for (const { events, runs, ready, held } of changes) {
    await insertEvents(db, events)
    if (runs !== "[]") await insertRuns(db, runs)
    if (ready !== "[]") await insertReady(db, ready)
    if (held !== "[]") await insertHeld(db, held)
  }
  return changes.flatMap(({ limitKeys }) => limitKeys)
}

export async function addEvents(db: Db, changes: readonly ChangeOf<"event.add">[], now: number): Promise<void> {
  if (changes.length === 0) return
  await insertEvents(db, JSON.stringify(changes.map(({ event }) => eventValues(event))))
  const keyed = changes.filter(({ event }) => event.key !== null)
  if (keyed.length === 0) return
  // An expired key is taken over; one that another connection took meanwhile is not, and the count tells.
  const taken = await db.execute(
    `insert into event_key (key, event_id, expires_at) select key, event_id, expires_at from ${db.dialect.rows("$1", [
      ["key", "text"],
      ["event_id", "text"],
      ["expires_at", "bigint"],
    ])} as j where true
       on conflict (key) do update set event_id = excluded.event_id, expires_at = excluded.expires_at where event_key.expires_at <= $2`,
    [JSON.stringify(keyed.map(({ event }) => [event.key, event.id, now + limits.eventIdWindowMs])), now],
  )
  if (taken !== keyed.length) throw new Error(`${keyed.length - taken} event ids were taken while this transaction ran`)
}

export async function addFanouts(db: Db, changes: readonly ChangeOf<"fanout.grow">[]): Promise<void> {
  for (const change of changes) {
    await db.execute(
      `insert into fanout (id, run_id, name, events, total, completed, failed, cancelled, created_at, sealed_at)
         values ($1, $2, $3, $4, $5, 0, 0, 0, $6, $7)
         on conflict (id) do update set
           events = fanout.events + excluded.events, total = fanout.total + excluded.total, sealed_at = excluded.sealed_at`,
      [change.id, change.runId, change.name, change.events, change.runs, change.at, change.sealed ? change.at : null],
    )
  }
}

const runColumns: readonly Column[] = [
  ["id", "text"],
  ["function_id", "text"],
  ["event_id", "text"],
  ["fanout_id", "text"],
  ["parent_id", "text"],
  ["created_at", "bigint"],
  ["rank", "bigint"],
]
const runNames = runColumns.map(([name]) => name).join(", ")

export function runValues(run: NewRun): readonly (string | number | null)[] {
  return [run.id, run.functionId, run.eventId, run.fanoutId, run.parentId, run.createdAt, run.dueAt]
}

async function insertRuns(db: Db, rows: string): Promise<void> {
  await db.execute(`insert into run (${runNames}) select ${runNames} from ${db.dialect.rows("$1", runColumns)} as j where true`, [rows])
}

/** New runs: the row that stays, and their place in a queue. */
export async function addRuns(db: Db, changes: readonly ChangeOf<"run.add">[], now: number): Promise<Moved> {
  if (changes.length === 0) return { keys: [], timers: [] }
  const runs = changes.map(({ run }) => run)
  await insertRuns(db, JSON.stringify(runs.map(runValues)))
  const later = runs.filter(({ dueAt }) => dueAt > now)
  const due = runs.filter(({ dueAt }) => dueAt <= now)
  await insertTimers(
    db,
    later.map((run) => ({ dueAt: run.dueAt, state: "scheduled", row: newQueueRow(run) })),
  )
  await enqueue(db, due.map(newQueueRow))
  return { keys: due.flatMap((run) => run.limits.map(({ key }) => key)), timers: later.map(({ dueAt }) => dueAt) }
}

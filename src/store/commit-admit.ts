import { gated } from "../core/admit.ts"
import type { Change, ChangeOf, Duplicates, NewEvent, Unit, UnitResult } from "../core/change.ts"
import { limits } from "../core/limits.ts"
import type { NewRun } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import { type Column, Conflict, type Db, together } from "./db.ts"
import {
  addLines,
  encodeLimits,
  enqueue,
  insertReadyRows,
  insertTimers,
  type Moved,
  newQueueRow,
  nothingMoved,
  readQueueValues,
} from "./queue.ts"
import { insertRows, type Values } from "./row-list.ts"

export type Refusals = (UnitResult | undefined)[]

/** Events that are known by their sender's id. */
export type KnownEvents = Map<string, KnownEvent>
type KnownEvent = Pick<NewEvent, "id" | "name" | "data" | "fanoutId">

/** The events that were there before, within the window, of all whose sender's ids the units name. */
export async function eventsByKey(db: Db, units: readonly Unit[], now: number): Promise<KnownEvents> {
  const keys = units.flatMap(({ changes }) => keyedEvents(changes).map(({ key }) => [key]))
  if (keys.length === 0) return new Map()
  const rows = await db.query<KnownEvent & { key: string }>(
    `select k.key, e.id, e.name, e.data, e.fanout_id as "fanoutId" from ${db.dialect.rows("$1", [["key", "text"]])} as j
       join event_key as k on k.key = j.key and k.expires_at > $2
       join event as e on e.id = k.event_id`,
    [JSON.stringify(keys), now],
  )
  return new Map(rows.map((row) => [row.key, row]))
}

/**
 * Looks at the events that carry a sender's id. Those that were there before are duplicates of the first one: given by unit. The same
 * id with another name or data refuses its unit.
 * @param known grows by the events of these units
 */
export function refuseByKeys(units: readonly Unit[], results: Refusals, known: KnownEvents): Map<number, Duplicates> {
  const duplicates = new Map<number, Duplicates>()
  for (const [i, { changes, firstWins }] of units.entries()) {
    for (const event of keyedEvents(changes)) {
      if (results[i] !== undefined) break
      const first = known.get(event.key)
      if (first === undefined) known.set(event.key, event)
      else if (firstWins === true || (first.name === event.name && first.data === event.data))
        duplicates.set(i, { ...duplicates.get(i), [event.id]: { id: first.id, fanoutId: first.fanoutId } })
      else results[i] = { kind: "conflict", eventKey: event.key }
    }
  }
  return duplicates
}

function keyedEvents(changes: readonly Change[]): (NewEvent & { key: string })[] {
  return changes.flatMap((change) => {
    if (change.kind !== "event.add") return []
    const { key } = change.event
    return key === null ? [] : [{ ...change.event, key }]
  })
}

/**
 * A unit without the events that are duplicates, and without their runs; what it remembers of its send names the first ones. Of a fan-out with
 * a canary other runs may be the first ones now.
 */
export function withoutDuplicates(changes: readonly Change[], known: Duplicates): Change[] {
  const events = Object.keys(known).length
  const part = changes.find((change) => change.kind === "fanout.grow")
  const isKept = changes.some((change) => change.kind === "step.save")
  const dropped = new Set(changes.flatMap((change) => (change.kind === "run.add" && change.run.eventId in known ? [change.run.id] : [])))
  let place = part?.runsBefore ?? 0
  return changes.flatMap((change): Change[] => {
    if (change.kind === "event.add") return change.event.id in known ? [] : [change]
    if (change.kind === "wait.offer") return change.eventId !== null && change.eventId in known ? [] : [change]
    if (change.kind === "wait.add") return dropped.has(change.runId) ? [] : [change]
    if (change.kind === "run.add") {
      return change.run.eventId in known ? [] : [{ ...change, run: gated(change.run, part?.rules ?? null, place++) }]
    }
    if (change.kind === "fanout.grow") {
      // The same send once more, unless a step is to keep it, is the first one, not another fan-out.
      const again = change.events === events && !isKept && change.key === null && change.from === 0 && change.sealed
      return again ? [] : [{ ...change, events: change.events - events, runs: change.runs - dropped.size }]
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

export function eventValues(e: NewEvent): Values {
  return [e.id, e.key, e.name, e.data, e.ts, e.receivedAt, e.fanoutId, e.sourceRunId]
}

/** The same, where at least one of the rows has a trace: most stores have none, and pay nothing for it. */
export function tracedValues(e: NewEvent): readonly (string | number | null)[] {
  return [...eventValues(e), e.trace ?? null]
}
const tracedColumns: readonly Column[] = [...eventColumns, ["trace", "text"]]

/** Rows that were written out beforehand, a piece at a time. */
export async function addPacked(db: Db, changes: readonly ChangeOf<"rows.add">[]): Promise<Moved> {
  await together(
    changes.flatMap(({ events, traced, runs, ready }) => [
      insertRows(db, "event", traced ? tracedColumns : eventColumns, events),
      ...(runs === "[]" ? [] : [insertRuns(db, runs)]),
      ...(ready === "[]" ? [] : [insertReadyRows(db, ready)]),
    ]),
  )
  const arrivals = changes.flatMap(({ limited }) => (limited === "[]" ? [] : readQueueValues(limited)))
  return { ...nothingMoved, arrivals, lines: addLines(changes.map(({ lines }) => new Map(lines))) }
}

export async function addEvents(db: Db, changes: readonly ChangeOf<"event.add">[], now: number): Promise<void> {
  if (changes.length === 0) return
  const keyed = changes
    .filter(({ event }) => event.key !== null)
    .toSorted(({ event: a }, { event: b }) => ((a.key ?? "") < (b.key ?? "") ? -1 : 1))
  const traced = changes.some(({ event }) => event.trace != null)
  const rows = changes.map(({ event }) => (traced ? tracedValues : eventValues)(event))
  await together([insertRows(db, "event", traced ? tracedColumns : eventColumns, rows), takeKeys(db, keyed, now)])
}

/** In the order of the keys, so that two nodes never wait for each other. */
async function takeKeys(db: Db, keyed: readonly ChangeOf<"event.add">[], now: number): Promise<void> {
  if (keyed.length === 0) return
  // An expired key is taken over; one that another connection took meanwhile is not, and the count tells.
  const taken = await db.query(
    `insert into event_key (key, event_id, expires_at) select key, event_id, expires_at from ${db.dialect.rows("$1", [
      ["key", "text"],
      ["event_id", "text"],
      ["expires_at", "bigint"],
    ])} as j where true
       on conflict (key) do update set event_id = excluded.event_id, expires_at = excluded.expires_at where event_key.expires_at <= $2 returning key`,
    [JSON.stringify(keyed.map(({ event }) => [event.key, event.id, now + limits.eventIdWindowMs])), now],
  )
  if (taken.length !== keyed.length) throw new Conflict(`${keyed.length - taken.length} event ids were taken while this transaction ran`)
}

const runColumns: readonly Column[] = [
  ["id", "text"],
  ["function_id", "text"],
  ["event_id", "text"],
  ["fanout_id", "text"],
  ["parent_id", "text"],
  ["created_at", "bigint"],
  ["rank", "bigint"],
  ["limits", "text"],
]

export function runValues(run: NewRun): Values {
  return [run.id, run.functionId, run.eventId, run.fanoutId, run.parentId, run.createdAt, run.rank ?? run.dueAt, encodeLimits(run.limits)]
}

/** @param rows of `runValues`, or their JSON */
export function insertRuns(db: Db, rows: readonly Values[] | string): Promise<void> {
  return insertRows(db, "run", runColumns, rows)
}

/** The events of batches, for new runs. */
export async function copyBatches(db: Db, copies: readonly { readonly runId: string; readonly from: string }[]): Promise<void> {
  if (copies.length === 0) return
  await db.execute(
    `insert into batched (run_id, event_id) select j.id, b.event_id from ${db.dialect.rows("$1", [
      ["id", "text"],
      ["old", "text"],
    ])} as j join batched as b on b.run_id = j.old`,
    [JSON.stringify(copies.map(({ runId, from }) => [runId, from]))],
  )
}

/** New runs about which nothing is left to decide: the row that stays, and their place in a queue. */
export async function addRuns(db: Db, runs: readonly NewRun[], now: number): Promise<Moved> {
  if (runs.length === 0) return nothingMoved
  const later = runs.filter(({ dueAt }) => dueAt > now)
  const due = runs.filter(({ dueAt }) => dueAt <= now)
  const [, , { lines, arrivals }] = await together([
    insertRuns(db, runs.map(runValues)),
    insertTimers(
      db,
      later.map((run) => ({ dueAt: run.dueAt, state: "scheduled", row: newQueueRow(run) })),
    ),
    enqueue(db, due.map(newQueueRow)),
  ])
  return { freed: [], arrivals, timers: later.map(({ dueAt }) => dueAt), lines }
}

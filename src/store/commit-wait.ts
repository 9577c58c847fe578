import type { ChangeOf, Unit } from "../core/change.ts"
import { compilePairCondition, type ExpressionEvent } from "../core/expression.ts"
import type { Offer, WaitKind, WaitOutcome } from "../core/wait.ts"
import { type Column, type Db, together } from "./db.ts"
import { enqueue, type Moved, nothingMoved, queueNames, type StoredQueueRow, toQueueRow } from "./queue.ts"

/** An offer, and the number of the unit that makes it. */
export interface UnitOffer {
  readonly unit: number
  readonly offer: Offer
}

/** A run that parks, and the steps of it that wait for something other than a time. */
export interface Park {
  readonly runId: string
  readonly keys: readonly string[]
}

export interface WaitsEnded {
  /** What stands in line again. */
  readonly moved: Woke
  /** Runs that are to be cancelled. */
  readonly doomed: readonly Doomed[]
  /** By unit: the runs that its offers reached. */
  readonly delivered: ReadonlyMap<number, readonly string[]>
}

/** Parked runs that stand in line again. */
export interface Woke extends Moved {
  readonly count: number
}

const nobody: Woke = { ...nothingMoved, count: 0 }

interface WaitRow {
  run_id: string
  step_key: string
  kind: WaitKind
  topic: string
  key: string
  condition: string | null
}

const waitColumns: readonly Column[] = [
  ["run_id", "text"],
  ["step_key", "text"],
  ["kind", "text"],
  ["topic", "text"],
  ["key", "text"],
  ["condition", "text"],
  ["need", "bigint"],
  ["due_at", "bigint"],
]
const waitNames = waitColumns.map(([name]) => name).join(", ")
const places: readonly Column[] = [
  ["run_id", "text"],
  ["step_key", "text"],
]

const listed = (rows: readonly Pick<WaitRow, "run_id" | "step_key">[]): string =>
  JSON.stringify(rows.map(({ run_id, step_key }) => [run_id, step_key]))
const here = (db: Db): string => `(select run_id, step_key from ${db.dialect.rows("$1", places)} as j)`

/** A wait that is there stays as it is: a run that parks again goes on waiting. One that has ended does not begin again. */
export async function addWaits(db: Db, changes: readonly ChangeOf<"wait.add">[], now: number): Promise<Woke> {
  if (changes.length === 0) return nobody
  const moved = await replaceSignals(db, changes, now)
  await insertWaits(
    db,
    changes.map(({ runId, wait: w }) => [runId, w.stepKey, w.kind, w.topic, w.key, w.condition, w.fence ?? null, w.dueAt]),
  )
  return moved
}

/** @param rows values of `waitColumns` */
export async function insertWaits(db: Db, rows: readonly (readonly (string | number | null)[])[]): Promise<void> {
  await db.execute(
    `insert into wait (${waitNames}) select ${waitNames} from ${db.dialect.rows("$1", waitColumns)} as j
       where not exists (select 1 from step as s where s.run_id = j.run_id and s.key = j.step_key and s.state <> 'waiting')
       on conflict (run_id, step_key) do nothing`,
    [JSON.stringify(rows)],
  )
}

/** Whoever waited for the same signal has lost it: its step fails. */
async function replaceSignals(db: Db, changes: readonly ChangeOf<"wait.add">[], now: number): Promise<Woke> {
  const taking = changes.filter(({ wait }) => wait.replace === true)
  if (taking.length === 0) return nobody
  const gone = await db.query<WaitRow>(
    `delete from wait where kind = 'signal' and (run_id, step_key) in (select w.run_id, w.step_key from ${db.dialect.rows("$1", [
      ["run_id", "text"],
      ["topic", "text"],
    ])} as j join wait as w on w.topic = j.topic and w.run_id <> j.run_id) returning run_id, step_key, topic`,
    [JSON.stringify(taking.map(({ runId, wait }) => [runId, wait.topic]))],
  )
  const failure = JSON.stringify({ name: "SignalReplaced", message: "another run waits for this signal now" })
  return giveOutcomes(
    db,
    gone.map((row) => ({ row, outcome: { state: "failed", failure } })),
    now,
  )
}

/** The units, by number, whose signal another run waits for, and that run. */
export async function takenSignals(db: Db, units: readonly Unit[]): Promise<Map<number, string>> {
  const wanted = units.flatMap(({ changes }, i) =>
    changes.flatMap((change) =>
      change.kind === "wait.add" && change.wait.kind === "signal" && change.wait.replace !== true
        ? [[i, change.runId, change.wait.topic] as const]
        : [],
    ),
  )
  if (wanted.length === 0) return new Map()
  const rows = await db.query<{ i: number; run_id: string }>(
    `select j.i, w.run_id from ${db.dialect.rows("$1", [
      ["i", "bigint"],
      ["run_id", "text"],
      ["topic", "text"],
    ])} as j join wait as w on w.topic = j.topic where w.kind = 'signal' and w.run_id <> j.run_id`,
    [JSON.stringify(wanted)],
  )
  const taken = new Map(rows.map(({ i, run_id }) => [i, run_id]))
  // Two that ask in the same turn: the first one has it.
  const first = new Map<string, string>()
  for (const [i, runId, topic] of wanted) {
    const other = first.get(topic)
    if (other === undefined) first.set(topic, runId)
    else if (other !== runId && !taken.has(i)) taken.set(i, other)
  }
  return taken
}

/**
 * Ends waits that the offers fit, each once, and those of runs that have ended; and wakes runs that park though one of their waits has ended
 * meanwhile. All rows that this looks at are locked first, in one order, so that of an event, a timeout and a run that parks one comes after
 * the other. The names are locked before.
 * @param over runs that have ended
 */
export async function endWaits(
  db: Db,
  offers: readonly UnitOffer[],
  parks: readonly Park[],
  over: readonly string[],
  now: number,
): Promise<WaitsEnded> {
  const alone = offers.length === 0 && parks.length === 0
  if (alone || !db.dialect.concurrent) await dropWaits(db, over)
  if (alone) return nothing
  const gone = new Set(over)
  const found = await lockWaits(db, offers, parks, db.dialect.concurrent ? over : [])
  const rows = found.filter(({ run_id }) => !gone.has(run_id))
  const events = await eventsOf(db, rows)
  const matched = rows.flatMap((row) => {
    const fit = offers.find(({ offer }) => fits(row, offer, events.get(row.run_id)))
    return fit === undefined ? [] : [{ row, unit: fit.unit, outcome: fit.offer.outcome, offer: fit.offer }]
  })
  const left = new Set(rows.map(({ run_id, step_key }) => JSON.stringify([run_id, step_key])))
  for (const { row } of matched) left.delete(JSON.stringify([row.run_id, row.step_key]))
  const early = parks.filter(({ runId, keys }) => keys.some((key) => !left.has(JSON.stringify([runId, key]))))
  const steps = matched.filter(({ row }) => row.kind !== "cancel")
  const cancels = matched.filter(({ row }) => row.kind === "cancel")
  const spent = [...matched.map(({ row }) => row), ...found.filter(({ run_id }) => gone.has(run_id))]
  if (spent.length > 0) await db.execute(`delete from wait where (run_id, step_key) in ${here(db)}`, [listed(spent)])
  const moved = await giveOutcomes(db, steps, now, early)
  const delivered = Map.groupBy(matched, ({ unit }) => unit)
  return {
    moved,
    doomed: cancels.map(({ row, offer }) => ({
      runId: row.run_id,
      reason: `the event ${offer.event?.name ?? ""} ${offer.event?.id ?? ""} came`,
      below: null,
    })),
    delivered: new Map(Array.from(delivered, ([unit, all]) => [unit, all.map(({ row }) => row.run_id)])),
  }
}

const nothing: WaitsEnded = { moved: nobody, doomed: [], delivered: new Map() }

/**
 * Of a transaction that adds a wait for a name and one that brings an event of that name, on two connections at once, the second
 * begins when the first has ended: it then sees what that one did.
 */
export async function lockNames(db: Db, adds: readonly ChangeOf<"wait.add">[], offers: readonly UnitOffer[]): Promise<void> {
  if (!db.dialect.concurrent) return
  const topics = new Set<string>()
  for (const { wait } of adds) if (wait.topic.startsWith(eventPrefix)) topics.add(wait.topic)
  const adding = topics.size
  for (const { offer } of offers) if (offer.topic.startsWith(eventPrefix)) topics.add(offer.topic)
  if (topics.size === 0) return
  const names = [...topics].map((topic) => topic.slice(eventPrefix.length)).toSorted()
  await db.query(
    `select name from watched where name in (select name from ${db.dialect.rows("$1", [["name", "text"]])} as j) order by name, path
       ${offers.length === 0 && adding > 0 ? db.dialect.shareRows : db.dialect.lockRows}`,
    [JSON.stringify(names.map((name) => [name]))],
  )
}

const eventPrefix = "event:"

async function lockWaits(db: Db, offers: readonly UnitOffer[], parks: readonly Park[], over: readonly string[]): Promise<WaitRow[]> {
  const offered = new Set(offers.flatMap(({ offer }) => offer.keys.map((key) => JSON.stringify([offer.topic, key]))))
  const parked = parks.flatMap(({ runId, keys }) => keys.map((key) => [runId, key]))
  const byOffer = (param: string): string =>
    `select w.run_id, w.step_key from ${db.dialect.rows(param, [
      ["topic", "text"],
      ["key", "text"],
    ])} as o join wait as w on w.topic = o.topic and w.key = o.key`
  const byPark = (param: string): string => `select run_id, step_key from ${db.dialect.rows(param, places)} as p`
  const byRun = (param: string): string =>
    `select w.run_id, w.step_key from ${db.dialect.rows(param, [["run_id", "text"]])} as r join wait as w on w.run_id = r.run_id`
  const sources: string[] = []
  const params: string[] = []
  if (offered.size > 0) sources.push(byOffer(`$${params.push(`[${[...offered].join(",")}]`)}`))
  if (parked.length > 0) sources.push(byPark(`$${params.push(JSON.stringify(parked))}`))
  if (over.length > 0) sources.push(byRun(`$${params.push(JSON.stringify(over.map((id) => [id])))}`))
  if (sources.length === 0) return []
  return db.query<WaitRow>(
    `select run_id, step_key, kind, topic, key, condition from wait where (run_id, step_key) in (${sources.join(" union ")})
       order by run_id, step_key ${db.dialect.lockRows}`,
    params,
  )
}

/** The events that started the runs whose waits have a condition. */
async function eventsOf(db: Db, rows: readonly WaitRow[]): Promise<Map<string, ExpressionEvent>> {
  const conditional = new Set(rows.filter(({ condition }) => condition !== null).map(({ run_id }) => run_id))
  if (conditional.size === 0) return new Map()
  const found = await db.query<{ run_id: string; id: string; key: string | null; name: string; data: string; ts: number }>(
    `select r.id as run_id, e.id, e.key, e.name, e.data, e.ts from ${db.dialect.rows("$1", [["run_id", "text"]])} as j
       join run as r on r.id = j.run_id join event as e on e.id = r.event_id`,
    [JSON.stringify([...conditional].map((id) => [id]))],
  )
  return new Map(
    found.map(({ run_id, id, key, name, data, ts }) => [
      run_id,
      { id: key ?? id, name, data: JSON.parse(data) as unknown, ts: Number(ts) },
    ]),
  )
}

function fits(row: WaitRow, offer: Offer, own: ExpressionEvent | undefined): boolean {
  if (row.topic !== offer.topic || !offer.keys.includes(row.key)) return false
  if (offer.runId !== null && offer.runId !== row.run_id) return false
  if (row.condition === null) return true
  return own !== undefined && offer.event !== null && compilePairCondition(row.condition, "if", "invalid_step").holds(own, offer.event)
}

/** Steps get what they waited for, and their runs, if they are parked, stand in line again at once; so do the runs of `early`. */
export async function giveOutcomes(
  db: Db,
  given: readonly { readonly row: Pick<WaitRow, "run_id" | "step_key">; readonly outcome: WaitOutcome }[],
  now: number,
  early: readonly Park[] = [],
): Promise<Woke> {
  const wake = [...new Set([...given.map(({ row }) => row.run_id), ...early.map(({ runId }) => runId)])].toSorted()
  if (wake.length === 0) return nobody
  const [, due] = await together([
    given.length === 0
      ? Promise.resolve(0)
      : db.execute(
          `update step set state = j.state, output = j.output, failure = j.failure, due_at = null, ended_at = $2 from ${db.dialect.rows(
            "$1",
            [
              ["run_id", "text"],
              ["step_key", "text"],
              ["state", "text"],
              ["output", "text"],
              ["failure", "text"],
            ],
          )} as j where step.run_id = j.run_id and step.key = j.step_key and step.state = 'waiting'`,
          [
            JSON.stringify(
              given.map(({ row, outcome }) => [
                row.run_id,
                row.step_key,
                outcome.state,
                outcome.state === "completed" ? outcome.output : null,
                outcome.state === "failed" ? outcome.failure : null,
              ]),
            ),
            now,
          ],
        ),
    db.query<StoredQueueRow>(
      `delete from timer where state = 'waiting' and run_id in (select run_id from ${db.dialect.rows("$1", [["run_id", "text"]])} as j)
         returning ${queueNames}`,
      [JSON.stringify(wake.map((id) => [id]))],
    ),
  ])
  const rows = due.map(toQueueRow)
  return { ...nothingMoved, ...(await enqueue(db, rows)), count: rows.length }
}

export interface Doomed {
  readonly runId: string
  readonly reason: string
  /** Only while its fence is lower; null: wherever it stands. */
  readonly below: number | null
}

/**
 * Runs that are to be cancelled: it is done next, in a transaction of its own. Comes after the limits in the order of locks: whoever cancels
 * such a run takes its row away there.
 */
export async function doom(db: Db, doomed: readonly Doomed[]): Promise<void> {
  if (doomed.length === 0) return
  await db.execute(
    `insert into doomed (run_id, reason, unbegun) select run_id, reason, unbegun from ${db.dialect.rows("$1", [
      ["run_id", "text"],
      ["reason", "text"],
      ["unbegun", "bigint"],
    ])} as j where true on conflict (run_id) do nothing`,
    [
      JSON.stringify(
        doomed.toSorted((a, b) => (a.runId < b.runId ? -1 : 1)).map(({ runId, reason, below }) => [runId, reason, below ?? 0]),
      ),
    ],
  )
}

/** The waits of runs that have ended. */
export async function dropWaits(db: Db, runIds: readonly string[]): Promise<void> {
  if (runIds.length === 0) return
  await db.execute(`delete from wait where run_id in (select run_id from ${db.dialect.rows("$1", [["run_id", "text"]])} as j)`, [
    JSON.stringify(runIds.toSorted().map((id) => [id])),
  ])
}

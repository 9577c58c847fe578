import type { ChangeOf } from "../core/change.ts"
import { decideEntries, type EndedAtOnce, type EntryDecisions, type EntryFacts } from "../core/entries.ts"
import type { Entry, Pending } from "../core/entry.ts"
import type { FinalState, LimitClaim, NewRun } from "../core/run.ts"
import type { Failure } from "../core/failure.ts"
import { fingerprintOf } from "../core/fingerprint.ts"
import { addRuns, insertRuns, runValues } from "./commit-admit.ts"
import { type Column, Conflict, type Db, together } from "./db.ts"
import { keyColumn } from "./limiter.ts"
import { type Doomed, dropWaits } from "./commit-wait.ts"
import {
  deleteSlots,
  insertFirstSlots,
  type Moved,
  newQueueRow,
  nothingMoved,
  type QueueRow,
  queueNames,
  type StoredQueueRow,
  toQueueRow,
} from "./queue.ts"

export interface Entered {
  readonly moved: Moved
  /** Ends to be counted in their fan-outs. */
  readonly ended: readonly ChangeOf<"run.settle">[]
  /** Runs that are not needed, since their events joined a batch: by fan-out, how many fewer there are. */
  readonly fewer: ReadonlyMap<string, number>
  /** Runs that are to be cancelled. */
  readonly doomed: readonly Doomed[]
  /** Runs that are not needed, or have ended already: nothing is to be cancelled any more. */
  readonly over: ReadonlySet<string>
}

export const nothingEntered: Entered = { moved: nothingMoved, ended: [], fewer: new Map(), doomed: [], over: new Set() }

/** New runs about which other runs of their keys have a say. Under the locks of these keys, which the caller has. */
export async function addEntering(db: Db, runs: readonly NewRun[], now: number): Promise<Entered> {
  const entries = runs.flatMap((run) => (run.entries ?? []).filter((entry) => entry.kind !== "refuse"))
  const decisions = decideEntries(runs, await factsOf(db, entries, [...new Set(entries.map(({ key }) => key))]), now)
  const { added, ended, joined, full, replaced, doomed } = decisions
  const over = [...ended, ...joined].map(({ run }) => run.id)
  await expectFreeWaits(
    db,
    replaced.map(({ runId }) => runId),
  )
  // Those that end make room for those that begin.
  const skipped = await endWaiting(db, replaced, now)
  const [moved] = await together([
    addRuns(db, added, now),
    insertFirstSlots(
      db,
      added.map(({ id, limits }) => ({ runId: id, limits })),
    ),
    recordEnded(db, ended, now),
    dropWaits(db, [...over, ...replaced.map(({ runId }) => runId)]),
    join(db, joined),
    startFull(db, full, now),
    remember(db, decisions),
  ])
  const fewer = new Map<string, number>()
  for (const { run } of joined) if (run.fanoutId !== null) fewer.set(run.fanoutId, (fewer.get(run.fanoutId) ?? 0) + 1)
  return {
    moved: {
      ...moved,
      freed: skipped.freed,
      timers: full.length === 0 ? moved.timers : [...moved.timers, now],
    },
    ended: [...ended.map(({ run, state }) => endedBy(newQueueRow(run), run.fanoutId, state, now)), ...skipped.ended],
    fewer,
    doomed: doomed.map((each) => ({ ...each, below: null })),
    over: new Set([...over, ...replaced.map(({ runId }) => runId)]),
  }
}

/** The limits whose rows decide about new runs, and those whose room such runs may take. */
export function entryKeys(runs: readonly NewRun[]): string[] {
  return runs.flatMap(({ entries = [], limits: claims }) => [
    ...entries.flatMap((entry) => (entry.kind === "refuse" ? [] : [entry.key])),
    ...claims.map(({ key }) => key),
  ])
}

/** Waits come before limits in the order of locks: of runs that turn up only now, somebody who has one may be waiting for us. */
async function expectFreeWaits(db: Db, runIds: readonly string[]): Promise<void> {
  if (!db.dialect.concurrent || runIds.length === 0) return
  const list = JSON.stringify(runIds.map((id) => [id]))
  const these = `from wait where run_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`
  const [locked, all] = await together([
    db.query(`select run_id, step_key ${these} order by run_id, step_key ${db.dialect.skipLocked}`, [list]),
    db.query(`select 1 ${these}`, [list]),
  ])
  if (locked.length < all.length) throw new Conflict("a run was cancelled while a later event took its place")
}

/**
 * What is known of the keys. A run that stands in timers, and then still has its place under the key, waits for more events. One whose timer
 * somebody else has locked is being taken away, and does not.
 */
async function factsOf(db: Db, entries: readonly Exclude<Entry, { kind: "refuse" }>[], keys: readonly string[]): Promise<EntryFacts> {
  if (keys.length === 0) return { rates: new Map(), pending: new Map(), open: new Map() }
  const list = JSON.stringify(keys.map((key) => [key]))
  const these = `(select key from ${db.dialect.rows("$1", keyColumn)} as j)`
  const rows = await db.query<{ key: string; rate: number | null; pending: string | null }>(
    `select key, rate, pending from limiter where key in ${these}`,
    [list],
  )
  const pending = rows.flatMap(({ key, pending: text }) => (text === null ? [] : [{ key, ...(JSON.parse(text) as Pending) }]))
  const waiting = await waitingRuns(
    db,
    pending.map(({ runId }) => runId),
  )
  const slots = await db.query<{ limit_key: string; run_id: string }>(`select limit_key, run_id from slot where limit_key in ${these}`, [
    list,
  ])
  const holder = new Map(slots.map(({ limit_key, run_id }) => [limit_key, run_id]))
  const singletons = new Set(entries.filter(({ kind }) => kind === "singleton").map(({ key }) => key))
  // Those that wait for the place of one that is being cancelled have not ended either.
  const queued =
    singletons.size === 0
      ? []
      : await db.query<{ limit_key: string; run_id: string }>(`select limit_key, run_id from held where limit_key in ${these}`, [
          JSON.stringify([...singletons].map((key) => [key])),
        ])
  const open = Map.groupBy(
    [...slots, ...queued].filter(({ limit_key }) => singletons.has(limit_key)),
    ({ limit_key }) => limit_key,
  )
  return {
    rates: new Map(rows.map(({ key, rate }) => [key, rate])),
    pending: new Map(
      pending.filter(({ key, runId }) => waiting.has(runId) && holder.get(key) === runId).map(({ key, ...each }) => [key, each]),
    ),
    open: new Map(Array.from(open, ([key, places]) => [key, places.map(({ run_id }) => run_id)])),
  }
}

async function waitingRuns(db: Db, runIds: readonly string[]): Promise<Set<string>> {
  if (runIds.length === 0) return new Set()
  const rows = await db.query<{ run_id: string }>(
    `select run_id from timer where run_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j) order by run_id ${db.dialect.skipLocked}`,
    [JSON.stringify(runIds.map((id) => [id]))],
  )
  return new Set(rows.map(({ run_id }) => run_id))
}

/** Runs that wait for more events, and end instead: their timers are locked. */
async function endWaiting(
  db: Db,
  runs: EntryDecisions["replaced"],
  now: number,
): Promise<{ readonly freed: readonly LimitClaim[]; readonly ended: ChangeOf<"run.settle">[] }> {
  if (runs.length === 0) return { freed: [], ended: [] }
  const reasons = new Map(runs.map(({ runId, reason }) => [runId, reason]))
  const taken = await db.query<StoredQueueRow & { fanout_id: string | null }>(
    `delete from timer where run_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)
       returning ${queueNames}, (select run.fanout_id from run where run.id = timer.run_id) as fanout_id`,
    [JSON.stringify(runs.map(({ runId }) => [runId]))],
  )
  const rows = taken.map((row) => ({ row: toQueueRow(row), fanoutId: row.fanout_id }))
  await together([
    deleteSlots(
      db,
      rows.map(({ row }) => row),
    ),
    insertEnds(
      db,
      rows.map(({ row }) => ({ runId: row.runId, state: "skipped", reason: reasons.get(row.runId) ?? null, failure: null })),
      now,
    ),
  ])
  return {
    // It had begun to count against nothing else.
    freed: rows.flatMap(({ row }) => row.limits.filter(({ hold }) => hold === "taken")),
    ended: rows.map(({ row, fanoutId }) => endedBy(row, fanoutId, "skipped", now)),
  }
}

/** How runs end that never began. */
interface RunEnd {
  readonly runId: string
  readonly state: FinalState
  readonly reason: string | null
  readonly failure: Failure | null
}

async function insertEnds(db: Db, ends: readonly RunEnd[], now: number): Promise<void> {
  if (ends.length === 0) return
  await db.execute(
    `insert into result (run_id, state, attempt, reason, failure, fingerprint, started_at, ended_at)
       select run_id, state, 0, reason, failure, fingerprint, $2, $2 from ${db.dialect.rows("$1", [
         ["run_id", "text"],
         ["state", "text"],
         ["reason", "text"],
         ["failure", "text"],
         ["fingerprint", "text"],
       ])} as j where true`,
    [
      JSON.stringify(
        ends.map(({ runId, state, reason, failure }) => [
          runId,
          state,
          reason,
          failure === null ? null : JSON.stringify(failure),
          failure === null ? null : fingerprintOf(failure),
        ]),
      ),
      now,
    ],
  )
}

/** The end of a run, as the counts of its fan-out take it. */
function endedBy(
  { runId, functionId, fence, rank, limits, attempt }: QueueRow,
  fanoutId: string | null,
  to: FinalState,
  now: number,
): ChangeOf<"run.settle"> {
  const run = { id: runId, functionId, fence, rank, fanoutId, limits }
  return { kind: "run.settle", run, attempt, startedAt: now, endedAt: now, settlement: { to, output: null, failure: null } }
}

async function recordEnded(db: Db, ended: readonly EndedAtOnce[], now: number): Promise<void> {
  if (ended.length === 0) return
  await insertRuns(db, JSON.stringify(ended.map(({ run }) => runValues(run))))
  await insertEnds(
    db,
    ended.map(({ run, state, reason }) => ({
      runId: run.id,
      state,
      reason: state === "failed" ? null : reason,
      failure: state === "failed" ? { name: "FlowError", message: reason } : null,
    })),
    now,
  )
}

async function join(db: Db, joined: EntryDecisions["joined"]): Promise<void> {
  if (joined.length === 0) return
  await db.execute(
    `insert into batched (run_id, event_id) select run_id, event_id from ${db.dialect.rows("$1", [
      ["run_id", "text"],
      ["event_id", "text"],
    ])} as j where true`,
    [JSON.stringify(joined.map(({ runId, run }) => [runId, run.eventId]))],
  )
}

/** Batches that have all they can take: they are due now, and what comes from now on begins another. */
async function startFull(db: Db, full: EntryDecisions["full"], now: number): Promise<void> {
  if (full.length === 0) return
  const runs = JSON.stringify(full.map(({ runId }) => [runId]))
  await together([
    db.execute(`update timer set due_at = $2 where run_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`, [
      runs,
      now,
    ]),
    db.execute(
      `delete from slot where (limit_key, run_id) in (select limit_key, run_id from ${db.dialect.rows("$1", [
        ["limit_key", "text"],
        ["run_id", "text"],
      ])} as j)`,
      [JSON.stringify(full.map(({ key, runId }) => [key, runId]))],
    ),
  ])
}

const rateColumns: readonly Column[] = [
  ["key", "text"],
  ["rate", "bigint"],
  ["keep_until", "bigint"],
]

async function remember(db: Db, { rates, pending }: EntryDecisions): Promise<void> {
  const sorted = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].toSorted(([a], [b]) => (a < b ? -1 : 1))
  if (rates.size > 0) {
    await db.execute(
      `insert into limiter (key, rate, keep_until) select key, rate, keep_until from ${db.dialect.rows("$1", rateColumns)} as j where true
         on conflict (key) do update set rate = excluded.rate, keep_until = excluded.keep_until`,
      [JSON.stringify(sorted(rates).map(([key, rate]) => [key, rate, Math.ceil((rate ?? 0) / 1_000)]))],
    )
  }
  if (pending.size > 0) {
    await db.execute(
      `insert into limiter (key, pending, keep_until) select key, pending, keep_until from ${db.dialect.rows("$1", [
        ["key", "text"],
        ["pending", "text"],
        ["keep_until", "bigint"],
      ])} as j where true on conflict (key) do update set pending = excluded.pending`,
      [JSON.stringify(sorted(pending).map(([key, each]) => [key, each === null ? null : JSON.stringify(each), 0]))],
    )
  }
}

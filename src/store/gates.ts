import type { ChangeOf } from "../core/change.ts"
import { decideGates, type EndedAtOnce, type GateDecisions, type GateFacts } from "../core/gatekeeper.ts"
import type { Gate, Pending } from "../core/gate.ts"
import type { NewRun } from "../core/run.ts"
import { cancelRuns, endedBy, insertEnds } from "./cancel.ts"
import { addRuns, insertRuns, runValues } from "./commit-admit.ts"
import { type Column, type Db, together } from "./db.ts"
import { keyColumn, lockLimits } from "./limiter.ts"
import { insertFirstSlots, type Moved, newQueueRow, nothingMoved } from "./queue.ts"

export interface Gated {
  readonly moved: Moved
  /** Ends to be counted in their fan-outs. */
  readonly ended: readonly ChangeOf<"run.settle">[]
  /** Runs that are not needed, since their events joined a batch: by fan-out, how many fewer there are. */
  readonly fewer: ReadonlyMap<string, number>
  /** Runs that a node was executing, and that are cancelled. */
  readonly cancelled: readonly string[]
}

const nothingGated: Gated = { moved: nothingMoved, ended: [], fewer: new Map(), cancelled: [] }

/** New runs about which other runs of their keys have a say. Under the locks of these keys, in their order. */
export async function addGated(db: Db, runs: readonly NewRun[], now: number): Promise<Gated> {
  if (runs.length === 0) return nothingGated
  const gates = runs.flatMap((run) => (run.gates ?? []).filter((gate) => gate.kind !== "refuse"))
  const keys = [...new Set(gates.map(({ key }) => key))]
  await lockLimits(db, keys)
  const decisions = decideGates(runs, await factsOf(db, gates, keys), now)
  const { added, ended, joined, full, replaced, cancelled } = decisions
  // Those that end make room for those that begin.
  const skipped = await cancelRuns(db, replaced, "skipped", now)
  const stopped = await cancelRuns(db, cancelled, "cancelled", now)
  const [moved] = await together([
    addRuns(db, added, now),
    insertFirstSlots(
      db,
      added.map(({ id, limits }) => ({ runId: id, limits })),
    ),
    recordEnded(db, ended, now),
    join(db, joined),
    startFull(db, full, now),
    remember(db, decisions),
  ])
  const fewer = new Map<string, number>()
  for (const { run } of joined) if (run.fanoutId !== null) fewer.set(run.fanoutId, (fewer.get(run.fanoutId) ?? 0) + 1)
  return {
    moved: {
      ...moved,
      keys: [...skipped.keys, ...stopped.keys],
      timers: full.length === 0 ? moved.timers : [...moved.timers, now],
    },
    ended: [...ended.map(({ run, state }) => endedBy(newQueueRow(run), run.fanoutId, state, now)), ...skipped.ended, ...stopped.ended],
    fewer,
    cancelled: stopped.running,
  }
}

/** What is known of the keys. Timers first: a run that stands there, and then still has its place under the key, waits for more events. */
async function factsOf(db: Db, gates: readonly Exclude<Gate, { kind: "refuse" }>[], keys: readonly string[]): Promise<GateFacts> {
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
  const singletons = new Set(gates.filter(({ kind }) => kind === "singleton").map(({ key }) => key))
  return {
    rates: new Map(rows.map(({ key, rate }) => [key, rate])),
    pending: new Map(
      pending.filter(({ key, runId }) => waiting.has(runId) && holder.get(key) === runId).map(({ key, ...each }) => [key, each]),
    ),
    open: new Map([...holder].filter(([key]) => singletons.has(key))),
  }
}

async function waitingRuns(db: Db, runIds: readonly string[]): Promise<Set<string>> {
  if (runIds.length === 0) return new Set()
  const rows = await db.query<{ run_id: string }>(
    `select run_id from timer where run_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j) order by run_id ${db.dialect.lockRows}`,
    [JSON.stringify(runIds.map((id) => [id]))],
  )
  return new Set(rows.map(({ run_id }) => run_id))
}

async function recordEnded(db: Db, ended: readonly EndedAtOnce[], now: number): Promise<void> {
  if (ended.length === 0) return
  await insertRuns(db, JSON.stringify(ended.map(({ run }) => runValues(run))))
  await insertEnds(
    db,
    ended.map(({ run, state, reason }) => ({
      runId: run.id,
      state,
      attempt: 0,
      reason: state === "failed" ? null : reason,
      failure: state === "failed" ? { name: "FlowError", message: reason } : null,
    })),
    now,
  )
}

async function join(db: Db, joined: GateDecisions["joined"]): Promise<void> {
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
async function startFull(db: Db, full: GateDecisions["full"], now: number): Promise<void> {
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

async function remember(db: Db, { rates, pending }: GateDecisions): Promise<void> {
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

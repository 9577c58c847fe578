import type { CancelledRun, ChangeOf, Unit } from "../core/change.ts"
import { cancelledFailure } from "../core/ended.ts"
import { type Column, Conflict, type Db, together } from "./db.ts"
import { lockNames } from "./commit-wait.ts"
import { queueNames, type QueueRow, type StoredQueueRow, toQueueRow } from "./queue.ts"

/** A run that was taken from where it stood. */
interface Taken {
  readonly row: QueueRow
  readonly startedAt: number | null
}

type Settle = ChangeOf<"run.settle">

/** A run may move from one queue to the next while it is looked for: so often it is looked for again. */
const passesMost = 5
const anyFence = Number.MAX_SAFE_INTEGER

/**
 * Takes the runs that units cancel from wherever they stand, and gives for each, by unit, how it is settled. A unit that is not among
 * them cancels a run that has ended, or that has begun though it should not have.
 */
export async function takeCancelled(db: Db, units: readonly Unit[], now: number): Promise<Map<number, Settle>> {
  const wanted = new Map<string, { unit: number; run: CancelledRun }>()
  for (const [unit, { changes }] of units.entries()) {
    for (const change of changes)
      if (change.kind === "run.cancel" && !wanted.has(change.run.id)) wanted.set(change.run.id, { unit, run: change.run })
  }
  const settled = new Map<number, Settle>()
  if (wanted.size === 0) return settled
  const ids = JSON.stringify([...wanted.keys()].toSorted().map((id) => [id]))
  const these = `(select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`
  const names = (): Promise<void> => {
    const changes = units.flatMap((unit) => unit.changes)
    return lockNames(
      db,
      changes.filter((change) => change.kind === "wait.add"),
      changes.flatMap((change, unit) => (change.kind === "wait.offer" ? [{ unit, offer: change.offer }] : [])),
    )
  }
  let open = [...wanted.values()]
  for (let pass = 0; open.length > 0 && pass < passesMost; pass++) {
    const taken = new Map(
      (
        await take(
          db,
          open.map(({ run }) => run),
          pass === 0 ? names : null,
          now,
        )
      ).map((each) => [each.row.runId, each]),
    )
    for (const { unit, run } of open) {
      const found = taken.get(run.id)
      if (found !== undefined) settled.set(unit, settlement(run, found, now))
    }
    open = open.filter(({ run }) => !taken.has(run.id))
    if (open.length === 0 || !db.dialect.concurrent) break
    const ended = await db.query<{ run_id: string }>(`select run_id from result where run_id in ${these}`, [ids])
    const over = new Set(ended.map(({ run_id }) => run_id))
    open = open.filter(({ run }) => !over.has(run.id) && run.below === null)
  }
  await expectNoLease(
    db,
    open.map(({ run }) => run.id),
  )
  return settled
}

function settlement(run: CancelledRun, { row, startedAt }: Taken, now: number): Settle {
  return {
    kind: "run.settle",
    run: { id: run.id, functionId: run.functionId, fence: row.fence, rank: row.rank, fanoutId: run.fanoutId, limits: row.limits },
    attempt: row.attempt,
    startedAt: startedAt ?? now,
    endedAt: now,
    settlement: { to: "cancelled", output: null, failure: cancelledFailure(run.reason) },
    waits: true,
  }
}

/** Nobody has to cancel these runs any more. At the end, after the limits: whoever finds that a run is to be cancelled holds others. */
export async function forgetDoomed(db: Db, units: readonly Unit[]): Promise<void> {
  const runIds = units.flatMap(({ changes }) => changes.flatMap((change) => (change.kind === "run.cancel" ? [change.run.id] : [])))
  if (runIds.length === 0) return
  await db.execute(`delete from doomed where run_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`, [
    JSON.stringify([...new Set(runIds)].toSorted().map((id) => [id])),
  ])
}

const bounded: readonly Column[] = [
  ["run_id", "text"],
  ["most", "bigint"],
]

/** Runs that were found nowhere have ended; or somebody was moving them all the time. */
async function expectNoLease(db: Db, runIds: readonly string[]): Promise<void> {
  if (!db.dialect.concurrent || runIds.length === 0) return
  const leased = await db.query(`select 1 from lease where run_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`, [
    JSON.stringify(runIds.map((id) => [id])),
  ])
  if (leased.length > 0) throw new Conflict("a run moved on while it was to be cancelled")
}

/**
 * @param names takes the locks that come between those of leases and those of waits; null: they were taken, and from then on no lease is
 * waited for
 */
async function take(db: Db, runs: readonly CancelledRun[], names: (() => Promise<void>) | null, now: number): Promise<Taken[]> {
  const sorted = runs.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const most = (run: CancelledRun): number => (run.below === null ? anyFence : run.below - 1)
  const byId = JSON.stringify(sorted.map((run) => [run.id, most(run)]))
  const leases = await takeLeases(
    db,
    sorted.filter(({ below }) => below === null).map(({ id }) => id),
    names === null,
    now,
  )
  // Leases before waits, like a run that parks; waits before timers, like whoever wakes one.
  await names?.()
  if (names !== null && db.dialect.concurrent) {
    await db.query(
      `select run_id from wait where run_id in (select run_id from ${db.dialect.rows("$1", bounded)} as j) order by run_id, step_key ${db.dialect.lockRows}`,
      [byId],
    )
  }
  const [timers, ready, held] = await together([
    db.query<StoredQueueRow>(
      `delete from timer where run_id in (select j.run_id from ${db.dialect.rows("$1", bounded)} as j join timer as t on t.run_id = j.run_id
         where t.fence <= j.most) returning ${queueNames}`,
      [byId],
    ),
    db.query<StoredQueueRow>(
      `delete from ready where (function_id, rank, run_id) in (select q.function_id, q.rank, q.run_id from ${db.dialect.rows("$1", [
        ["function_id", "text"],
        ["rank", "bigint"],
        ...bounded,
      ])} as j join ready as q on q.function_id = j.function_id and q.rank = j.rank and q.run_id = j.run_id where q.fence <= j.most)
         returning ${queueNames}`,
      [JSON.stringify(sorted.map((run) => [run.functionId, run.rank, run.id, most(run)]))],
    ),
    db.query<StoredQueueRow>(
      `delete from held where run_id in (select j.run_id from ${db.dialect.rows("$1", bounded)} as j join held as q on q.run_id = j.run_id
         where q.fence <= j.most) returning ${queueNames}`,
      [byId],
    ),
  ])
  const standing = [...timers, ...ready, ...held].map((row) => ({ row: toQueueRow(row), startedAt: null }))
  return [...standing, ...leases]
}

/** Takes runs from the nodes that have them: what those still write is refused, and they are told at their next pulse. */
async function takeLeases(db: Db, ids: readonly string[], late: boolean, now: number): Promise<Taken[]> {
  if (ids.length === 0) return []
  const these = `select id from ${db.dialect.rows("$1", [["id", "text"]])} as j`
  const rows = await db.query<StoredQueueRow & { node_id: string; claimed_at: number }>(
    `delete from lease where run_id in (${late ? `select run_id from lease where run_id in (${these}) ${db.dialect.skipLocked}` : these})
       returning ${queueNames}, node_id, claimed_at`,
    [JSON.stringify(ids.map((id) => [id]))],
  )
  if (rows.length > 0) {
    await db.execute(
      `insert into recall (node_id, run_id, at) select node_id, run_id, $2 from ${db.dialect.rows("$1", [
        ["node_id", "text"],
        ["run_id", "text"],
      ])} as j where true on conflict (node_id, run_id) do nothing`,
      [JSON.stringify(rows.map(({ node_id, run_id }) => [node_id, run_id])), now],
    )
  }
  return rows.map((row) => ({ row: toQueueRow(row), startedAt: row.claimed_at }))
}

import type { CancelledRun, ChangeOf, Unit } from "../core/change.ts"
import { cancelledFailure } from "../core/ended.ts"
import { type Column, type Db, together } from "./db.ts"
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
  await db.execute(`delete from doomed where run_id in ${these}`, [ids])
  let open = [...wanted.values()]
  for (let pass = 0; open.length > 0 && pass < passesMost; pass++) {
    const taken = new Map(
      (
        await take(
          db,
          open.map(({ run }) => run),
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
    open = open.filter(({ run }) => !over.has(run.id) && !run.unbegun)
  }
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

const bounded: readonly Column[] = [
  ["run_id", "text"],
  ["most", "bigint"],
]

async function take(db: Db, runs: readonly CancelledRun[], now: number): Promise<Taken[]> {
  const sorted = runs.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const most = (run: CancelledRun): number => (run.unbegun ? 0 : anyFence)
  const byId = JSON.stringify(sorted.map((run) => [run.id, most(run)]))
  const leases = await takeLeases(
    db,
    sorted.filter(({ unbegun }) => !unbegun).map(({ id }) => id),
    now,
  )
  // Leases before waits, like a run that parks; waits before timers, like whoever wakes one.
  if (db.dialect.concurrent) {
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
async function takeLeases(db: Db, ids: readonly string[], now: number): Promise<Taken[]> {
  if (ids.length === 0) return []
  const rows = await db.query<StoredQueueRow & { node_id: string; claimed_at: number }>(
    `delete from lease where run_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)
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

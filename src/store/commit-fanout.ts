import type { ChangeOf } from "../core/change.ts"
import type { Column, Db } from "./db.ts"

interface Counts {
  completed: number
  failed: number
  cancelled: number
  first: number
  last: number
}

/**
 * One row per fan-out and transaction, whatever happened to it, in the order of their ids, so that two nodes never wait for each other.
 */
export async function countFanouts(
  db: Db,
  grown: readonly ChangeOf<"fanout.grow">[],
  settled: readonly ChangeOf<"run.settle">[],
): Promise<void> {
  // Those that grow first: an insert may meet another node's, an update cannot.
  for (const change of grown.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    await db.execute(
      `insert into fanout (id, run_id, name, events, total, completed, failed, cancelled, created_at, sealed_at)
         values ($1, $2, $3, $4, $5, 0, 0, 0, $6, $7)
         on conflict (id) do update set
           events = fanout.events + excluded.events, total = fanout.total + excluded.total, sealed_at = excluded.sealed_at`,
      [change.id, change.runId, change.name, change.events, change.runs, change.at, change.sealed ? change.at : null],
    )
  }
  const counts = countsOf(settled)
  if (counts.size === 0) return
  await db.execute(
    `update fanout set completed = fanout.completed + j.completed, failed = fanout.failed + j.failed,
       cancelled = fanout.cancelled + j.cancelled,
       first_start_at = case when first_start_at is null or first_start_at > j.first then j.first else first_start_at end,
       last_end_at = case when last_end_at is null or last_end_at < j.last then j.last else last_end_at end
     from ${db.dialect.rows("$1", columns)} as j where fanout.id = j.fanout_id`,
    [
      JSON.stringify(
        [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([id, c]) => [id, c.completed, c.failed, c.cancelled, c.first, c.last]),
      ),
    ],
  )
}

const columns: readonly Column[] = [
  ["fanout_id", "text"],
  ["completed", "bigint"],
  ["failed", "bigint"],
  ["cancelled", "bigint"],
  ["first", "bigint"],
  ["last", "bigint"],
]

function countsOf(settled: readonly ChangeOf<"run.settle">[]): Map<string, Counts> {
  const byFanout = new Map<string, Counts>()
  for (const { run, startedAt, endedAt, settlement } of settled) {
    if (run.fanoutId === null || !("output" in settlement)) continue
    const counts = byFanout.get(run.fanoutId) ?? { completed: 0, failed: 0, cancelled: 0, first: startedAt, last: endedAt }
    if (settlement.to === "skipped" || settlement.to === "cancelled") counts.cancelled++
    else counts[settlement.to]++
    counts.first = Math.min(counts.first, startedAt)
    counts.last = Math.max(counts.last, endedAt)
    byFanout.set(run.fanoutId, counts)
  }
  return byFanout
}

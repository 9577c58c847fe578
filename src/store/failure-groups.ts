import type { ChangeOf } from "../core/change.ts"
import type { FailureGroup } from "../core/fanouts.ts"
import { fingerprintOf } from "../core/fingerprint.ts"
import { limits } from "../core/limits.ts"
import type { Column, Db } from "./db.ts"

interface Group {
  readonly fanoutId: string
  readonly fingerprint: string
  failures: number
  firstAt: number
  lastAt: number
  readonly runId: string
}

const columns: readonly Column[] = [
  ["fanout_id", "text"],
  ["fingerprint", "text"],
  ["failures", "bigint"],
  ["first_at", "bigint"],
  ["last_at", "bigint"],
  ["run_id", "text"],
]

/** Counts failures by their cause. The rows of a fan-out's groups are only written under the lock of its own row. */
export async function countFailures(db: Db, settled: readonly ChangeOf<"run.settle">[]): Promise<void> {
  const groups = new Map<string, Group>()
  for (const { run, endedAt, settlement } of settled) {
    if (run.fanoutId === null || !("output" in settlement) || settlement.to !== "failed" || settlement.failure === null) continue
    const fingerprint = fingerprintOf(settlement.failure)
    const key = JSON.stringify([run.fanoutId, fingerprint])
    const group = groups.get(key)
    if (group === undefined)
      groups.set(key, { fanoutId: run.fanoutId, fingerprint, failures: 1, firstAt: endedAt, lastAt: endedAt, runId: run.id })
    else {
      group.failures++
      group.firstAt = Math.min(group.firstAt, endedAt)
      group.lastAt = Math.max(group.lastAt, endedAt)
    }
  }
  if (groups.size === 0) return
  const rows = [...groups]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, g]) => [g.fanoutId, g.fingerprint, g.failures, g.firstAt, g.lastAt, g.runId])
  await db.execute(
    `insert into failure_group (fanout_id, fingerprint, failures, first_at, last_at, run_id)
       select fanout_id, fingerprint, failures, first_at, last_at, run_id from ${db.dialect.rows("$1", columns)} as j where true
       on conflict (fanout_id, fingerprint) do update set failures = failure_group.failures + excluded.failures, run_id = excluded.run_id,
         last_at = case when failure_group.last_at < excluded.last_at then excluded.last_at else failure_group.last_at end`,
    [JSON.stringify(rows)],
  )
}

/** Failures that are no failures any more: their runs were set going again. */
export async function forgetFailures(db: Db, fanoutId: string, fingerprints: readonly (string | null)[]): Promise<void> {
  const counts = new Map<string, number>()
  for (const fingerprint of fingerprints) if (fingerprint !== null) counts.set(fingerprint, (counts.get(fingerprint) ?? 0) + 1)
  if (counts.size === 0) return
  await db.execute(
    `update failure_group set failures = failure_group.failures - j.n from ${db.dialect.rows("$2", [
      ["fingerprint", "text"],
      ["n", "bigint"],
    ])} as j where failure_group.fanout_id = $1 and failure_group.fingerprint = j.fingerprint`,
    [fanoutId, JSON.stringify([...counts])],
  )
  await db.execute("delete from failure_group where fanout_id = $1 and failures <= 0", [fanoutId])
}

/** Runs of a fan-out that had ended go on: their ends are not counted any more. */
export async function uncountEnds(db: Db, fanoutId: string, failed: number, cancelled: number): Promise<void> {
  await db.execute(
    `update fanout set failed = failed - $2, cancelled = cancelled - $3, base_failed = base_failed - $2, base_ended = base_ended - $2 - $3,
       ended_before = ended_before - $2 - $3 where id = $1`,
    [fanoutId, failed, cancelled],
  )
}

export function failureGroups(db: Db, fanoutId: string): Promise<FailureGroup[]> {
  return db.query<FailureGroup>(
    `select fingerprint, failures as count, first_at as "firstAt", last_at as "lastAt", run_id as "runId" from failure_group
       where fanout_id = $1 order by failures desc, fingerprint limit ${limits.failureGroups}`,
    [fanoutId],
  )
}

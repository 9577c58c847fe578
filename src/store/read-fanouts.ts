import { limits } from "../core/limits.ts"
import { canaryReason, type GateRules } from "../core/gate.ts"
import { type FanoutState, progressOf } from "../core/progress.ts"
import type { FanoutSummary, Page } from "../core/views.ts"
import { type Db, together } from "./db.ts"
import { byHand } from "./pause-fanout.ts"
import { page, pageLimit } from "./read.ts"

interface FanoutRow {
  id: string
  run_id: string | null
  name: string
  events: number
  total: number
  completed: number
  failed: number
  cancelled: number
  created_at: number
  sealed_at: number | null
  cancelled_at: number | null
  first_start_at: number | null
  last_end_at: number | null
  since: number | null
  ended_before: number
  rules: string | null
  gate: string | null
  paused_at: number | null
  pause_reason: string | null
  running: number
}

/** What runs is told from the leases, which are few: a join could as well begin with all runs of the fan-out. */
const fanoutSelect = `select f.*,
    (select count(*) from lease as l where (select r.fanout_id from run as r where r.id = l.run_id) = f.id) as running from fanout as f`

export async function fanout(db: Db, id: string): Promise<FanoutSummary | null> {
  const [[row], now] = await together([db.query<FanoutRow>(`${fanoutSelect} where f.id = $1`, [id]), db.now()])
  return row === undefined ? null : toFanout(row, now)
}

export async function fanouts(db: Db, after: string | null, limit: number): Promise<Page<FanoutSummary>> {
  const [rows, now] = await together([
    db.query<FanoutRow>(`${fanoutSelect} where f.id < $1 order by f.id desc limit $2`, [after ?? "fan_~", pageLimit(limit) + 1]),
    db.now(),
  ])
  return page(
    rows.map((row) => toFanout(row, now)),
    pageLimit(limit),
  )
}

export async function finishedFanouts(db: Db, limit: number): Promise<FanoutSummary[]> {
  const [rows, now] = await together([
    db.query<FanoutRow>(`${fanoutSelect} join finished as e on e.fanout_id = f.id order by e.fanout_id limit $1`, [limit]),
    db.now(),
  ])
  return rows.map((row) => toFanout(row, now))
}

function toFanout(row: FanoutRow, now: number): FanoutSummary {
  const { id, name, events, total, completed, failed, cancelled, running } = row
  const sealed = row.sealed_at !== null
  const progress = progressOf(
    {
      total,
      completed,
      failed,
      cancelled,
      sealed,
      firstStartAt: row.first_start_at,
      lastEndAt: row.last_end_at,
      paused: row.paused_at !== null,
      cancelling: row.cancelled_at !== null,
      since: row.since,
      endedBefore: row.ended_before,
    },
    now,
  )
  return {
    id,
    name,
    runId: row.run_id,
    events,
    total,
    queued: total - completed - failed - cancelled - running,
    running,
    completed,
    failed,
    cancelled,
    sealed,
    ...progress,
    reason: reasonOf(row, progress.state),
    createdAt: row.created_at,
    firstStartAt: row.first_start_at,
    lastEndAt: row.last_end_at,
  }
}

function reasonOf({ gate, rules, failed, pause_reason }: FanoutRow, state: FanoutState): string | null {
  const canary = gate === "canary" && rules !== null ? (JSON.parse(rules) as GateRules).canary : null
  if (state === "paused") return canary === null || pause_reason === byHand ? pause_reason : canaryReason(failed, canary)
  return state === "running" && canary !== null ? `canary: the others wait for the first ${canary} runs` : null
}

/** How far a fan-out has come, for whoever goes on sending it. */
export interface FanoutCourse {
  readonly id: string
  readonly taken: number
  readonly total: number
  readonly events: number
  readonly cursor: string | null
  readonly sealed: boolean
  readonly cancelled: boolean
  readonly createdAt: number
}

/** By its id, or by its sender's name for it. */
export async function fanoutCourse(db: Db, by: "id" | "key", value: string): Promise<FanoutCourse | null> {
  const [row] = await db.query<Omit<FanoutRow, "running"> & { taken: number; cursor: string | null }>(
    `select * from fanout where ${by} = $1`,
    [value],
  )
  if (row === undefined) return null
  const { id, taken, total, events, cursor, sealed_at, cancelled_at, created_at: createdAt } = row
  return { id, taken, total, events, cursor, sealed: sealed_at !== null, cancelled: cancelled_at !== null, createdAt }
}

/** Those of the senders' ids that start nothing now, since they were sent within the last 24 h. */
export async function knownKeys(db: Db, keys: readonly string[]): Promise<readonly string[]> {
  const known: string[] = []
  const now = await db.now()
  for (let i = 0; i < keys.length; i += limits.sweepBatch) {
    const rows = await db.query<{ key: string }>(
      `select k.key from ${db.dialect.rows("$1", [["key", "text"]])} as j join event_key as k on k.key = j.key and k.expires_at > $2`,
      [JSON.stringify(keys.slice(i, i + limits.sweepBatch).map((key) => [key])), now],
    )
    known.push(...rows.map(({ key }) => key))
  }
  return known
}

import { beforeRuns } from "../core/id.ts"
import type { Ended, JoinResult } from "../core/join.ts"
import { limits } from "../core/limits.ts"
import { type Db, together } from "./db.ts"
import { toFailure } from "./rows.ts"

/** A fan-out as a join sees it. */
export type JoinedFanout = Ended & Required<Pick<JoinResult, "failures" | "slowest" | "outputs">>

interface CountRow {
  total: number
  completed: number
  failed: number
  cancelled: number
  created_at: number
  sealed_at: number | null
}

export async function joinedFanout(db: Db, fanoutId: string, outputs: boolean): Promise<JoinedFanout | null> {
  const [row] = await db.query<CountRow>("select total, completed, failed, cancelled, created_at, sealed_at from fanout where id = $1", [
    fanoutId,
  ])
  if (row === undefined) return null
  const [failures, slowest, results] = await together([
    row.failed === 0 ? Promise.resolve([]) : failuresOf(db, fanoutId, row.created_at),
    slowestOf(db, fanoutId),
    outputs ? outputsOf(db, fanoutId) : Promise.resolve([]),
  ])
  const { total, completed, failed, cancelled, sealed_at } = row
  return { total, completed, failed, cancelled, sealed: sealed_at !== null, failures, slowest, outputs: results }
}

async function failuresOf(db: Db, fanoutId: string, since: number): Promise<JoinedFanout["failures"]> {
  const rows = await db.query<{ run_id: string; event_id: string; key: string | null; failure: string | null }>(
    // Along the index of what did not complete, from the first run that the fan-out can have.
    `select x.run_id, r.event_id, e.key, x.failure from result as x join run as r on r.id = x.run_id join event as e on e.id = r.event_id
       where x.state = 'failed' and x.state <> 'completed' and x.run_id >= $2 and r.fanout_id = $1 order by x.run_id limit ${limits.joinFailures}`,
    [fanoutId, beforeRuns(since)],
  )
  return rows.map(({ run_id, event_id, key, failure }) => {
    const { name, message } = toFailure(failure) ?? { name: "Error", message: "" }
    return { runId: run_id, eventId: key ?? event_id, error: { name, message } }
  })
}

async function slowestOf(db: Db, fanoutId: string): Promise<JoinedFanout["slowest"]> {
  return db.query(
    `select r.id as "runId", x.ended_at - x.started_at as ms from run as r join result as x on x.run_id = r.id
       where r.fanout_id = $1 order by x.ended_at - x.started_at desc, r.id limit ${limits.joinSlowest}`,
    [fanoutId],
  )
}

async function outputsOf(db: Db, fanoutId: string): Promise<JoinedFanout["outputs"]> {
  const rows = await db.query<{ id: string; event_id: string; key: string | null; output: string | null }>(
    `select r.id, r.event_id, e.key, x.output from run as r join result as x on x.run_id = r.id and x.state = 'completed'
       join event as e on e.id = r.event_id where r.fanout_id = $1 order by r.id limit ${limits.joinOutputs}`,
    [fanoutId],
  )
  return rows.map(({ id, event_id, key, output }) => ({
    runId: id,
    eventId: key ?? event_id,
    output: JSON.parse(output ?? "null") as unknown,
  }))
}

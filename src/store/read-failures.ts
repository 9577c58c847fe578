import { limits } from "../core/limits.ts"
import type { FailureCause, FailureCauses } from "../core/causes.ts"
import type { Db } from "./db.ts"

const hour = 3_600_000
const hours = 24

interface CauseRow {
  fingerprint: string
  function_id: string
  hour: number
  count: number
  first_at: number
  last_at: number
  run_id: string
}

/** The newest failures of all functions by their cause: a bounded walk along their index, however many there are. */
export async function failureCauses(db: Db): Promise<FailureCauses> {
  const now = await db.now()
  const rows = await db.query<CauseRow>(
    `select coalesce(x.fingerprint, '') as fingerprint, r.function_id, x.ended_at / ${hour} as hour, count(*) as count,
         min(x.ended_at) as first_at, max(x.ended_at) as last_at, max(x.run_id) as run_id
       from (select run_id, fingerprint, ended_at from result where state = 'failed' and state <> 'completed'
             order by run_id desc limit $1) as x join run as r on r.id = x.run_id
       group by x.fingerprint, r.function_id, x.ended_at / ${hour}`,
    [limits.failuresLooked],
  )
  const causes = new Map<string, FailureCause>()
  const thisHour = Math.floor(now / hour)
  for (const row of rows) {
    const key = `${row.function_id} ${row.fingerprint}`
    causes.set(key, add(causes.get(key), row, row.hour - thisHour + hours - 1))
  }
  const looked = rows.reduce((sum, { count }) => sum + count, 0)
  return { items: [...causes.values()].toSorted((a, b) => b.lastAt - a.lastAt), looked, more: looked === limits.failuresLooked }
}

function add(cause: FailureCause | undefined, row: CauseRow, slot: number): FailureCause {
  const counts = [...(cause?.hours ?? Array.from({ length: hours }, () => 0))]
  if (counts[slot] !== undefined) counts[slot] += row.count
  return {
    fingerprint: row.fingerprint,
    functionId: row.function_id,
    count: (cause?.count ?? 0) + row.count,
    firstAt: Math.min(cause?.firstAt ?? row.first_at, row.first_at),
    lastAt: Math.max(cause?.lastAt ?? row.last_at, row.last_at),
    runId: cause === undefined || row.run_id > cause.runId ? row.run_id : cause.runId,
    hours: counts,
  }
}

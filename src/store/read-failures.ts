import { limits } from "../core/limits.ts"
import type { FailureCause, FailureCauses, FailureTimes } from "../core/causes.ts"
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

const parts = 24

/** When runs of a fan-out failed, by the cause; null when there is no such fan-out. */
export async function failureTimes(db: Db, fanoutId: string): Promise<FailureTimes | null> {
  const [fanout] = await db.query<{ from_at: number; to_at: number | null }>(
    "select coalesce(first_start_at, created_at) as from_at, last_end_at as to_at from fanout where id = $1",
    [fanoutId],
  )
  if (fanout === undefined) return null
  const from = fanout.from_at
  const to = Math.max(from, fanout.to_at ?? from)
  const width = Math.floor((to - from) / parts) + 1
  const edge = (order: "asc" | "desc"): string => `(select id from run where fanout_id = $1 order by id ${order} limit 1)`
  // Along the unusual ends of the time in which the fan-out was sent, which are fewer than its runs.
  const rows = await db.query<{ fingerprint: string; part: number; count: number }>(
    `select coalesce(x.fingerprint, '') as fingerprint, x.part, count(*) as count
       from (select s.fingerprint, cast(s.ended_at - $2 as bigint) / cast($3 as bigint) as part from result as s
             where s.state = 'failed' and s.state <> 'completed' and s.run_id >= ${edge("asc")} and s.run_id <= ${edge("desc")}
               and (select fanout_id from run where run.id = s.run_id) = $1
             order by s.run_id desc limit $4) as x
       group by x.fingerprint, x.part`,
    [fanoutId, from, width, limits.failuresLooked],
  )
  const causes = new Map<string, number[]>()
  for (const { fingerprint, part, count } of rows) {
    const counts = causes.get(fingerprint) ?? Array.from({ length: parts }, () => 0)
    if (counts[part] !== undefined) counts[part] += count
    causes.set(fingerprint, counts)
  }
  return { from, to, causes: Array.from(causes, ([fingerprint, counts]) => ({ fingerprint, counts })) }
}

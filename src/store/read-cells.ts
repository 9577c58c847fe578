import { limits } from "../core/limits.ts"
import type { Db } from "./db.ts"

/** The states of a fan-out's runs in the order in which they were sent, one letter each: completed, failed, cancelled or skipped (x), running,
 * failed and tried again (a), waiting for its time, queued (in line or held). */
export async function fanoutCells(db: Db, fanoutId: string): Promise<string> {
  const [row] = await db.query<{ cells: string | null }>(
    `select string_agg(c.cell, '' order by c.id) as cells from
       (select r.id, case
           when x.state = 'completed' then 'c' when x.state = 'failed' then 'f' when x.state is not null then 'x'
           when l.run_id is not null then 'r' when t.state = 'scheduled' and t.attempt > 0 then 'a'
           when t.run_id is not null then 'w' else 'q' end as cell
         from (select id from run where fanout_id = $1 order by id limit $2) as r
           left join result as x on x.run_id = r.id
           left join lease as l on l.run_id = r.id
           left join timer as t on t.run_id = r.id) as c`,
    [fanoutId, limits.fanoutCells],
  )
  return row?.cells ?? ""
}

/** The run of a cell, counted from 0. */
export async function fanoutCell(db: Db, fanoutId: string, index: number): Promise<string | null> {
  const [row] = await db.query<{ id: string }>("select id from run where fanout_id = $1 order by id limit 1 offset $2", [fanoutId, index])
  return row?.id ?? null
}

/** The fan-outs that a run sent, oldest first. */
export async function sentFanouts(db: Db, runId: string): Promise<string[]> {
  const rows = await db.query<{ id: string }>("select id from fanout where run_id = $1 order by id limit $2", [runId, limits.pageRows])
  return rows.map(({ id }) => id)
}

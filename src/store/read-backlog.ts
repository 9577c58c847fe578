import { limits } from "../core/limits.ts"
import type { Backlog, Placing } from "../core/views.ts"
import { type Db, together } from "./db.ts"
import { depth, depthCap } from "./read.ts"

interface FunctionRow {
  id: string
  ready: number
  since: number
}

/** A run is late from when it was due, which its rank says less its priority, but never from before it was made. */
const since = `(select case when q.rank > r.created_at then q.rank else r.created_at end from ready as q join run as r on r.id = q.run_id
    where q.function_id = f.id order by q.rank, q.run_id limit 1)`

export async function backlog(db: Db): Promise<Backlog> {
  const now = await db.now()
  const [counts, functions, timers, schedules, nodes] = await together([
    depth(db),
    db.query<FunctionRow>(
      `with recursive f(id) as (
         select min(function_id) from ready
         union all select (select min(function_id) from ready where function_id > f.id) from f where f.id is not null)
       select f.id, (select count(*) from (select 1 from ready where function_id = f.id order by function_id, rank limit $1) as c) as ready, ${since} as since
       from f where f.id is not null`,
      [depthCap],
    ),
    db.query<{ at: number }>("select due_at as at from timer where due_at <= $1 order by due_at limit 1", [now]),
    db.query<{ at: number }>("select next_at as at from schedule where next_at <= $1 order by next_at limit 1", [now]),
    db.query<{ id: string }>("select id from node where seen_at > $1", [now - limits.leaseMs]),
  ])
  return {
    counts,
    functions: functions.map(({ id, ready, since }) => ({ functionId: id, ready, lateMs: Math.max(0, now - (since ?? now)) })),
    timerLateMs: Math.max(0, now - (timers[0]?.at ?? now)),
    scheduleLateMs: Math.max(0, now - (schedules[0]?.at ?? now)),
    nodes: nodes.length,
  }
}

/**
 * Places of runs by their indexes: that of a run in line is found by its function and rank, which stay what they are. Counted, since
 * whether there is one PostgreSQL may want to know of all rows at once.
 */
const ownId = "q.run_id = r.id"
const inLine = `q.function_id = r.function_id and q.rank = r.rank and ${ownId}`
const places = Object.entries({ result: ownId, timer: ownId, held: ownId, lease: ownId, ready: inLine })
  .map(([table, found]) => `(select count(*) from ${table} as q where ${found})`)
  .join(" + ")

/** A run ends, waits or is in line: in one statement, so that none is seen on its way from one place to another. */
export async function placing(db: Db, before: string | null, limit: number): Promise<Placing> {
  const [row] = await db.query<{ looked: number; orphans: number | null; last: string | null }>(
    `select count(*) as looked, sum(case when p.places = 1 then 0 else 1 end) as orphans, min(p.id) as last
     from (select r.id, ${places} as places from run as r where r.id < $1 order by r.id desc limit $2) as p`,
    [before ?? "run_~", limit],
  )
  const looked = row?.looked ?? 0
  return { looked, orphans: Number(row?.orphans ?? 0), next: looked < limit ? null : (row?.last ?? null) }
}

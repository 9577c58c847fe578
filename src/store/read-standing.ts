import { limits } from "../core/limits.ts"
import type { Standing } from "../core/views.ts"
import { type Db, together } from "./db.ts"
import { depth } from "./read.ts"

/** Fan-outs that are looked at: the newest. */
const fanoutsLooked = 50
const minute = 60_000

interface FanoutRow {
  id: string
  course: string
}

/** How everything stands, in a few index walks: whoever looks regularly sees by comparison what has moved, whichever node moved it. */
export async function standing(db: Db): Promise<Standing> {
  const now = await db.now()
  const [counts, registry, run, tick, ended, fanouts, nodes] = await together([
    depth(db),
    db.query<{ version: number }>("select version from registry where id = 1"),
    db.query<{ id: string | null }>("select max(id) as id from run"),
    db.query<{ at: number }>("select decided_at as at from tick where decided_at > $1 order by decided_at desc limit 1", [0]),
    db.query<{ n: number | null }>("select sum(completed + failed + retried) as n from tally where function_id = '' and at >= $1", [
      now - 2 * minute,
    ]),
    db.query<FanoutRow>(
      `select id, total || ' ' || completed || ' ' || failed || ' ' || cancelled || ' ' || coalesce(sealed_at, 0) || ' ' ||
         coalesce(paused_at, 0) || ' ' || coalesce(cancelled_at, 0) as course
       from fanout where id < $1 order by id desc limit $2`,
      ["fan_~", fanoutsLooked],
    ),
    db.query<{ id: string }>("select id from node where seen_at > $1 order by id", [now - limits.leaseMs]),
  ])
  return {
    counts,
    registry: registry[0]?.version ?? 0,
    newestRun: run[0]?.id ?? "",
    newestTickAt: tick[0]?.at ?? 0,
    ended: Number(ended[0]?.n ?? 0),
    fanouts: Object.fromEntries(fanouts.map(({ id, course }) => [id, course])),
    nodes: nodes.map(({ id }) => id).join(" "),
  }
}

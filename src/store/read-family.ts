import { limits } from "../core/limits.ts"
import type { RunFamily, Siblings } from "../core/views.ts"
import { type Db, together } from "./db.ts"
import { summariesOf } from "./read.ts"

/** How far the runs before are followed. */
const causesMost = 10

/** What stands around a run; null when there is no such run. */
export async function runFamily(db: Db, id: string): Promise<RunFamily | null> {
  const [run] = await db.query<{ parent_id: string | null; fanout_id: string | null }>(
    "select parent_id, fanout_id from run where id = $1",
    [id],
  )
  if (run === undefined) return null
  const children = await summariesOf(
    db,
    // A fan-out is shown as one thing; those of its runs are not listed one by one.
    "(select r.* from run as r where r.parent_id = $1 and r.fanout_id is null order by r.id limit $2) as r",
    [id, limits.pageRows + 1],
  )
  return {
    causes: await causesOf(db, run.parent_id),
    children: children.toReversed().slice(0, limits.pageRows),
    more: children.length > limits.pageRows,
    siblings: run.fanout_id === null ? null : await siblingsOf(db, run.fanout_id, id),
  }
}

/** The run that sent the event, the one before that, and so on: the nearest first. */
async function causesOf(db: Db, parentId: string | null): Promise<RunFamily["causes"]> {
  const ids: string[] = []
  for (let next = parentId; next !== null && ids.length < causesMost && !ids.includes(next); ) {
    ids.push(next)
    const [row] = await db.query<{ parent_id: string | null }>("select parent_id from run where id = $1", [next])
    next = row?.parent_id ?? null
  }
  if (ids.length === 0) return []
  const found = await summariesOf(
    db,
    `(select r.* from run as r where r.id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)) as r`,
    [JSON.stringify(ids.map((each) => [each]))],
  )
  return ids.flatMap((each) => found.find((run) => run.id === each) ?? [])
}

async function siblingsOf(db: Db, fanoutId: string, id: string): Promise<Siblings> {
  const near = async (order: "asc" | "desc"): Promise<string | null> => {
    const [row] = await db.query<{ id: string }>(
      `select id from run where fanout_id = $1 and id ${order === "asc" ? ">" : "<"} $2 order by id ${order} limit 1`,
      [fanoutId, id],
    )
    return row?.id ?? null
  }
  // Along the unusual ends of the time in which the fan-out was sent, which are fewer than its runs.
  const failed = async (order: "asc" | "desc"): Promise<string | null> => {
    const edge = `(select id from run where fanout_id = $1 order by id ${order === "asc" ? "desc" : "asc"} limit 1)`
    const between = order === "asc" ? `s.run_id > $2 and s.run_id <= ${edge}` : `s.run_id < $2 and s.run_id >= ${edge}`
    const [row] = await db.query<{ id: string }>(
      `select s.run_id as id from result as s where s.state = 'failed' and s.state <> 'completed' and ${between}
         and (select fanout_id from run where run.id = s.run_id) = $1 order by s.run_id ${order} limit 1`,
      [fanoutId, id],
    )
    return row?.id ?? null
  }
  const [previous, next, previousFailed, nextFailed] = await together([near("desc"), near("asc"), failed("desc"), failed("asc")])
  return { previous, next, previousFailed, nextFailed }
}

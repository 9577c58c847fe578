import type { Tally } from "../core/activity.ts"
import type { Histogram } from "../core/histogram.ts"
import type { Db } from "./db.ts"

interface TallyRow {
  function_id: string
  at: number
  node_id: string
  completed: number
  failed: number
  retried: number
  durations: string
  delays: string
}

/** What was counted of one function from a moment on; of all functions together with an empty id. */
export async function tallies(db: Db, functionId: string, from: number): Promise<Tally[]> {
  const rows = await db.query<TallyRow>("select * from tally where function_id = $1 and at >= $2 order by at", [functionId, from])
  return rows.map(toTally)
}

/** What was counted of each function from a moment on. */
export async function talliesByFunction(db: Db, from: number): Promise<Tally[]> {
  const rows = await db.query<TallyRow>(
    "select t.* from function as f join tally as t on t.function_id = f.id and t.at >= $1 order by t.function_id, t.at",
    [from],
  )
  return rows.map(toTally)
}

function toTally(row: TallyRow): Tally {
  const { function_id: functionId, at, node_id: nodeId, completed, failed, retried } = row
  const durations = JSON.parse(row.durations) as Histogram
  const delays = JSON.parse(row.delays) as Histogram
  return { functionId, at, nodeId, completed, failed, retried, durations, delays }
}

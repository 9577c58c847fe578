import type { Ended } from "../core/join.ts"
import type { Db } from "./db.ts"
import type { GateColumns } from "./gate.ts"

/** A fan-out as it stands after a count. */
export interface Counted extends GateColumns {
  id: string
  total: number
  completed: number
  failed: number
  cancelled: number
  sealed_at: number | null
  joins: number
  need: number | null
}

const names = [
  "id",
  "total",
  "completed",
  "failed",
  "cancelled",
  "sealed_at",
  "joins",
  "need",
  "rules",
  "gate",
  "paused_at",
  "base_ended",
  "base_failed",
]

/** Its columns, to stand behind `returning`. */
export const counted = names.map((name) => `fanout.${name}`).join(", ")

export function withSeal(row: Counted): Counted & Ended {
  return { ...row, sealed: row.sealed_at !== null }
}

/** The fan-out that an event belongs to was sent by this run, unless another one is known. */
export async function attributeFanout(db: Db, eventId: string, runId: string): Promise<void> {
  await db.execute(`update fanout set run_id = $2 where run_id is null and id = (select fanout_id from event where id = $1)`, [
    eventId,
    runId,
  ])
}

/**
 * The runs of a fan-out lie between its first and its last one: a walk along runs of all kinds need not see what was started before or
 * after it. A database that is not told so takes such a walk for a long one, and does not care any more how it looks up what it finds.
 * @param fanout,run what has the ids
 */
export function amongRunsOf(fanout: string, run: string): string {
  const end = (order: "asc" | "desc"): string => `(select id from run where fanout_id = ${fanout} order by id ${order} limit 1)`
  return `${run} >= ${end("asc")} and ${run} <= ${end("desc")}`
}

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

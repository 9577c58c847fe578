import type { Gate, GateMove, GatePhase, GateRules } from "../core/gate.ts"
import { decideGate, gatedBy, gateRoom } from "../core/gate.ts"
import type { Ended } from "../core/join.ts"
import type { Db } from "./db.ts"

/** The columns of a fan-out that make its gate. */
export interface GateColumns {
  rules: string | null
  gate: GatePhase | null
  paused_at: number | null
  base_ended: number
  base_failed: number
}

export function toGate(row: GateColumns): Gate | null {
  if (row.rules === null) return null
  return {
    rules: JSON.parse(row.rules) as GateRules,
    phase: row.gate ?? "open",
    paused: row.paused_at !== null,
    base: { ended: row.base_ended, failed: row.base_failed },
  }
}

/** Moves the gates of fan-outs whose counts have changed, under the locks of their rows; gives those that are open now. */
export async function moveGates(db: Db, fanouts: readonly (Ended & GateColumns & { id: string })[], now: number): Promise<string[]> {
  const opened: string[] = []
  for (const fanout of fanouts) {
    const gate = toGate(fanout)
    const move: GateMove | null = gate === null ? null : decideGate(gate, fanout)
    if (move?.to === "open") {
      await db.execute("update fanout set gate = 'open', base_ended = completed + failed + cancelled, base_failed = failed where id = $1", [
        fanout.id,
      ])
      opened.push(fanout.id)
    } else if (move?.to === "paused") {
      await db.execute("update fanout set paused_at = $2, pause_reason = $3 where id = $1", [fanout.id, now, move.reason])
    }
  }
  return opened
}

/**
 * What gates leave open now, by the limit of each. It is read from the fan-outs and stored nowhere else, so that a gate which is shut in one
 * transaction is shut for the next one. Nothing is asked when none of the keys is a gate's. The gate of a fan-out that is only being written
 * is shut: what it may let in is let in right after.
 */
export async function gateRooms(db: Db, keys: Iterable<string>): Promise<Map<string, number>> {
  const ids = new Map<string, string>()
  for (const key of keys) {
    const id = gatedBy(key)
    if (id !== null) ids.set(key, id)
  }
  if (ids.size === 0) return new Map()
  const rows = await db.query<GateColumns & { id: string }>(
    `select id, rules, gate, paused_at, base_ended, base_failed from fanout
       where id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`,
    [JSON.stringify([...new Set(ids.values())].map((id) => [id]))],
  )
  const gates = new Map(rows.map((row) => [row.id, toGate(row)]))
  return new Map(
    Array.from(ids, ([key, id]) => {
      const gate = gates.get(id)
      return [key, gate === undefined || gate === null ? 0 : gateRoom(key, gate)]
    }),
  )
}

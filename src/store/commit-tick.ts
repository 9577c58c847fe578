import type { ChangeOf, Unit } from "../core/change.ts"
import type { Column, Db } from "./db.ts"

/** The units, by number, that have a tick which was decided before. */
export async function decidedTicks(db: Db, units: readonly Unit[]): Promise<Set<number>> {
  const ticks = units.flatMap(({ changes }, i) =>
    changes.flatMap((change) => (change.kind === "tick.add" ? [[i, change.tick.scheduleId, change.tick.at] as const] : [])),
  )
  if (ticks.length === 0) return new Set()
  const these = db.dialect.rows("$1", [
    ["i", "bigint"],
    ["schedule_id", "text"],
    ["at", "bigint"],
  ])
  const rows = await db.query<{ i: number }>(
    `select j.i from ${these} as j join tick on tick.schedule_id = j.schedule_id and tick.at = j.at
     union select j.i from ${these} as j join schedule on schedule.id = j.schedule_id and schedule.last_tick_at >= j.at`,
    [JSON.stringify(ticks)],
  )
  return new Set(rows.map(({ i }) => i))
}

const tickColumns: readonly Column[] = [
  ["schedule_id", "text"],
  ["at", "bigint"],
  ["outcome", "text"],
  ["reason", "text"],
  ["run_id", "text"],
  ["decided_at", "bigint"],
]
const tickNames = tickColumns.map(([name]) => name).join(", ")

export async function addTicks(db: Db, changes: readonly ChangeOf<"tick.add">[]): Promise<void> {
  if (changes.length === 0) return
  await db.execute(`insert into tick (${tickNames}) select ${tickNames} from ${db.dialect.rows("$1", tickColumns)} as j where true`, [
    JSON.stringify(changes.map(({ tick: t }) => [t.scheduleId, t.at, t.outcome, t.reason, t.runId, t.decidedAt])),
  ])
}

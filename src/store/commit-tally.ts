import type { ChangeOf } from "../core/change.ts"
import type { Column, Db } from "./db.ts"

const tallyColumns: readonly Column[] = [
  ["function_id", "text"],
  ["at", "bigint"],
  ["node_id", "text"],
  ["completed", "bigint"],
  ["failed", "bigint"],
  ["retried", "bigint"],
  ["durations", "text"],
  ["delays", "text"],
]
const names = tallyColumns.map(([name]) => name).join(", ")

/** Each node has rows of its own, so that none waits for another. */
export async function putTallies(db: Db, changes: readonly ChangeOf<"tally.put">[]): Promise<void> {
  if (changes.length === 0) return
  const rows = changes.flatMap(({ tallies }) =>
    tallies.map((t) => [
      t.functionId,
      t.at,
      t.nodeId,
      t.completed,
      t.failed,
      t.retried,
      JSON.stringify(t.durations),
      JSON.stringify(t.delays),
    ]),
  )
  await db.execute(
    `insert into tally (${names}) select ${names} from ${db.dialect.rows("$1", tallyColumns)} as j where true
       on conflict (function_id, at, node_id) do update set completed = excluded.completed, failed = excluded.failed,
         retried = excluded.retried, durations = excluded.durations, delays = excluded.delays`,
    [JSON.stringify(rows)],
  )
}

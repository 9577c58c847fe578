import { limits } from "../core/limits.ts"
import { type Db, together } from "./db.ts"

export interface NodeRow {
  readonly id: string
  readonly host: string
  readonly pid: number
  /** Ids of the functions whose code it has. */
  readonly functionIds: readonly string[]
}

/** What a node hears at its pulse. */
export interface Pulse {
  /** The registry's version. */
  readonly version: number
  /** Runs that were taken from it: their attempts are to stop. */
  readonly recalled: readonly string[]
}

/** This node lives; hears what happened meanwhile. */
export async function pulse(tx: Db, { id, host, pid, functionIds }: NodeRow, alone: boolean, now: number): Promise<Pulse> {
  if (alone) await tx.execute("delete from node where id <> $1", [id])
  await tx.execute(
    `insert into node (id, host, pid, started_at, seen_at, functions) values ($1, $2, $3, $4, $4, $5)
       on conflict (id) do update set seen_at = excluded.seen_at, functions = excluded.functions`,
    [id, host, pid, now, JSON.stringify(functionIds)],
  )
  const [version, recalled] = await together([
    tx.query<{ version: number }>("select version from registry where id = 1"),
    tx.query<{ run_id: string }>("select run_id from recall where node_id = $1", [id]),
  ])
  return { version: version[0]?.version ?? 0, recalled: recalled.map(({ run_id }) => run_id) }
}

/** As if they had been silent for `leaseMs`. */
export async function declareDead(tx: Db, nodeIds: readonly string[], now: number): Promise<void> {
  await tx.execute(
    `update node set seen_at = $2 where seen_at > $2 and id in (select id from ${tx.dialect.rows("$1", [["id", "text"]])} as j)`,
    [JSON.stringify(nodeIds.map((id) => [id])), now - limits.leaseMs],
  )
}

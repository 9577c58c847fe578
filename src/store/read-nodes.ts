import { limits } from "../core/limits.ts"
import type { NodeSummary } from "../core/views.ts"
import type { Db } from "./db.ts"

interface NodeRow {
  id: string
  host: string
  pid: number
  started_at: number
  seen_at: number
  functions: string
  running: number
}

/** The nodes of the last hour, those that live first. */
export async function nodes(db: Db): Promise<NodeSummary[]> {
  const now = await db.now()
  const rows = await db.query<NodeRow>(
    `select node.*, (select count(*) from lease where lease.node_id = node.id) as running from node order by seen_at desc, id`,
  )
  return rows.map((row) => ({
    id: row.id,
    host: row.host,
    pid: row.pid,
    alive: row.seen_at > now - limits.leaseMs,
    startedAt: row.started_at,
    seenAt: row.seen_at,
    functionIds: JSON.parse(row.functions) as string[],
    leased: row.running,
  }))
}

/** Ids of all but one, also of those that are dead. */
export async function otherNodes(db: Db, nodeId: string): Promise<string[]> {
  return (await db.query<{ id: string }>("select id from node where id <> $1", [nodeId])).map(({ id }) => id)
}

/** The functions whose code some live node has. */
export async function hostedFunctions(db: Db): Promise<ReadonlySet<string>> {
  const rows = await db.query<{ functions: string }>("select functions from node where seen_at > $1", [(await db.now()) - limits.leaseMs])
  return new Set(rows.flatMap(({ functions }) => JSON.parse(functions) as string[]))
}

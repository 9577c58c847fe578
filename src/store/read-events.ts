import { limits } from "../core/limits.ts"
import type { EventDetail, EventSummary, Page } from "../core/views.ts"
import type { Db } from "./db.ts"

interface EventRow {
  id: string
  key: string | null
  name: string
  ts: number
  received_at: number
  fanout_id: string | null
  source_run_id: string | null
}

const columns = "id, key, name, ts, received_at, fanout_id, source_run_id"

/** Newest first, without their data. */
export async function events(db: Db, after: string | null, limit: number = limits.pageRows): Promise<Page<EventSummary>> {
  const rows = await db.query<EventRow>(`select ${columns} from event where id < $1 order by id desc limit $2`, [
    after ?? "evt_~",
    limit + 1,
  ])
  const items = rows.slice(0, limit).map(toEvent)
  return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
}

/** @param chars of the data that are wanted */
export async function event(db: Db, id: string, chars: number): Promise<EventDetail | null> {
  const [row] = await db.query<EventRow & { data: string; data_chars: number }>(
    `select ${columns}, substr(data, 1, $2) as data, length(data) as data_chars from event where id = $1`,
    [id, chars],
  )
  return row === undefined ? null : { ...toEvent(row), data: row.data, dataChars: row.data_chars }
}

function toEvent(row: EventRow): EventSummary {
  return {
    id: row.id,
    key: row.key,
    name: row.name,
    ts: row.ts,
    receivedAt: row.received_at,
    fanoutId: row.fanout_id,
    sourceRunId: row.source_run_id,
  }
}

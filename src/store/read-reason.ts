import { nextAt, type Pending } from "../core/entry.ts"
import type { LimitState } from "../core/room.ts"
import type { LimitClaim } from "../core/run.ts"
import type { Db } from "./db.ts"
import { keyColumn, limitStates } from "./limiter.ts"
import { decodeLimits } from "./queue.ts"

/** Where a run stands that flow control holds back. */
export interface HeldBack {
  readonly function_id: string
  readonly limit_key: string | null
  readonly held_limits: string | null
  readonly timer_limits: string | null
  readonly due_at: number | null
}

/** What has to be known to say why runs are held back. */
export interface Reasons {
  readonly states: ReadonlyMap<string, LimitState>
  readonly pending: ReadonlyMap<string, Pending>
  readonly paused: ReadonlySet<string>
  readonly now: number
}

export async function reasonsFor(db: Db, rows: readonly HeldBack[]): Promise<Reasons> {
  const held = [...new Set(rows.flatMap(({ limit_key }) => limit_key ?? []))]
  const waiting = [...new Set(rows.flatMap(({ timer_limits }) => waitOf(timer_limits)?.key ?? []))]
  const paused = await db.query<{ id: string }>("select id from function where paused is not null")
  const rest =
    waiting.length === 0
      ? []
      : await db.query<{ key: string; pending: string | null }>(
          `select key, pending from limiter where key in (select key from ${db.dialect.rows("$1", keyColumn)} as j)`,
          [JSON.stringify(waiting.map((key) => [key]))],
        )
  return {
    states: held.length === 0 ? new Map() : await limitStates(db, held),
    pending: new Map(rest.flatMap(({ key, pending }) => (pending === null ? [] : [[key, JSON.parse(pending) as Pending]]))),
    paused: new Set(paused.map(({ id }) => id)),
    now: held.length === 0 ? 0 : await db.now(),
  }
}

function waitOf(limits: string | null): LimitClaim | undefined {
  return limits === null ? undefined : decodeLimits(limits).find(({ hold }) => hold === "debounce" || hold === "batch")
}

/** Why a run on a timer waits for more events; null when it does not. */
export function moreReason(row: HeldBack, { pending }: Reasons): string | null {
  const claim = waitOf(row.timer_limits)
  if (claim === undefined) return null
  const until = iso(row.due_at)
  const n = pending.get(claim.key)?.n ?? 1
  if (claim.hold === "debounce") return `debounce: it starts at ${until} if no other event comes before (${claim.key})`
  return `batch: ${n} of ${claim.max} events; it starts at ${until} at the latest (${claim.key})`
}

/** Why a run is held: the limit, and what would have to change. */
export function holdReason(row: HeldBack, { states, paused, now }: Reasons): string {
  const key = row.limit_key ?? ""
  if (paused.has(row.function_id)) return "its function is paused"
  const claim = decodeLimits(row.held_limits).find((each) => each.key === key)
  const state = states.get(key)
  if (claim === undefined || state === undefined) return "its function was paused; it is on its way back into line"
  if (state.heldUntil !== null && state.heldUntil > now)
    return `the limit ${key} is at rest until ${iso(state.heldUntil)}, as one of its runs asked`
  const max = state.max ?? claim.max
  const byHand = state.max === null ? "" : ", set by hand"
  if (claim.throttle === undefined) return `the limit ${key} is full: ${state.used} of ${max} places taken${byHand}`
  const rate = `${max} per ${claim.throttle.periodMs / 1_000} s${byHand}`
  if (max === 0) return `the throttle ${key} lets no run start (${rate})`
  return `the throttle ${key} lets the next run start at ${iso(nextAt(state.rate, { ...claim.throttle, limit: max }))} (${rate})`
}

function iso(at: number | null): string {
  return at === null ? "an unknown time" : new Date(at).toISOString()
}

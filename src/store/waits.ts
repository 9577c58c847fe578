import type { Failure } from "../core/failure.ts"
import { idBefore } from "../core/id.ts"
import { FanfareError } from "../core/errors.ts"
import type { ExpressionEvent } from "../core/expression.ts"
import { limits } from "../core/limits.ts"
import type { RunEvent } from "../core/run.ts"
import { startKey, type WaitKind, type Watch } from "../core/wait.ts"
import { type Doomed, giveOutcomes, type Woke } from "./commit-wait.ts"
import type { Column, Db } from "./db.ts"

/** A run that is to be cancelled, with what is needed to say so. */
export interface CancelFacts {
  readonly id: string
  readonly functionId: string
  readonly rank: number
  readonly fanoutId: string | null
  readonly event: RunEvent
  readonly reason: string
  readonly below: number | null
}

const watchColumns: readonly Column[] = [
  ["name", "text"],
  ["path", "text"],
]

/**
 * From now on every sender knows these names and fields. False: somebody is in the middle of a transaction that does not know them yet,
 * and took too long; ask again.
 */
export async function watch(db: Db, watches: readonly Watch[]): Promise<boolean> {
  const these = JSON.stringify(watches.map(({ name, path }) => [name, path]))
  const rows = db.dialect.rows("$1", watchColumns)
  const known = await db.tx(async (tx) => {
    const found = await tx.query<{ used_at: number }>(
      `select w.used_at from ${rows} as j join watched as w on w.name = j.name and w.path = j.path`,
      [these],
    )
    if (found.length < watches.length) return false
    const now = await tx.now()
    if (found.some(({ used_at }) => used_at < now - limits.watchFreshMs)) {
      await tx.execute(`update watched set used_at = $2 where (name, path) in (select name, path from ${rows} as j)`, [these, now])
    }
    return true
  })
  if (known) return true
  try {
    await db.tx(async (tx) => {
      for (const statement of tx.dialect.seizeRegistry) await tx.execute(statement).catch(busy)
      const [count] = await tx.query<{ n: number }>("select count(*) as n from watched")
      if ((count?.n ?? 0) + watches.length > limits.watches) throw tooMany()
      await tx.execute(
        `insert into watched (name, path, used_at) select name, path, $2 from ${rows} as j where true
           on conflict (name, path) do update set used_at = excluded.used_at`,
        [these, await tx.now()],
      )
      await tx.execute("insert into registry (id, version) values (1, 1) on conflict (id) do update set version = registry.version + 1")
    })
    return true
  } catch (error) {
    if (error instanceof FanfareError && error.code === "stopping") return false
    throw error
  }
}

function busy(): never {
  throw new FanfareError("stopping", "the registry is being read by a transaction under way")
}

function tooMany(): FanfareError {
  return new FanfareError("too_many", `runs wait for more than ${limits.watches} different names and fields of events`, {
    bound: limits.watches,
    hint: "Use few names, and tell events apart by a field: step.waitForEvent(id, { event, match }).",
  })
}

export async function watches(db: Db): Promise<Watch[]> {
  return db.query<Watch>("select name, path from watched order by name, path")
}

/** How many waits for a topic have to be looked at one by one, counted up to a bound. */
export async function unkeyedWaits(db: Db, topic: string, most: number): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    "select count(*) as n from (select 1 as one from wait where topic = $1 and key = '' and condition is not null limit $2) as w",
    [topic, most],
  )
  return row?.n ?? 0
}

/** The latest events of a name that were received since a moment, oldest first, of the last `limits.lookBackEvents` of all names. */
export async function recentEvents(db: Db, name: string, since: number): Promise<ExpressionEvent[]> {
  const rows = await db.query<{ id: string; key: string | null; data: string; ts: number }>(
    `select id, key, data, ts from (select id, key, name, data, ts from event where id > $1 order by id desc limit ${limits.lookBackEvents}) as e
       where e.name = $2 order by id`,
    [idBefore("evt", since), name],
  )
  return rows.map(({ id, key, data, ts }) => ({ id: key ?? id, name, data: JSON.parse(data) as unknown, ts }))
}

interface FactsRow {
  id: string
  function_id: string
  rank: number
  fanout_id: string | null
  event_id: string
  event_key: string | null
  name: string
  data: string
  ts: number
  reason: string
  unbegun: number
}

const factsColumns = "r.id, r.function_id, r.rank, r.fanout_id, e.id as event_id, e.key as event_key, e.name, e.data, e.ts"
const factsJoin = "join event as e on e.id = r.event_id"

export async function doomedRuns(db: Db, limit: number): Promise<CancelFacts[]> {
  const rows = await db.query<FactsRow>(
    `select ${factsColumns}, d.reason, d.unbegun from (select * from doomed order by run_id limit $1) as d join run as r on r.id = d.run_id ${factsJoin}`,
    [limit],
  )
  return rows.map(toFacts)
}

/** One run, to be cancelled for a reason; null when there is none. */
export async function cancelFacts(db: Db, id: string, reason: string): Promise<CancelFacts | null> {
  const [row] = await db.query<FactsRow>(
    `select ${factsColumns}, cast($2 as text) as reason, 0 as unbegun from run as r ${factsJoin} where r.id = $1`,
    [id, reason],
  )
  return row === undefined ? null : toFacts(row)
}

/** Several runs, to be told as cancelled for a reason. */
export async function cancelledFacts(db: Db, ids: readonly string[], reason: string): Promise<CancelFacts[]> {
  if (ids.length === 0) return []
  const rows = await db.query<FactsRow>(
    `select ${factsColumns}, cast($2 as text) as reason, 0 as unbegun from ${db.dialect.rows("$1", [["id", "text"]])} as j
       join run as r on r.id = j.id ${factsJoin}`,
    [JSON.stringify(ids.map((id) => [id])), reason],
  )
  return rows.map(toFacts)
}

function toFacts(row: FactsRow): CancelFacts {
  const { id, function_id: functionId, rank, fanout_id: fanoutId, name, data, ts, reason } = row
  return {
    id,
    functionId,
    rank,
    fanoutId,
    event: { id: row.event_key ?? row.event_id, name, data, ts },
    reason,
    below: row.unbegun === 0 ? null : row.unbegun,
  }
}

const invokeTimeout: Failure = { name: "InvokeTimeoutError", message: "the invoked run did not end in time" }

interface ExpiredRow {
  run_id: string
  step_key: string
  kind: WaitKind
  need: number | null
}

/** Waits whose time is over: their steps get nothing and their runs stand in line again, or the runs are to be cancelled. */
export async function expireWaits(
  db: Db,
  limit: number,
  now: number,
): Promise<{ readonly moved: Woke; readonly doomed: readonly Doomed[] }> {
  const rows = await db.query<ExpiredRow>(
    `with picked as materialized (select run_id, step_key from wait where due_at <= $1 order by due_at limit $2 ${db.dialect.skipLocked})
     delete from wait where (run_id, step_key) in (select run_id, step_key from picked) returning run_id, step_key, kind, need`,
    [now, limit],
  )
  const steps = rows.filter(({ kind }) => kind === "event" || kind === "signal" || kind === "run")
  const moved = await giveOutcomes(
    db,
    steps.map((row) => ({
      row,
      outcome: row.kind === "run" ? { state: "failed", failure: JSON.stringify(invokeTimeout) } : { state: "completed", output: "null" },
    })),
    now,
  )
  const doomed = rows.flatMap(({ run_id, step_key, kind, need }): Doomed[] => {
    if (kind !== "deadline") return []
    if (step_key === startKey) return [{ runId: run_id, reason: "it did not begin in time (timeouts.start)", below: (need ?? 0) + 1 }]
    return [{ runId: run_id, reason: "it did not end in time (timeouts.finish)", below: null }]
  })
  return { moved, doomed }
}

/** What was waited for long ago and is not any more. */
export async function forgetWatches(db: Db, now: number): Promise<void> {
  await db.execute(
    `with picked as materialized (select name, path from watched where used_at < $1 and not exists
       (select 1 from wait where wait.topic = 'event:' || watched.name) ${db.dialect.skipLocked})
     delete from watched where (name, path) in (select name, path from picked)`,
    [now - limits.watchMemoryMs],
  )
  await db.execute("delete from recall where at < $1", [now - limits.nodeMemoryMs])
}

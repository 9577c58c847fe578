import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { LimitClaim } from "../core/run.ts"
import type { SqlFanout } from "../core/transaction.ts"
import { countFanouts } from "./commit-fanout.ts"
import type { Db } from "./db.ts"
import { encodeLimits, firstLimit } from "./queue.ts"
import { releaseAll } from "./release.ts"

/** What a query of the user's is to start. Ids are given by their beginnings; the number of the row completes them. */
export interface SqlRuns extends SqlFanout {
  readonly fanoutId: string
  readonly eventPrefix: string
  readonly sourceRunId: string | null
  readonly trace: string | null
  /** The registry's version up to which `functions` is right. */
  readonly registry: number
  readonly functions: readonly { readonly id: string; readonly runPrefix: string; readonly limits: readonly LimitClaim[] }[]
}

/** A database inside a transaction of the user's: some statements must see the user's tables, and name ours in full. */
export interface UserDb extends Db {
  /** Stands before the name of a table of ours. */
  readonly prefix: string
  asUser<T>(work: () => Promise<T>): Promise<T>
}

/** Events and runs by one `insert … select` each, whatever their number. Gives the number of events; all of it or nothing. */
export async function startFromSql(db: UserDb, runs: SqlRuns, now: number): Promise<number | "stale"> {
  const [known] = await db.query<{ version: number }>("select version from registry where id = 1")
  if ((known?.version ?? 0) > runs.registry) return "stale"
  await db.query("savepoint fanfare_fanout")
  try {
    const events = await insertEvents(db, runs, now)
    if (events > 0) for (const target of runs.functions) await insertRuns(db, runs, target, events, now)
    const total = events * runs.functions.length
    const { fanoutId: id, sourceRunId: runId, name } = runs
    const whole = { key: null, from: 0, taken: events, cursor: null, sealed: true, rules: null, runsBefore: 0 }
    await countFanouts(db, [{ kind: "fanout.grow", id, runId, name, events, runs: total, at: now, ...whole }], [], [], now)
    await db.query("release savepoint fanfare_fanout")
    return events
  } catch (error) {
    await db.query("rollback to savepoint fanfare_fanout")
    throw error
  }
}

async function insertEvents(db: UserDb, runs: SqlRuns, now: number): Promise<number> {
  const params = runs.params ?? []
  const p = (n: number): string => `$${params.length + n}`
  await db.asUser(() =>
    db.query(
      `insert into ${db.prefix}event (id, key, name, data, ts, received_at, fanout_id, source_run_id, trace)
         select cast(${p(1)} as text) || ${db.dialect.hex("row_number() over ()")}, null, cast(${p(2)} as text), cast(q.data as text),
           cast(${p(3)} as bigint), cast(${p(3)} as bigint), cast(${p(4)} as text), cast(${p(5)} as text), cast(${p(6)} as text)
         from (${runs.query}) as q`,
      [...params, runs.eventPrefix, runs.name, now, runs.fanoutId, runs.sourceRunId, runs.trace],
    ),
  )
  const [count] = await db.query<{ n: number; bad: number | null }>(
    `select count(*) as n, sum(case when ${db.dialect.isObject("data")} and octet_length(data) <= $3 then 0 else 1 end) as bad
       from event where id > $1 and id < $2`,
    [runs.eventPrefix, `${runs.eventPrefix}g`, limits.eventBytes],
  )
  if (count?.bad !== null && count?.bad !== 0 && count !== undefined) {
    throw new FanfareError("invalid_event", `${count.bad} of ${count.n} rows of the query have no fit data`, {
      field: "query",
      bound: limits.eventBytes,
      hint: "The column data must be a JSON object of at most 512 KiB: json_build_object('id', id) as data, or json_object on SQLite. Nothing was sent.",
    })
  }
  return count?.n ?? 0
}

async function insertRuns(db: UserDb, runs: SqlRuns, target: SqlRuns["functions"][number], events: number, now: number): Promise<void> {
  const { hex } = db.dialect
  // Events were numbered from 1: their runs are made from the numbers alone.
  const numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < $1)"
  const run = `cast($2 as text) || ${hex("i")}`
  await db.query(
    `insert into run (id, function_id, event_id, fanout_id, parent_id, created_at, rank, limits)
       ${numbers} select ${run}, cast($3 as text), cast($4 as text) || ${hex("i")}, cast($5 as text), cast($6 as text), $7, $7, cast($8 as text) from n`,
    [events, target.runPrefix, target.id, runs.eventPrefix, runs.fanoutId, runs.sourceRunId, now, encodeLimits(target.limits)],
  )
  const first = firstLimit(target)
  const place = first === null ? "ready (" : "held (limit_key, "
  const key = first === null ? "" : "cast($6 as text), "
  await db.query(
    `insert into ${place}run_id, function_id, rank, attempt, fence, losses, limits)
       ${numbers} select ${key}${run}, cast($3 as text), $4, 0, 0, 0, cast($5 as text) from n`,
    [events, target.runPrefix, target.id, now, encodeLimits(target.limits), ...(first === null ? [] : [first])],
  )
  if (first !== null) await releaseAll(db, [first], now)
}

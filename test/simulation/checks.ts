import type { Db } from "../../src/store/db.ts"
import { batchSize, childrenPerParent, type Ledger, limitOfChild, limitOfShared, limitPerTenant, rateLimit, retries } from "./workload.ts"
import type { World } from "./world.ts"

/**
 * The invariants that hold whatever happened, checked on the rows that are left and on what the outside world saw. Numbers are those of
 * the project's reliability catalogue.
 */
export async function checkAll(world: World, ledger: Ledger): Promise<string[]> {
  const { db } = world
  return [
    ...ledger.violations,
    ...world.failures.map((failure) => `the store failed by itself: ${failure}`),
    ...(await acknowledged(db, ledger)),
    ...(await causes(db)),
    ...(await wholeSends(db, ledger)),
    ...(await children(db)),
    ...(await ticks(db)),
    ...(await attempts(world)),
    ...(await orphans(db)),
    ...(await counts(db)),
    ...(await announced(db)),
    ...(await flow(world)),
    ...executions(world, ledger),
  ]
}

async function rows<T>(db: Db, sql: string, params: readonly (string | number)[] = []): Promise<T[]> {
  return db.query<T>(sql, params)
}

/** I1 and I2: what was acknowledged is there, with exactly one run of its function. */
async function acknowledged(db: Db, ledger: Ledger): Promise<string[]> {
  const found = new Map(
    (
      await rows<{ id: string; runs: number }>(
        db,
        `select e.id, (select count(*) from run as r where r.event_id = e.id) + (select count(*) from batched as b where b.event_id = e.id) as runs
           from event as e`,
      )
    ).map((row) => [row.id, row.runs]),
  )
  const byKey = new Map(ledger.acked.map(({ key, id }) => [key, id]))
  return ledger.acked.flatMap(({ id, name, key }) => {
    if (byKey.get(key) !== id) return [`I2: the sender's id ${key} was stored twice: ${id} and ${byKey.get(key)}`]
    const runs = found.get(id)
    if (runs === undefined) return [`I1: event ${id} (${name}) was acknowledged and is not there`]
    return runs === 1 ? [] : [`I2: event ${id} (${name}) has ${runs} runs`]
  })
}

/** I3: every run has its event; I2 for events with an id of their own: one event per id. */
async function causes(db: Db): Promise<string[]> {
  const orphaned = await rows<{ id: string }>(db, "select id from run where event_id not in (select id from event)")
  const twice = await rows<{ key: string }>(db, "select key from event where key is not null group by key having count(*) > 1")
  return [...orphaned.map(({ id }) => `I3: run ${id} has no event`), ...twice.map(({ key }) => `I2: two events with the id ${key}`)]
}

/** A send whose answer was lost is there as a whole, or not at all. */
async function wholeSends(db: Db, ledger: Ledger): Promise<string[]> {
  const keys = new Set((await rows<{ key: string }>(db, "select key from event where key is not null")).map(({ key }) => key))
  return ledger.unknown.flatMap((send) => {
    const there = send.filter((key) => keys.has(key)).length
    return there === 0 || there === send.length ? [] : [`I1: of a send of ${send.length} events, ${there} are there`]
  })
}

/** A parent that was retried or killed has sent once: its children are as many as it has, or none if it never came so far. */
async function children(db: Db): Promise<string[]> {
  const found = await rows<{ id: string; state: string; fan: number; named: number }>(
    db,
    `select r.id, x.state,
       (select count(*) from event as e where e.source_run_id = r.id and e.fanout_id is not null) as fan,
       (select count(*) from event as e where e.source_run_id = r.id and e.fanout_id is null) as named
     from run as r join result as x on x.run_id = r.id where r.function_id = 'sim-parent'`,
  )
  return found.flatMap(({ id, state, fan, named }) => {
    const right = state === "completed" ? fan === childrenPerParent && named === 1 : (fan === 0 || fan === childrenPerParent) && named <= 1
    return right ? [] : [`I2: parent ${id} (${state}) sent ${fan} + ${named} events`]
  })
}

/** I9: at most one run per moment of a schedule; each decided moment has one outcome and, if it fired, its run. */
async function ticks(db: Db): Promise<string[]> {
  const twice = await rows<{ data: string; n: number }>(
    db,
    "select e.data, count(*) as n from run as r join event as e on e.id = r.event_id where r.function_id = 'sim-tick' group by e.data having count(*) > 1",
  )
  const wrong = await rows<{ at: number; outcome: string }>(
    db,
    `select at, outcome from tick where (run_id is not null) <> (outcome in ('fired', 'caught_up'))
       or (run_id is not null and run_id not in (select id from run))`,
  )
  return [
    ...twice.map(({ data, n }) => `I9: ${n} runs for one tick ${data}`),
    ...wrong.map(({ at, outcome }) => `I9: tick ${at} has outcome ${outcome} and a run that does not fit`),
  ]
}

/** I13: attempts stay within the retries, and each waits at least as long as its back-off. */
async function attempts({ db, options }: World): Promise<string[]> {
  const many = await rows<{ run_id: string; attempt: number }>(db, "select run_id, attempt from result where attempt > $1", [retries + 1])
  const early = await rows<{ run_id: string; fence: number }>(
    db,
    `select b.run_id, b.fence from attempt as a join attempt as b on b.run_id = a.run_id and b.fence = a.fence + 1
       where a.failure like '%"message":"try again"%' and b.started_at < a.ended_at + $1`,
    // Each side may have been told by another clock.
    [1_000 - 2 * options.skewMs],
  )
  return [
    ...many.map(({ run_id, attempt }) => `I13: run ${run_id} ended with attempt ${attempt}`),
    ...early.map(({ run_id, fence }) => `I13: run ${run_id} claim ${fence} came before its back-off`),
  ]
}

/** I16 and I17: every run has ended, and nothing is left in a queue, a lease or a slot. */
async function orphans(db: Db): Promise<string[]> {
  const open = await rows<{ id: string }>(db, "select id from run where id not in (select run_id from result)")
  const left = await Promise.all(
    ["ready", "lease", "timer", "held", "slot", "joining", "finished"].map(async (table) => {
      const [row] = await rows<{ n: number }>(db, `select count(*) as n from ${table}`)
      return row?.n === 0 ? [] : [`I16: ${row?.n} rows are left in ${table}`]
    }),
  )
  return [...open.map(({ id }) => `I17: run ${id} has not ended`), ...left.flat()]
}

/** Counts of a fan-out are the truth. */
async function counts(db: Db): Promise<string[]> {
  const wrong = await rows<{ id: string }>(
    db,
    `select f.id from fanout as f where f.total <> (select count(*) from run as r where r.fanout_id = f.id)
       or f.completed <> (select count(*) from run as r join result as x on x.run_id = r.id where r.fanout_id = f.id and x.state = 'completed')
       or f.failed <> (select count(*) from run as r join result as x on x.run_id = r.id where r.fanout_id = f.id and x.state = 'failed')`,
  )
  return wrong.map(({ id }) => `counts of fan-out ${id} are not the truth`)
}

/** The end of each fan-out was announced once. */
async function announced(db: Db): Promise<string[]> {
  const found = await rows<{ id: string; n: number }>(
    db,
    `select f.id, (select count(*) from event as e where e.name = 'fanfare/fanout.completed' and e.data ->> 'fanoutId' = f.id) as n from fanout as f`,
  )
  return found.flatMap(({ id, n }) => (n === 1 ? [] : [`the end of fan-out ${id} was announced ${n} times`]))
}

/** What each rule promises of the runs that are there in the end. */
async function flow(world: World): Promise<string[]> {
  const { db, options } = world
  const rated = await rows<{ tenant: string; created_at: number }>(
    db,
    `select e.data ->> 'tenant' as tenant, r.created_at from run as r join event as e on e.id = r.event_id join result as x on x.run_id = r.id
       where r.function_id = 'sim-flow-rate' and x.state <> 'skipped'`,
  )
  const late = await rows<{ run_id: string; key: string }>(
    db,
    `select s.run_id, s.key from step as s join result as x on x.run_id = s.run_id where x.state = 'cancelled' and s.started_at > x.ended_at + $1`,
    [2 * options.skewMs],
  )
  const skipped = await rows<{ id: string }>(
    db,
    "select run_id as id from result where state in ('skipped', 'cancelled') and reason is null",
  )
  const batches = await rows<{ id: string; n: number; told: string | null }>(
    db,
    `select r.id, 1 + (select count(*) from batched as b where b.run_id = r.id) as n, x.output as told
       from run as r join result as x on x.run_id = r.id where r.function_id = 'sim-flow-batch' and x.state = 'completed'`,
  )
  // A bucket that was full gives its limit at once and fills meanwhile; clocks of nodes differ.
  const rates = [...Map.groupBy(rated, ({ tenant }) => tenant).values()].flatMap((runs) =>
    overIn(
      runs.map(({ created_at }) => created_at),
      rateLimit.periodMs - 2 * options.skewMs,
      2 * rateLimit.limit,
    ),
  )
  return [
    ...skipped.map(({ id }) => `run ${id} was skipped or cancelled without a reason`),
    ...batches.filter(({ n }) => n > batchSize).map(({ id, n }) => `batch ${id} has ${n} events`),
    ...batches
      .filter(({ n, told }) => (JSON.parse(told ?? "[]") as string[]).length !== n)
      .map(({ id, n, told }) => `batch ${id} has ${n} events, its handler saw ${told}`),
    ...rates.map((n) => `rateLimit: ${n} runs were admitted in one period`),
    ...late.map(({ run_id, key }) => `I15: step ${key} of run ${run_id} began after it was cancelled`),
  ]
}

/** How many of these moments lie in one period, where that is more than `most`. */
function overIn(moments: readonly number[], periodMs: number, most: number): number[] {
  const sorted = moments.toSorted((a, b) => a - b)
  return sorted.map((from, i) => sorted.slice(i).filter((at) => at - from < periodMs).length).filter((n) => n > most)
}

/** I5: code runs once per try, and once more at most for each node that died meanwhile or lost its lease. */
function executions(world: World, ledger: Ledger): string[] {
  if (world.crashes > 0 || world.interruptions > 0) return []
  return [...ledger.attempts].flatMap(([key, n]) =>
    n > 1 && !key.includes("undefined") ? [`I5: ${key} began ${n} times without a fault`] : [],
  )
}

/** I7 and I8, at any moment: a run stands in one place, and no limit is exceeded. */
export async function checkNow(db: Db): Promise<string[]> {
  const twice = await rows<{ run_id: string; n: number }>(
    db,
    `select run_id, count(*) as n from (
       select run_id from ready union all select run_id from lease union all select run_id from timer union all select run_id from held
       union all select run_id from result) as places group by run_id having count(*) > 1`,
  )
  const used = await rows<{ limit_key: string; n: number }>(db, "select limit_key, count(*) as n from slot group by limit_key")
  const over = used.filter(({ limit_key, n }) => n > mostOf(limit_key))
  // Counted once more on what nodes really have in their hands.
  const leased = await rows<{ name: string; tenant: string; n: number }>(
    db,
    `select substr(l.function_id, 10) as name, e.data ->> 'tenant' as tenant, count(*) as n from lease as l join run as r on r.id = l.run_id
       join event as e on e.id = r.event_id where l.function_id like 'sim-flow-%' group by 1, 2`,
  )
  const sharing = leased.filter(({ name }) => name === "keys" || name === "whole").reduce((sum, { n }) => sum + n, 0)
  return [
    ...leased
      .filter(({ name, n }) => n > (mostPerTenant[name] ?? n))
      .map(({ name, tenant, n }) => `I8: ${n} runs of ${name} execute for ${tenant}`),
    ...(sharing > limitOfShared ? [`I8: ${sharing} runs execute under the shared limit`] : []),
    ...twice.map(({ run_id, n }) => `I7: run ${run_id} stands in ${n} places`),
    ...over.map(({ limit_key, n }) => `I8: limit ${limit_key} has ${n} runs`),
  ]
}

const mostPerTenant: Readonly<Record<string, number>> = { keys: limitPerTenant, whole: limitPerTenant, skip: 1, cancel: 1 }

/** Limits that are set by hand in the simulation are only made smaller: what has started goes on. */
function mostOf(key: string): number {
  // Suspects' limits have their number in their name.
  if (key.startsWith("suspects:")) return Number(key.slice(9))
  if (key.startsWith("fn:sim-flow")) return limitPerTenant
  if (key === "env:shared") return limitOfShared
  return key === "fn:sim-child" ? limitOfChild : 1
}

import type { Db } from "../../src/store/db.ts"
import { momentsOf } from "../../src/core/schedule.ts"
import { type ScheduleRow, toSchedule } from "../../src/store/commit-schedule.ts"
import {
  batchSize,
  childrenPerParent,
  type Ledger,
  limitOfChild,
  limitOfShared,
  limitPerTenant,
  rateLimit,
  reachMs,
  retries,
  waitMs,
} from "./workload.ts"
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
    ...(await announced(db, ledger)),
    ...(await sources(db, ledger)),
    ...(await flow(world)),
    ...executions(world, ledger),
    ...(await waits(world, ledger)),
    ...(await cancels(db, ledger)),
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
    `select at, outcome from tick where (run_id is not null) <> (outcome in ('fired', 'caught_up', 'backfilled'))
       or (run_id is not null and run_id not in (select id from run))`,
  )
  const stray = await rows<{ id: string }>(
    db,
    "select id from run where function_id in ('sim-beat', 'sim-tick') and id not in (select run_id from tick where run_id is not null)",
  )
  return [
    ...(await undecided(db)),
    ...stray.map(({ id }) => `I9: run ${id} of a schedule belongs to no tick`),
    ...twice.map(({ data, n }) => `I9: ${n} runs for one tick ${data}`),
    ...wrong.map(({ at, outcome }) => `I9: tick ${at} has outcome ${outcome} and a run that does not fit`),
  ]
}

/** I9: of each schedule every moment from the first to the last that was decided has its row, or waits. */
async function undecided(db: Db): Promise<string[]> {
  const schedules = await rows<ScheduleRow>(db, "select * from schedule")
  const found: string[] = []
  for (const { id, rule, policies, createdAt, lastTickAt, waitingAt } of schedules.map(toSchedule)) {
    if (lastTickAt === null) continue
    const decided = new Set((await rows<{ at: number }>(db, "select at from tick where schedule_id = $1", [id])).map(({ at }) => at))
    const moments = momentsOf(rule, policies)
    for (let at = moments.next(createdAt); at !== null && at <= lastTickAt; at = moments.next(at)) {
      if (!decided.has(at) && at !== waitingAt) found.push(`I9: moment ${at} of ${id} was never decided`)
    }
  }
  return found
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
    ["ready", "lease", "timer", "held", "slot", "wait", "doomed", "finished"].map(async (table) => {
      const [row] = await rows<{ n: number }>(db, `select count(*) as n from ${table}`)
      return row?.n === 0 ? [] : [`I16: ${row?.n} rows are left in ${table}`]
    }),
  )
  return [...open.map(({ id }) => `I17: run ${id} has not ended`), ...left.flat()]
}

/** Counts of a fan-out are the truth, those of its failures by cause too. */
async function counts(db: Db): Promise<string[]> {
  const truth = (states: string): string =>
    `(select count(*) from run as r join result as x on x.run_id = r.id where r.fanout_id = f.id and x.state in (${states}))`
  const wrong = await rows<{ id: string }>(
    db,
    `select f.id from fanout as f where f.total <> (select count(*) from run as r where r.fanout_id = f.id)
       or f.completed <> ${truth("'completed'")} or f.failed <> ${truth("'failed'")} or f.cancelled <> ${truth("'cancelled', 'skipped'")}
       or f.failed <> (select coalesce(sum(g.failures), 0) from failure_group as g where g.fanout_id = f.id)`,
  )
  return wrong.map(({ id }) => `counts of fan-out ${id} are not the truth`)
}

/** The end of each fan-out was announced once; of one that was retried, once for each end that it had. */
async function announced(db: Db, { retried }: Ledger): Promise<string[]> {
  const found = await rows<{ id: string; n: number }>(
    db,
    `select f.id, (select count(*) from event as e where e.name = 'fanfare/fanout.completed' and e.data ->> 'fanoutId' = f.id) as n from fanout as f`,
  )
  return found.flatMap(({ id, n }) => (n === 1 || (n > 1 && retried.has(id)) ? [] : [`the end of fan-out ${id} was announced ${n} times`]))
}

/** Each item of a source is there once, whoever went on with it; and all of them, unless the fan-out was cancelled. */
async function sources(db: Db, ledger: Ledger): Promise<string[]> {
  const found = await rows<{ id: string; key: string | null; cancelled_at: number | null; items: number; different: number }>(
    db,
    `select f.id, f.key, f.cancelled_at, (select count(*) from event as e where e.fanout_id = f.id) as items,
       (select count(distinct e.data) from event as e where e.fanout_id = f.id) as different
     from fanout as f where f.name = 'sim/leaf' or f.name = ''`,
  )
  return found.flatMap(({ id, key, cancelled_at, items, different }) => {
    const wanted = ledger.sources.get(key ?? id) ?? items
    const whole = cancelled_at === null && !ledger.cancelledFanouts.has(id) ? items === wanted : items <= wanted
    return items === different && whole ? [] : [`fan-out ${id} of ${wanted} items has ${items}, ${different} of them different`]
  })
}

/** I14: a wait that timed out missed no event that was sent well after it began, and acknowledged well before its end. */
async function waits({ db }: World, ledger: Ledger): Promise<string[]> {
  const timedOut = await rows<{ run_id: string; started_at: number; k: string }>(
    db,
    `select s.run_id, s.started_at, e.data ->> 'k' as k from step as s join run as r on r.id = s.run_id join event as e on e.id = r.event_id
       where s.kind = 'event' and s.state = 'completed' and s.output = 'null'`,
  )
  const missed = timedOut.flatMap(({ run_id, started_at, k }) =>
    ledger.told
      .filter(
        (each) =>
          each.name === "sim/answer" && each.k === k && each.from > started_at + reachMs && each.until < started_at + waitMs - reachMs,
      )
      .map(() => `I14: the wait of ${run_id} timed out though its event came`),
  )
  const open = await rows<{ run_id: string }>(
    db,
    `select s.run_id from step as s join result as x on x.run_id = s.run_id where s.state = 'waiting' and s.kind in ('event', 'signal', 'invoke')
       and x.state = 'completed'`,
  )
  return [...missed, ...open.map(({ run_id }) => `I14: run ${run_id} has completed and a step of it still waits`)]
}

/** I12: what was acknowledged as cancelled is, and is told once; I15: a run that an event cancels does not complete long after it. */
async function cancels(db: Db, ledger: Ledger): Promise<string[]> {
  const found = await rows<{
    run_id: string
    state: string
    k: string
    function_id: string
    created_at: number
    ended_at: number
    told: number
  }>(
    db,
    `select x.run_id, x.state, e.data ->> 'k' as k, r.function_id, r.created_at, x.ended_at,
       (select count(*) from event as c where c.name = 'fanfare/function.cancelled' and c.data ->> 'runId' = x.run_id) as told
     from result as x join run as r on r.id = x.run_id join event as e on e.id = r.event_id`,
  )
  return found.flatMap(({ run_id, state, k, function_id, created_at, ended_at, told }) => {
    const wrong: string[] = []
    if (ledger.cancelled.has(run_id) && state !== "cancelled") wrong.push(`I12: run ${run_id} was cancelled and is ${state}`)
    if (told !== (state === "cancelled" ? 1 : 0)) wrong.push(`the cancellation of ${run_id} (${state}) was told ${told} times`)
    const stop = ledger.told.find((each) => each.name === "sim/stop" && each.k === k && each.from > created_at + reachMs)
    if (function_id === "sim-stoppable" && state === "completed" && stop !== undefined && ended_at > stop.until + reachMs) {
      wrong.push(`I15: run ${run_id} completed though an event had cancelled it`)
    }
    return wrong
  })
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
  const skipped = await rows<{ id: string }>(db, "select run_id as id from result where state = 'skipped' and reason is null")
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
    ...skipped.map(({ id }) => `run ${id} was skipped without a reason`),
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
  const early = await rows<{ id: string; n: number }>(
    db,
    `select id, n from (select f.id, f.rules, (select count(*) from run as r where r.fanout_id = f.id and (r.id in (select run_id from ready)
         or r.id in (select run_id from lease) or r.id in (select run_id from result where state <> 'cancelled'))) as n
       from fanout as f where f.gate = 'canary' and f.cancelled_at is null) as g where n > g.rules ->> 'canary'`,
  )
  const beside = await rows<{ id: string; n: number }>(
    db,
    `select t.schedule_id as id, count(*) as n from tick as t where t.schedule_id in ('sim-skip', 'sim-queue', 'sim-cancel') and t.run_id is not null
       and t.outcome <> 'backfilled' and not exists (select 1 from result as x where x.run_id = t.run_id) group by t.schedule_id having count(*) > 1`,
  )
  return [
    ...leased
      .filter(({ name, n }) => n > (mostPerTenant[name] ?? n))
      .map(({ name, tenant, n }) => `I8: ${n} runs of ${name} execute for ${tenant}`),
    ...(sharing > limitOfShared ? [`I8: ${sharing} runs execute under the shared limit`] : []),
    ...early.map(({ id, n }) => `canary: ${n} runs of fan-out ${id} have begun`),
    ...beside.map(({ id, n }) => `overlap: ${n} runs of the schedule ${id} live`),
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
  if (key.startsWith("fan:")) return 500
  return key === "fn:sim-child" ? limitOfChild : 1
}

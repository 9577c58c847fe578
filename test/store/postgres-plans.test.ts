import { randomUUID } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { systemClock } from "../../src/engine/system.ts"
import type { Db } from "../../src/store/db.ts"
import { postgresPlace } from "../../src/store/open-postgres.ts"
import { openPostgres, type PostgresOptions } from "../../src/store/postgres.ts"
import { openReader, openStore, storeOn } from "../../src/store/store.ts"
import { startPostgres, type TestServer } from "./postgres.ts"
import { exercise, exerciseReader } from "./statements.ts"

const million = 1_000_000
let server: TestServer
let engine: Db
let people: Db
const open = (url: string, use: PostgresOptions["use"]): Promise<Db> =>
  openPostgres({ ...postgresPlace(url), connections: 2, use, wait: (ms) => delay(ms), newId: randomUUID })

beforeAll(async () => {
  server = await startPostgres(["max_wal_size=4GB", "synchronous_commit=off", "autovacuum=off"])
  const url = await server.database()
  const upgrade = await open(url, "upgrade")
  await openStore(upgrade, systemClock)
  await fill(upgrade)
  await upgrade.close()
  engine = await open(url, "engine")
  people = await open(url, "people")
}, 180_000)
afterAll(async () => {
  await engine.close()
  await people.close()
  await server.stop()
})

/** A million runs: nine in ten have ended, with their records; the others stand in line, are held, or wait for their time. */
async function fill(db: Db): Promise<void> {
  const series = `from generate_series(1, ${million}) as i`
  const some = `from generate_series(1, ${million / 5}) as i`
  const id = (kind: string): string => `'${kind}_' || lpad(i::text, 22, '0')`
  const ended = "i % 10 <> 0"
  await db.execute(`insert into event (id, key, name, data, ts, received_at, fanout_id)
    select ${id("evt")}, case when i % 100 = 0 then 'key ' || i end, 'e', '{"i":' || i || '}', i, i, 'fan_' || lpad((i / 1000)::text, 22, '0') ${series}`)
  await db.execute(`insert into event_key (key, event_id, expires_at) select 'key ' || i, ${id("evt")}, i ${series} where i % 100 = 0`)
  await db.execute(`insert into run (id, function_id, event_id, fanout_id, parent_id, created_at, rank)
    select ${id("run")}, 'app-f' || i % 20, ${id("evt")}, 'fan_' || lpad((i / 1000)::text, 22, '0'),
      case when i % 10 = 2 then 'run_' || lpad((i / 2)::text, 22, '0') end, i, i ${series}`)
  await db.execute(`insert into traced (run_id, trace) select ${id("run")}, '00-' || i ${series} where i % 10 = 3`)
  await db.execute(
    `insert into logout (key_id, login_id, at, until_at) select 'k' || i % 100, 'l' || i, i, i from generate_series(1, 10000) as i`,
  )
  await db.execute(`insert into result (run_id, state, attempt, output, started_at, ended_at)
    select ${id("run")}, case when i % 1000 = 1 then 'failed' else 'completed' end, 1, 'null', i, i ${series} where ${ended}`)
  await db.execute(`insert into step (run_id, key, fence, kind, state, attempts, started_at, ended_at)
    select ${id("run")}, 's', 1, 'run', 'completed', 1, i, i ${series} where i % 5 = 1`)
  await db.execute(`insert into attempt (run_id, fence, attempt, started_at, ended_at, failure)
    select ${id("run")}, 1, 1, i, i, '{"name":"E","message":"m"}' ${series} where i % 20 = 1`)
  await db.execute(
    `insert into log (run_id, line, fence, at, level, message) select ${id("run")}, 0, 1, i, 'info', 'hello' ${series} where i % 5 = 1`,
  )
  await db.execute(`insert into fanout (id, name, events, taken, total, completed, failed, cancelled, created_at, grown_at, sealed_at,
      ended_before, base_ended, base_failed, joins)
    select 'fan_' || lpad(i::text, 22, '0'), 'e', 1000, 1000, 1000, 900, 0, 0, i, i, i, 0, 0, 0, 0 from generate_series(0, 1000) as i`)
  const queue = `${id("run")}, 'app-f' || i % 20, i, 0, 0, 0, null`
  await db.execute(
    `insert into ready (run_id, function_id, rank, attempt, fence, losses, limits) select ${queue} ${series} where i % 20 = 0`,
  )
  await db.execute(`insert into timer (due_at, state, run_id, function_id, rank, attempt, fence, losses, limits)
    select 4000000000000 + i, 'scheduled', ${queue} ${series} where i % 40 = 10`)
  await db.execute(`insert into held (limit_key, run_id, function_id, rank, attempt, fence, losses, limits)
    select 'l' || i % 1000, ${queue} ${series} where i % 40 = 30`)
  await db.execute(`insert into wait (run_id, step_key, kind, topic, key, due_at) select ${id("run")}, 's', case when i % 80 = 20 then 'event' else 'fanout' end,
    case when i % 80 = 20 then 'event:app/paid' else 'fanout:fan_' || i end, case when i % 80 = 20 then 'data.id=' || i else '' end,
    case when i % 80 = 20 then 4000000000000 + i end ${series} where i % 40 = 20`)
  await db.execute(`insert into failure_group (fanout_id, fingerprint, failures, first_at, last_at, run_id)
    select 'fan_' || lpad((i / 10)::text, 22, '0'), 'g' || i, 1, i, i, 'run_' || i from generate_series(0, 10000) as i`)
  await db.execute(`insert into operation (id, kind, fanout_id, snapshot_at, cursor, looks, next_at, affected, created_at, ended_at)
    select 'op_' || i, 'retry', 'fan_' || i, i, '', 0, i, 0, i, i from generate_series(1, 10000) as i`)
  await db.execute(`insert into schedule (id, app_id, function_id, rule, tag, created_at, updated_at, last_tick_at, next_tick_at, next_at, ended_at)
    select 'app-s' || i, case when i % 10000 = 0 then 'app' end, 'app-f', '{"kind":"every","everyMs":3600000,"anchorAt":0}', 't' || i % 1000, i, i, i,
      4000000000000 + i, case when i % 10 <> 0 then 4000000000000 + i end, case when i % 10 = 0 then i end ${some}`)
  await db.execute(`insert into tick (schedule_id, at, outcome, decided_at) select 'app-s' || i % 1000, i, 'fired', i ${some}`)
  await db.execute(`insert into slot (limit_key, run_id) select 'l' || i % 1000, ${id("run")} ${series} where i % 10 = 3`)
  await db.execute(`insert into batched (run_id, event_id) select ${id("run")}, ${id("evt")} ${series} where i % 10 = 1`)
  await db.execute(`insert into traced (run_id, trace) select ${id("run")}, '00-' || i ${series} where i % 10 = 4`)
  await db.execute(`insert into limiter (key, rate, keep_until) select 'once:' || i, i, 4000000000000 + i ${series} where i % 10 = 2`)
  await db.execute(`insert into tally (function_id, at, node_id, completed, failed, retried, durations, delays)
    select 'app-f' || i % 20, i / 20 * 60000, 'node_a', 1, 0, 0, '{}', '{}' from generate_series(1, 100000) as i`)
  await db.execute("analyze")
}

/** The schedules of cron triggers have an index with nothing else in it: as many as there are in the code of all apps. */
const ofCode = /^Index Scan of schedule in select \* from schedule where app_id is not null/

interface Plan {
  "Node Type": string
  "Relation Name"?: string
  "Index Cond"?: string
  Plans?: Plan[]
}

function nodesOf(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]
}

/** Every table that a plan reads from end to end. */
async function scansOf(db: Db, text: string): Promise<string[]> {
  if (/^(lock|set|savepoint|release|rollback) /.test(text)) return []
  return db.tx(async (tx) => {
    const types = [...text.matchAll(/\$(\d+)/g)].map(([, n]) => Number(n))
    // A generic plan: right for whatever the parameters are.
    await tx.execute("set local plan_cache_mode = force_generic_plan")
    await tx.execute(`prepare shown as ${text}`)
    const nulls = Array.from({ length: Math.max(0, ...types) }, () => "null").join(", ")
    const [row] = await tx.query<Record<string, unknown>>(`explain (format json) execute shown${nulls === "" ? "" : `(${nulls})`}`)
    await tx.execute("deallocate shown")
    const plan = row?.["QUERY PLAN"] as [{ Plan: Plan }]
    return nodesOf(plan[0].Plan)
      .filter(
        (node) =>
          node["Relation Name"] !== undefined &&
          (node["Node Type"] === "Seq Scan" || (/Index/.test(node["Node Type"]) && node["Index Cond"] === undefined)),
      )
      .map((node) => `${node["Node Type"]} of ${node["Relation Name"]} in ${text.replaceAll(/\s+/g, " ").slice(0, 160)}`)
  })
}

/** The statements that are asked of a database while `work` uses it. */
async function statementsOf(db: Db, work: (recorded: Db) => Promise<void>): Promise<string[]> {
  const texts = new Set<string>()
  const record = (inner: Db): Db => ({
    dialect: inner.dialect,
    query: (sql, params) => (texts.add(sql), inner.query(sql, params)),
    execute: (sql, params) => (texts.add(sql), inner.execute(sql, params)),
    tx: (each) => inner.tx((tx) => each(record(tx))),
    now: () => inner.now(),
    close: () => inner.close(),
  })
  await work(record(db))
  return [...texts]
}

describe("with a million runs on PostgreSQL", () => {
  it("every statement of the engine goes along an index", { timeout: 120_000 }, async () => {
    const texts = await statementsOf(engine, (recorded) => exercise(storeOn(recorded, systemClock), openReader(recorded)))
    expect(texts.length).toBeGreaterThan(35)
    const scans = (await Promise.all(texts.map((text) => scansOf(engine, text)))).flat()
    // Tables with a row per node, lease, function, app, name that is waited for, or run or fan-out that is just ending are small by nature; so is the index of operations under
    // way. The smallest key of an index, and the oldest results and limits, are walks that end at their limit.
    expect(
      scans.filter(
        (scan) =>
          !/ of (node|lease|function|app|registry|limiter|finished|watched|doomed|recall) in /.test(scan) &&
          !ofCode.test(scan) &&
          !/ of operation in (select \* from operation where ended_at is null|select min\(next_at\))/.test(scan) &&
          !/^Index Only Scan of (run|wait) in select m(in|ax)\(/.test(scan) &&
          !scan.startsWith("Index Scan of run in select r.id, r.function_id") &&
          !/ of (ready|held|timer|wait) in (with recursive|select min|select count\(\*\) as n from \(select 1 from)/.test(scan),
      ),
    ).toEqual([])
  })

  it("every list that people ask for goes along an index, page by page", { timeout: 120_000 }, async () => {
    const texts = await statementsOf(people, (recorded) => exerciseReader(openReader(recorded)))
    const scans = (await Promise.all(texts.map((text) => scansOf(people, text)))).flat()
    // The newest runs and fan-outs, with how they ended, are an index walked backwards until the page is full. The list of runs in line
    // looks through the backlog, never the history; what is counted is counted up to 10,000.
    const walks = [
      /^Index (Only )?Scan of (r|run|fanout|f|result|event|operation)\b/,
      /^(Seq|Index Only) Scan of ready in select r\.id/,
      /^Index Only Scan of ready in with recursive f/,
      / in select count\(\*\) as n from \(select 1 from/,
      ofCode,
    ]
    const small = / of (node|lease|function|app|registry|watched|logout) in /
    expect(scans.filter((scan) => ![...walks, small].some((pattern) => pattern.test(scan)))).toEqual([])
  })

  it("claims, commits and lists touch few pages, however many rows there are", { timeout: 120_000 }, async () => {
    const store = storeOn(engine, systemClock)
    const [server] = await engine.query<{ version: number }>("select current_setting('server_version_num')::int as version")
    const asked = (server?.version ?? 0) >= 150_000
    const pages = async (): Promise<number> => {
      // Each connection tells what it has touched when it is asked to, at the end of its transaction; those of PostgreSQL 14 do so by themselves, later.
      const tell = asked ? "select pg_stat_force_next_flush(), pg_sleep(0.05)" : "select pg_sleep(0.05)"
      await Promise.all([engine, engine, people, people].map((db) => db.query(tell)))
      if (!asked) await delay(1_200)
      const [row] = await engine.query<{ n: number }>(
        "select sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint as n from pg_statio_user_tables",
      )
      return row?.n ?? 0
    }
    await delay(1_200)
    const before = await pages()
    const functionIds = Array.from({ length: 20 }, (_, i) => `app-f${i}`)
    const claim = await store.turn({ units: [], claim: { nodeId: "node_a", functionIds, limit: 100, after: "" } })
    expect(claim.claim?.runs).toHaveLength(100)
    await delay(1_200)
    const touched = (await pages()) - before
    // 100 runs: a handful of pages each for the walk, the move and the payload.
    expect(touched).toBeGreaterThan(100)
    expect(touched).toBeLessThan(8_000)
    // A thousand have failed, before and after this fan-out's own.
    const listing = await pages()
    const failed = await openReader(people).runs({ fanoutId: `fan_${"500".padStart(22, "0")}`, state: "failed" })
    expect(failed.items).toHaveLength(1)
    await delay(1_200)
    expect((await pages()) - listing).toBeLessThan(2_000)
  })
})

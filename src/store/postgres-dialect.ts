import type { Dialect } from "./db.ts"

/** The channel on which nodes, and transactions of user code, tell that there is something to claim. */
export function bellChannel(schema: string): string {
  return `fanfare_${schema}`
}

/** Where statements of two connections meet, PostgreSQL locks rows; the planner is told what a queue is like (see `session`). */
export function postgresDialect(schema: string): Dialect {
  return {
    name: "postgres",
    // As text first: some drivers would make JSON of a parameter that is typed as JSON, once more.
    rows: (param, columns) =>
      `(select ${columns.map(([name, type], i) => `(value ->> ${i})::${type} as ${name}`).join(", ")} from jsonb_array_elements(${param}::text::jsonb))`,
    gather: (columns) => `json_agg(json_build_array(${columns}))::text`,
    concurrent: true,
    lockRows: "for update",
    shareRows: "for share",
    // Whoever reads a table holds it open until the transaction ends. Others queue up behind this: not for long.
    seizeRegistry: ["set local lock_timeout = '100ms'", "lock table registry in access exclusive mode"],
    unlessBusy: {
      before: [
        "savepoint unless_busy",
        "select set_config('fanfare.lock_timeout', current_setting('lock_timeout'), true), set_config('lock_timeout', '1ms', true)",
      ],
      after: ["select set_config('lock_timeout', current_setting('fanfare.lock_timeout'), true)", "release savepoint unless_busy"],
      failed: "rollback to savepoint unless_busy",
    },
    skipLocked: "for update skip locked",
    hex: (expression) => `lpad(to_hex(${expression}), 8, '0')`,
    isObject: (expression) => `json_typeof(${expression}::json) = 'object'`,
    findTable: `select tablename from pg_tables where schemaname = '${schema}' and tablename = $1`,
    // Ids sort by their bytes, whatever the language of the database.
    define: (statement) => statement.replaceAll(/ text\b/g, ' text collate "C"'),
    prepare: [
      "select pg_advisory_xact_lock(6046213590110261)",
      `do $$ begin
         if not exists (select 1 from pg_namespace where nspname = '${schema}') then create schema "${schema}"; end if;
       end $$`,
      // A transaction leaves a row here: whether it is there tells what became of a commit whose answer was lost.
      `create table if not exists receipt (id text collate "C" primary key, at timestamptz not null default now())`,
    ],
    upkeep,
  }
}

const live = ["timer", "held", "ready", "lease", "slot", "limiter"]
const updated = ["fanout", "failure_group", "step", "node", "schedule", "event_key"]
const written = ["event", "run", "result", "attempt", "log", "tick"]

/**
 * Queues turn over completely all the time, so their dead rows are cleared at a small number of them and not at a share of a table
 * that may be empty. What is updated in place has room beside each row (HOT). History only grows, and is vacuumed by its inserts.
 */
const upkeep: readonly string[] = [
  ...[...live, "receipt"].map(
    (table) =>
      `alter table ${table} set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0,
         autovacuum_vacuum_insert_threshold = 100000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000,
         autovacuum_vacuum_cost_delay = 0)`,
  ),
  ...updated.map(
    (table) => `alter table ${table} set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000)`,
  ),
  ...written.map((table) => `alter table ${table} set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)`),
]

/** Milliseconds. A node that stops in the middle of a transaction must not hold its locks for long. */
export interface Timeouts {
  readonly statementMs: number
  readonly lockMs: number
  readonly idleMs: number
}

/**
 * The settings of one transaction, set with it and gone with it, so that any pooler will do. The planner's numbers about a queue are
 * always wrong (it was empty a second ago, or had a million rows), and each statement here has one right plan: along the index.
 */
export function session(schema: string, timeouts: Timeouts, forQueues: boolean): string {
  const settings: [string, string][] = [
    ["search_path", `"${schema}"`],
    ["statement_timeout", String(timeouts.statementMs)],
    ["lock_timeout", String(timeouts.lockMs)],
    ["idle_in_transaction_session_timeout", String(timeouts.idleMs)],
    ["jit", "off"],
    ...(forQueues ? (["enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan"] as const) : []).map(
      (name): [string, string] => [name, "off"],
    ),
  ]
  const list = settings.map(([name, value]) => `set_config('${name}', '${value}', true)`)
  return `select ${list.join(", ")}, (extract(epoch from clock_timestamp()) * 1000)::bigint as now`
}

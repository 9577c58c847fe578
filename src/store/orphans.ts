import type { Db } from "./db.ts"

/** Rows that nothing leads to any more. There should be none: each kind says what it would mean, and how it is put right. */
export interface OrphanKind {
  readonly name: string
  readonly means: string
  readonly count: string
  readonly repair: readonly string[]
}

const ended = "exists (select 1 from result where result.run_id = r.id)"
const standing = ["timer", "held", "ready", "lease"]
  .map((table) => `exists (select 1 from ${table} as q where q.run_id = r.id)`)
  .join(" or ")

const parts = ["step", "attempt", "log"]
const runless = (table: string): string => `not exists (select 1 from run where run.id = ${table}.run_id)`

const ends = (states: string): string =>
  `(select count(*) from run as r join result as x on x.run_id = r.id where r.fanout_id = f.id and x.state in (${states}))`
const truth = `select f.id, f.total, f.completed, f.failed, f.cancelled, (select count(*) from run as r where r.fanout_id = f.id) as runs,
    ${ends("'completed'")} as true_completed, ${ends("'failed'")} as true_failed, ${ends("'cancelled', 'skipped'")} as true_cancelled
  from fanout as f`
const failuresOf = `select count(*) from run as r join result as x on x.run_id = r.id
    where r.fanout_id = g.fanout_id and x.state = 'failed' and x.fingerprint = g.fingerprint`
const grouped =
  "exists (select 1 from fanout as f where f.id = g.fanout_id and f.total = (select count(*) from run as r where r.fanout_id = f.id))"

/** A run that keeps its place while it waits or sleeps: see `LimitClaim` in core/run.ts. */
const keeps = ["taken", "debounce", "batch"].map((hold) => `q.limits like '%"${hold}"%'`).join(" or ")
const placeless = `not exists (select 1 from ready as q where q.run_id = slot.run_id)
      and not exists (select 1 from lease as q where q.run_id = slot.run_id)
      and not (slot.limit_key like 'fan:%' and (exists (select 1 from timer as q where q.run_id = slot.run_id)
        or exists (select 1 from held as q where q.run_id = slot.run_id)))
      and not exists (select 1 from timer as q where q.run_id = slot.run_id and (${keeps}))
      and not exists (select 1 from held as q where q.run_id = slot.run_id and (${keeps}))`

const orphanKinds: readonly OrphanKind[] = [
  {
    name: "runs that stand nowhere",
    means: "they would never run",
    count: `select count(*) as n from run as r where not (${ended} or ${standing})`,
    repair: [
      `insert into ready (run_id, function_id, rank, attempt, fence, losses, limits)
      select r.id, r.function_id, r.rank, 0, coalesce((select max(fence) from attempt as a where a.run_id = r.id), 0) + 1, 0, null
      from run as r where not (${ended} or ${standing})`,
    ],
  },
  {
    name: "runs that ended and stand in line",
    means: "they would run again",
    count: `select count(*) as n from ready where exists (select 1 from result where result.run_id = ready.run_id)`,
    repair: ["delete from ready where exists (select 1 from result where result.run_id = ready.run_id)"],
  },
  {
    name: "places in limits that nobody takes up",
    means: "their limits have less room than they should",
    count: `select count(*) as n from slot where ${placeless}`,
    repair: [`delete from slot where ${placeless}`],
  },
  {
    name: "steps, attempts and logs without a run",
    means: "they take up space",
    count: `select ${parts.map((table) => `(select count(*) from ${table} where ${runless(table)})`).join(" + ")} as n`,
    repair: parts.map((table) => `delete from ${table} where ${runless(table)}`),
  },
  {
    name: "waits of runs that have ended",
    means: "events look at them in vain",
    count: "select count(*) as n from wait where exists (select 1 from result where result.run_id = wait.run_id)",
    repair: ["delete from wait where exists (select 1 from result where result.run_id = wait.run_id)"],
  },
  {
    name: "fan-outs whose counts are not the truth",
    means: "their progress is shown wrongly, and joins may wait for ever",
    // Of a fan-out whose runs were pruned only the counts are left.
    count: `select count(*) as n from (${truth}) as t where t.runs = t.total and ${["completed", "failed", "cancelled"]
      .map((state) => `t.${state} = t.true_${state}`)
      .join(" and ")
      .replace(/^/, "not (")})`,
    repair: [
      `update fanout set ${["completed", "failed", "cancelled"].map((state) => `${state} = t.true_${state}`).join(", ")}
      from (${truth}) as t where t.id = fanout.id and t.runs = t.total`,
    ],
  },
  {
    name: "groups of failures whose counts are not the truth",
    means: "the causes of failures are shown wrongly",
    count: `select count(*) as n from failure_group as g where ${grouped} and g.failures <> (${failuresOf})`,
    repair: [`update failure_group as g set failures = (${failuresOf}) where ${grouped}`, "delete from failure_group where failures <= 0"],
  },
]

export async function countOrphans(db: Db): Promise<{ kind: OrphanKind; n: number }[]> {
  const counts: { kind: OrphanKind; n: number }[] = []
  for (const kind of orphanKinds) {
    const [row] = await db.query<{ n: number }>(kind.count)
    counts.push({ kind, n: row?.n ?? 0 })
  }
  return counts
}

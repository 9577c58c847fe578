import type { ChangeOf, Unit } from "../core/change.ts"
import { type Ended, hasEnded, isJoined } from "../core/join.ts"
import { fanoutTopic } from "../core/wait.ts"
import { insertWaits } from "./commit-wait.ts"
import { type Column, Conflict, type Db, together } from "./db.ts"
import { countFailures } from "./failure-groups.ts"
import { growFanouts } from "./fanout-parts.ts"
import { type Counted, counted, withSeal } from "./fanout-row.ts"
import { moveGates } from "./gate.ts"

interface Counts {
  completed: number
  failed: number
  cancelled: number
  first: number
  last: number
}

/** What follows from the new counts. */
export interface FanoutEnds {
  /** Fan-outs whose last run has ended. */
  readonly ended: number
  /** Runs that waited for a fan-out and may go on. */
  readonly woken: number
  /** Fan-outs whose gate has opened: what it held may be released. */
  readonly opened: readonly string[]
}

export const nothingEnded: FanoutEnds = { ended: 0, woken: 0, opened: [] }

/**
 * One row per fan-out and transaction, whatever happened to it, in the order of their ids, so that two nodes never wait for each other.
 * Whoever counts the last run wakes the runs that wait for the fan-out: under its row's lock, so exactly once.
 */
export async function countFanouts(
  db: Db,
  grown: readonly ChangeOf<"fanout.grow">[],
  settled: readonly ChangeOf<"run.settle">[],
  joins: readonly ChangeOf<"join.add">[],
  now: number,
): Promise<FanoutEnds> {
  const added = grown.filter(({ from }) => from > 0)
  if (added.length > 0) await lockInOrder(db, [...added.map(({ id }) => id), ...settled.map(({ run }) => run.fanoutId ?? "")])
  const rows = [...(await growFanouts(db, grown)), ...(await countEnds(db, settled)), ...(await lockJoined(db, joins))]
  await countFailures(db, settled)
  const changed = new Set([...grown.map(({ id }) => id), ...settled.map(({ run }) => run.fanoutId ?? "")])
  const fresh = new Set(joins.map(({ join }) => join.fanoutId))
  const follows = await followCounts(db, rows, changed, fresh, now)
  // Its runs were looked at before there was a gate that could be open.
  const open = grown.filter(({ from, rules }) => from === 0 && rules !== null && rules.canary === 0)
  return { ...follows, opened: [...follows.opened, ...open.map(({ id }) => id)] }
}

/** Parts are added and ends are counted by a statement each: where both are to come, the rows are locked first. */
async function lockInOrder(db: Db, ids: readonly string[]): Promise<void> {
  const all = [...new Set(ids)].filter((id) => id !== "")
  if (!db.dialect.concurrent || all.length < 2) return
  await db.query(
    `select 1 from fanout where id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j) order by id ${db.dialect.lockRows}`,
    [JSON.stringify(all.map((id) => [id]))],
  )
}

/** Seals fan-outs, which are not sealed and whose rows are locked: what they have is all. Gives what follows. */
export async function sealFanouts(db: Db, ids: readonly string[], now: number): Promise<FanoutEnds> {
  const rows = await db.query<Counted>(
    `update fanout set sealed_at = $2 from ${db.dialect.rows("$1", [["id", "text"]])} as j where fanout.id = j.id returning ${counted}`,
    [JSON.stringify(ids.toSorted().map((id) => [id])), now],
  )
  return followCounts(db, rows, new Set(ids), new Set(), now)
}

/** @param fresh fan-outs that runs begin to wait for just now */
async function followCounts(
  db: Db,
  rows: readonly Counted[],
  changed: ReadonlySet<string>,
  fresh: ReadonlySet<string>,
  now: number,
): Promise<FanoutEnds> {
  // The last word on a fan-out that is there twice is the truth.
  const latest = new Map(rows.map((row) => [row.id, row]))
  if (latest.size === 0) return nothingEnded
  const counts = [...latest.values()].map(withSeal)
  const ended = counts.filter((row) => changed.has(row.id) && hasEnded(row)).map(({ id }) => id)
  if (ended.length > 0) {
    await db.execute(
      `insert into finished (fanout_id) select id from ${db.dialect.rows("$1", [["id", "text"]])} as j where true on conflict (fanout_id) do nothing`,
      [JSON.stringify(ended.map((id) => [id]))],
    )
  }
  const opened = await moveGates(
    db,
    counts.filter((row) => changed.has(row.id)),
    now,
  )
  const woken = await wakeJoined(
    db,
    counts.filter((row) => row.joins > 0 && (fresh.has(row.id) || isJoined(row, row.need))),
    now,
  )
  return { ended: ended.length, woken, opened }
}

async function countEnds(db: Db, settled: readonly ChangeOf<"run.settle">[]): Promise<Counted[]> {
  const counts = countsOf(settled)
  if (counts.size === 0) return []
  return db.query<Counted>(
    `update fanout set completed = fanout.completed + j.completed, failed = fanout.failed + j.failed,
       cancelled = fanout.cancelled + j.cancelled,
       first_start_at = case when first_start_at is null or first_start_at > j.first then j.first else first_start_at end,
       last_end_at = case when last_end_at is null or last_end_at < j.last then j.last else last_end_at end
     from ${db.dialect.rows("$1", columns)} as j where fanout.id = j.fanout_id returning ${counted}`,
    [
      JSON.stringify(
        [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([id, c]) => [id, c.completed, c.failed, c.cancelled, c.first, c.last]),
      ),
    ],
  )
}

/** Fan-outs that runs begin to wait for: locked, so that their last run is counted before or after, not meanwhile. */
async function lockJoined(db: Db, joins: readonly ChangeOf<"join.add">[]): Promise<Counted[]> {
  if (joins.length === 0) return []
  const needs = new Map<string, number | null>()
  for (const { join } of joins) needs.set(join.fanoutId, least(needs.get(join.fanoutId) ?? null, join.need))
  return db.query<Counted>(
    `update fanout set joins = fanout.joins + 1,
       need = case when j.need is not null and (fanout.need is null or fanout.need > j.need) then j.need else fanout.need end
     from ${db.dialect.rows("$1", [
       ["id", "text"],
       ["need", "bigint"],
     ])} as j where fanout.id = j.id returning ${counted}`,
    [JSON.stringify([...needs].toSorted(([a], [b]) => (a < b ? -1 : 1)))],
  )
}

function least(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b)
}

/** Waits that are over: their runs' timers are due now. */
async function wakeJoined(db: Db, fanouts: readonly (Counted & Ended)[], now: number): Promise<number> {
  if (fanouts.length === 0) return 0
  const waiting = await db.query<{ run_id: string; step_key: string; topic: string; need: number | null }>(
    `select run_id, step_key, topic, need from wait where topic in (select topic from ${db.dialect.rows("$1", [["topic", "text"]])} as j)`,
    [JSON.stringify(fanouts.map(({ id }) => [fanoutTopic(id)]))],
  )
  const byTopic = new Map(fanouts.map((fanout) => [fanoutTopic(fanout.id), fanout]))
  const over = waiting.filter(({ topic, need }) => {
    const fanout = byTopic.get(topic)
    return fanout !== undefined && isJoined(fanout, need)
  })
  if (over.length === 0) return 0
  await together([
    db.execute(
      `delete from wait where (run_id, step_key) in (select run_id, step_key from ${db.dialect.rows("$1", [
        ["run_id", "text"],
        ["step_key", "text"],
      ])} as j)`,
      [JSON.stringify(over.map(({ run_id, step_key }) => [run_id, step_key]))],
    ),
    forgetNeeds(
      db,
      fanouts,
      waiting.filter((each) => !over.includes(each)),
    ),
    db.execute(`update timer set due_at = $2 where run_id in (select run_id from ${db.dialect.rows("$1", [["run_id", "text"]])} as j)`, [
      JSON.stringify(over.map(({ run_id }) => [run_id])),
      now,
    ]),
  ])
  return over.length
}

/** What those that wait on need at least: else their fan-out's joins would be looked at with each count from now on. */
async function forgetNeeds(db: Db, fanouts: readonly Counted[], left: readonly { topic: string; need: number | null }[]): Promise<void> {
  for (const { id, need: before } of fanouts) {
    if (before === null) continue
    const need = left.filter(({ topic }) => topic === fanoutTopic(id)).reduce<number | null>((sum, each) => least(sum, each.need), null)
    await db.execute("update fanout set need = $2 where id = $1", [id, need])
  }
}

export async function addJoins(db: Db, changes: readonly ChangeOf<"join.add">[]): Promise<void> {
  if (changes.length === 0) return
  await insertWaits(
    db,
    changes.map(({ runId, join }) => [runId, join.stepKey, "fanout", fanoutTopic(join.fanoutId), "", null, join.need, null]),
  )
}

/** The units, by number, that announce what another has announced before. */
export async function announcedBefore(db: Db, units: readonly Unit[]): Promise<Set<number>> {
  const wanted = units.flatMap(({ changes }, i) =>
    changes.flatMap((change) => (change.kind === "fanout.announce" ? [{ i, id: change.id }] : [])),
  )
  if (wanted.length === 0) return new Set()
  const rows = await db.query<{ fanout_id: string }>(
    `select fanout_id from finished where fanout_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`,
    [JSON.stringify(wanted.map(({ id }) => [id]))],
  )
  const open = new Set(rows.map(({ fanout_id }) => fanout_id))
  return new Set(wanted.filter(({ id }) => !open.has(id)).map(({ i }) => i))
}

export async function announce(db: Db, changes: readonly ChangeOf<"fanout.announce">[]): Promise<void> {
  if (changes.length === 0) return
  const gone = await db.execute(
    `delete from finished where fanout_id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`,
    [
      JSON.stringify(
        changes
          .map(({ id }) => id)
          .toSorted()
          .map((id) => [id]),
      ),
    ],
  )
  if (gone !== changes.length) throw new Conflict("another node announced the same fan-out")
}

const columns: readonly Column[] = [
  ["fanout_id", "text"],
  ["completed", "bigint"],
  ["failed", "bigint"],
  ["cancelled", "bigint"],
  ["first", "bigint"],
  ["last", "bigint"],
]

function countsOf(settled: readonly ChangeOf<"run.settle">[]): Map<string, Counts> {
  const byFanout = new Map<string, Counts>()
  for (const { run, startedAt, endedAt, settlement } of settled) {
    if (run.fanoutId === null || !("output" in settlement)) continue
    const counts = byFanout.get(run.fanoutId) ?? { completed: 0, failed: 0, cancelled: 0, first: startedAt, last: endedAt }
    if (settlement.to === "skipped" || settlement.to === "cancelled") counts.cancelled++
    else counts[settlement.to]++
    counts.first = Math.min(counts.first, startedAt)
    counts.last = Math.max(counts.last, endedAt)
    byFanout.set(run.fanoutId, counts)
  }
  return byFanout
}

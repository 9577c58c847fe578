import type { ChangeOf, Settlement } from "../core/change.ts"
import type { FinalState } from "../core/run.ts"
import type { Moved } from "./commit-admit.ts"
import type { Column, Db } from "./db.ts"
import { deleteSlots, enqueue, insertTimers, type QueueRow } from "./queue.ts"

const stepColumns: readonly Column[] = [
  ["run_id", "text"],
  ["key", "text"],
  ["fence", "bigint"],
  ["kind", "text"],
  ["state", "text"],
  ["attempts", "bigint"],
  ["output", "text"],
  ["failure", "text"],
  ["due_at", "bigint"],
  ["started_at", "bigint"],
  ["ended_at", "bigint"],
]
const stepNames = stepColumns.map(([name]) => name).join(", ")

/** A final step is never written again, whoever asks. */
export async function saveSteps(db: Db, changes: readonly ChangeOf<"step.save">[]): Promise<void> {
  if (changes.length === 0) return
  const latest = new Map(changes.map((change) => [`${change.runId} ${change.step.key}`, change]))
  await db.execute(
    `insert into step (${stepNames}) select ${stepNames} from ${db.dialect.rows("$1", stepColumns)} as j where true
       on conflict (run_id, key) do update set fence = excluded.fence, state = excluded.state, attempts = excluded.attempts,
         output = excluded.output, failure = excluded.failure, due_at = excluded.due_at, ended_at = excluded.ended_at
       where step.state in ('waiting', 'retrying')`,
    [
      JSON.stringify(
        Array.from(latest.values(), ({ runId, fence, step: s }) => [
          runId,
          s.key,
          fence,
          s.kind,
          s.state,
          s.attempts,
          s.output,
          s.failure === null ? null : JSON.stringify(s.failure),
          s.dueAt,
          s.startedAt,
          s.endedAt,
        ]),
      ),
    ],
  )
}

const attemptColumns: readonly Column[] = [
  ["run_id", "text"],
  ["fence", "bigint"],
  ["attempt", "bigint"],
  ["started_at", "bigint"],
  ["ended_at", "bigint"],
  ["failure", "text"],
]
const attemptNames = attemptColumns.map(([name]) => name).join(", ")

export async function addAttempts(db: Db, changes: readonly ChangeOf<"attempt.add">[]): Promise<void> {
  if (changes.length === 0) return
  await db.execute(
    `insert into attempt (${attemptNames}) select ${attemptNames} from ${db.dialect.rows("$1", attemptColumns)} as j where true`,
    [JSON.stringify(changes.map(({ attempt: a }) => [a.runId, a.fence, a.attempt, a.startedAt, a.endedAt, JSON.stringify(a.failure)]))],
  )
}

const logColumns: readonly Column[] = [
  ["run_id", "text"],
  ["line", "bigint"],
  ["fence", "bigint"],
  ["at", "bigint"],
  ["level", "text"],
  ["message", "text"],
  ["fields", "text"],
]
const logNames = logColumns.map(([name]) => name).join(", ")

export async function addLogs(db: Db, changes: readonly ChangeOf<"log.add">[]): Promise<void> {
  if (changes.length === 0) return
  const rows = changes.flatMap(({ runId, fence, from, lines }) =>
    lines.map(({ at, level, message, fields }, i) => [runId, from + i, fence, at, level, message, fields]),
  )
  await db.execute(`insert into log (${logNames}) select ${logNames} from ${db.dialect.rows("$1", logColumns)} as j where true`, [
    JSON.stringify(rows),
  ])
}

type Settle = ChangeOf<"run.settle">
type Ended = Settle & { readonly settlement: Extract<Settlement, { to: FinalState }> }
type Queued = Settle & { readonly settlement: Exclude<Settlement, { to: FinalState }> }

/** Attempts are over: their leases go, and each run goes where it was sent. */
export async function settleRuns(db: Db, changes: readonly Settle[]): Promise<Moved> {
  if (changes.length === 0) return { keys: [], timers: [] }
  await db.execute(`delete from lease where run_id in (select run_id from ${db.dialect.rows("$1", [["run_id", "text"]])} as j)`, [
    JSON.stringify(changes.map(({ run }) => [run.id])),
  ])
  const freed = await deleteSlots(
    db,
    changes.map(({ run }) => ({ runId: run.id, limits: run.limits })),
  )
  const ended = changes.filter((change): change is Ended => "output" in change.settlement)
  const queued = changes.filter((change): change is Queued => "dueAt" in change.settlement)
  await endRuns(db, ended)
  await countInFanouts(db, ended)
  const back = await putBack(db, queued)
  return { keys: [...freed, ...back.keys], timers: back.timers }
}

const resultColumns: readonly Column[] = [
  ["run_id", "text"],
  ["state", "text"],
  ["attempt", "bigint"],
  ["output", "text"],
  ["failure", "text"],
  ["started_at", "bigint"],
  ["ended_at", "bigint"],
]
const resultNames = resultColumns.map(([name]) => name).join(", ")

async function endRuns(db: Db, ended: readonly Ended[]): Promise<void> {
  if (ended.length === 0) return
  await db.execute(
    `insert into result (${resultNames}) select ${resultNames} from ${db.dialect.rows("$1", resultColumns)} as j where true`,
    [
      JSON.stringify(
        ended.map(({ run, attempt, startedAt, endedAt, settlement: { to, output, failure } }) => [
          run.id,
          to,
          attempt,
          output,
          failure === null ? null : JSON.stringify(failure),
          startedAt,
          endedAt,
        ]),
      ),
    ],
  )
}

interface Counts {
  completed: number
  failed: number
  cancelled: number
  first: number
  last: number
}

/** One update per fan-out, in the order of their ids, so that two nodes never wait for each other. */
async function countInFanouts(db: Db, ended: readonly Ended[]): Promise<void> {
  const byFanout = new Map<string, Counts>()
  for (const { run, startedAt, endedAt, settlement } of ended) {
    if (run.fanoutId === null) continue
    const counts = byFanout.get(run.fanoutId) ?? { completed: 0, failed: 0, cancelled: 0, first: startedAt, last: endedAt }
    if (settlement.to === "skipped" || settlement.to === "cancelled") counts.cancelled++
    else counts[settlement.to]++
    counts.first = Math.min(counts.first, startedAt)
    counts.last = Math.max(counts.last, endedAt)
    byFanout.set(run.fanoutId, counts)
  }
  for (const [id, counts] of [...byFanout].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    await db.execute(
      `update fanout set completed = completed + $2, failed = failed + $3, cancelled = cancelled + $4,
         first_start_at = case when first_start_at is null or first_start_at > $5 then $5 else first_start_at end,
         last_end_at = case when last_end_at is null or last_end_at < $6 then $6 else last_end_at end
       where id = $1`,
      [id, counts.completed, counts.failed, counts.cancelled, counts.first, counts.last],
    )
  }
}

async function putBack(db: Db, queued: readonly Queued[]): Promise<Moved> {
  if (queued.length === 0) return { keys: [], timers: [] }
  const asRow = ({ run, attempt, settlement }: Queued): QueueRow => ({
    runId: run.id,
    functionId: run.functionId,
    rank: run.rank,
    attempt,
    fence: run.fence,
    losses: settlement.losses,
    limits: settlement.limits,
  })
  const timers = queued.flatMap((change) => {
    const { to, dueAt } = change.settlement
    return to === "ready" ? [] : [{ dueAt, state: to, row: asRow(change) }]
  })
  const ready = queued.filter(({ settlement }) => settlement.to === "ready").map(asRow)
  await insertTimers(db, timers)
  await enqueue(db, ready)
  return { keys: ready.flatMap((row) => row.limits.map(({ key }) => key)), timers: timers.map(({ dueAt }) => dueAt) }
}

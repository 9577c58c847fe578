import type { ChangeOf, Settlement } from "../core/change.ts"
import { fingerprintOf } from "../core/fingerprint.ts"
import { left } from "../core/gate.ts"
import type { FinalState } from "../core/run.ts"
import { type Column, type Db, together } from "./db.ts"
import { claimsOf, deleteSlots, enqueue, givenUp, insertTimers, type Moved, nothingMoved, type QueueRow } from "./queue.ts"
import { insertRows, type Values } from "./row-list.ts"

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
  await insertRows(
    db,
    "step",
    stepColumns,
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
    `on conflict (run_id, key) do update set fence = excluded.fence, state = excluded.state, attempts = excluded.attempts,
       output = excluded.output, failure = excluded.failure, due_at = excluded.due_at, ended_at = excluded.ended_at
     where step.state in ('waiting', 'retrying')`,
  )
}

/** Results of another run, and its sleeps that were over, for one that does it again from somewhere on. */
export async function copySteps(db: Db, changes: readonly ChangeOf<"step.copy">[], now: number): Promise<void> {
  await together(
    changes.map(({ runId, from, before }) =>
      db.execute(
        `insert into step (${stepNames}) select $1, key, 0, kind, state, attempts, output, failure, due_at, started_at, ended_at from step
           where run_id = $2 and (state = 'completed' or (kind = 'sleep' and due_at <= $3))
             ${before === null ? "" : `and key <> $4 and ${over} <= (select s.started_at from step as s where s.run_id = $2 and s.key = $4)`}`,
        [runId, from, now, ...(before === null ? [] : [before])],
      ),
    ),
  )
}

const over = "case when kind = 'sleep' then due_at else ended_at end"

const traceColumns: readonly Column[] = [
  ["run_id", "text"],
  ["trace", "text"],
]

/** The first one stays. */
export async function addTraces(db: Db, changes: readonly ChangeOf<"trace.add">[]): Promise<void> {
  const rows = changes.map(({ runId, trace }) => [runId, trace])
  await insertRows(db, "traced", traceColumns, rows, "on conflict (run_id) do nothing")
}

const attemptColumns: readonly Column[] = [
  ["run_id", "text"],
  ["fence", "bigint"],
  ["attempt", "bigint"],
  ["started_at", "bigint"],
  ["ended_at", "bigint"],
  ["failure", "text"],
]

export async function addAttempts(db: Db, changes: readonly ChangeOf<"attempt.add">[]): Promise<void> {
  await insertRows(
    db,
    "attempt",
    attemptColumns,
    changes.map(({ attempt: a }) => [a.runId, a.fence, a.attempt, a.startedAt, a.endedAt, JSON.stringify(a.failure)]),
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

export async function addLogs(db: Db, changes: readonly ChangeOf<"log.add">[]): Promise<void> {
  const rows = changes.flatMap(({ runId, fence, from, lines }) =>
    lines.map(({ at, level, message, fields }, i): Values => [runId, from + i, fence, at, level, message, fields]),
  )
  await insertRows(db, "log", logColumns, rows)
}

type Settle = ChangeOf<"run.settle">
type Ended = Settle & { readonly settlement: Extract<Settlement, { to: FinalState }> }
type Queued = Settle & { readonly settlement: Exclude<Settlement, { to: FinalState }> }

/** Attempts are over (their leases went with the guard): each run goes where it was sent. */
export async function settleRuns(db: Db, changes: readonly Settle[]): Promise<Moved> {
  if (changes.length === 0) return nothingMoved
  const ended = changes.filter((change): change is Ended => "output" in change.settlement)
  const queued = changes.filter((change): change is Queued => "dueAt" in change.settlement)
  const places = changes.map(({ run, settlement }) =>
    "limits" in settlement
      ? givenUp({ runId: run.id, limits: run.limits }, settlement.limits)
      : { runId: run.id, limits: left(run.limits) },
  )
  const [, , back] = await together([deleteSlots(db, places), endRuns(db, ended), putBack(db, queued)])
  return { ...back, freed: claimsOf(places) }
}

const resultColumns: readonly Column[] = [
  ["run_id", "text"],
  ["state", "text"],
  ["attempt", "bigint"],
  ["output", "text"],
  ["failure", "text"],
  ["fingerprint", "text"],
  ["started_at", "bigint"],
  ["ended_at", "bigint"],
]

async function endRuns(db: Db, ended: readonly Ended[]): Promise<void> {
  await insertRows(
    db,
    "result",
    resultColumns,
    ended.map(({ run, attempt, startedAt, endedAt, settlement: { to, output, failure } }) => [
      run.id,
      to,
      attempt,
      output,
      failure === null ? null : JSON.stringify(failure),
      failure === null ? null : fingerprintOf(failure),
      startedAt,
      endedAt,
    ]),
  )
}

async function putBack(db: Db, queued: readonly Queued[]): Promise<Moved> {
  if (queued.length === 0) return nothingMoved
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
  const [, lined] = await together([insertTimers(db, timers), enqueue(db, ready)])
  return { freed: [], timers: timers.map(({ dueAt }) => dueAt), ...lined }
}

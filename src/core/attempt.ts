import type { LogLine } from "./change.ts"
import type { EventInput } from "./event.ts"
import type { Failure } from "./failure.ts"
import type { Fanouts } from "./fanouts.ts"
import type { JoinUntil } from "./join.ts"
import type { RetryWish } from "./retry.ts"
import type { ClaimedRun } from "./run.ts"
import type { Schedules } from "./schedules.ts"
import type { StepRecord } from "./step.ts"
import type { SqlFanout, SqlFanoutResult, Transaction } from "./transaction.ts"

/** One attempt, as it is carried to user code. */
export interface Attempt {
  readonly run: ClaimedRun
  /** Steps that earlier attempts left, by key. */
  readonly steps: ReadonlyMap<string, StepRecord>
  /** Aborts when the attempt's time is over, or its node stops and the grace has passed. */
  readonly signal: AbortSignal
  readonly recorder: Recorder
}

/** What user code did at a step. */
export type StepReport =
  | { readonly kind: "run"; readonly key: string; readonly startedAt: number; readonly output: string }
  | { readonly kind: "run"; readonly key: string; readonly startedAt: number; readonly failure: Failure; readonly retry: RetryWish }
  | { readonly kind: "sleep"; readonly key: string; readonly until: number }
  /** `timeoutAt`: null for none. */
  | {
      readonly kind: "join"
      readonly key: string
      readonly fanoutId: string
      readonly until: JoinUntil
      readonly timeoutAt: number | null
      readonly outputs: boolean
    }

/** What a send gave. `fanoutId` is null for a single event. */
export interface SendResult {
  readonly ids: string[]
  readonly fanoutId: string | null
}

/** What a send inside a transaction of user code takes part in. */
export interface Joined {
  readonly transaction: Transaction
  /** The run whose code sends, if any. */
  readonly runId: string | null
}

/** Takes events in: resolves when they and the runs they start are durable, or are part of the transaction that they join. */
export interface Intake {
  send(events: readonly EventInput[], joined?: Joined): Promise<SendResult>
  sendFromSql(fanout: SqlFanout, joined: Joined): Promise<SqlFanoutResult>
  readonly fanouts: Fanouts
  readonly schedules: Schedules
}

/** What an attempt may ask of the engine while it runs. */
export interface Recorder {
  now(): number
  /** One turn of the event loop, so that what runs side by side can all begin. */
  turn(): Promise<void>
  /** Keeps a step; resolves when it is durable (a sleep: when the attempt ends) with what the engine made of it. */
  report(report: StepReport): Promise<StepRecord>
  /** Sends events and keeps the fact as a step, in the same transaction. `joined`: as a fan-out even if it is a single event. */
  send(key: string, events: readonly EventInput[], joined?: boolean): Promise<SendResult>
  log(level: LogLine["level"], message: string, fields?: Readonly<Record<string, unknown>>): void
}

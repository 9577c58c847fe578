import type { LogLine } from "./change.ts"
import type { EventInput } from "./event.ts"
import type { Failure } from "./failure.ts"
import type { Functions, Limits } from "./flow-control.ts"
import type { Fanouts } from "./fanouts.ts"
import type { FanOutRules } from "./gate.ts"
import type { JoinUntil } from "./join.ts"
import type { RetryWish } from "./retry.ts"
import type { ClaimedRun } from "./run.ts"
import type { Schedules } from "./schedules.ts"
import type { Pull, SourceResult } from "./source.ts"
import type { StepRecord } from "./step.ts"
import type { EventDemand } from "./wait.ts"
import type { Runs } from "./runs.ts"
import type { SqlFanout, SqlFanoutResult, Transaction } from "./transaction.ts"

/** One attempt, as it is carried to user code. */
export interface Attempt {
  readonly run: ClaimedRun
  /** Steps that earlier attempts left, by key. */
  readonly steps: ReadonlyMap<string, StepRecord>
  /** Only the results of steps are known, not of what kind they are. */
  readonly kindless?: boolean
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
  /** `since`: events received from then on count too; null: only those that come after the wait has begun. */
  | {
      readonly kind: "event"
      readonly key: string
      readonly demand: EventDemand
      readonly timeoutAt: number
      readonly since: number | null
    }
  | { readonly kind: "signal"; readonly key: string; readonly signal: string; readonly timeoutAt: number; readonly replace: boolean }
  /** `data`: JSON text. */
  | { readonly kind: "invoke"; readonly key: string; readonly functionId: string; readonly data: string; readonly timeoutAt: number }

/** A fan-out that is joined, whose items are asked for one part after the other. */
export interface FanOutWish extends Pick<SendWay, "rules" | "functionId"> {
  readonly key: string
  readonly until: JoinUntil
  /** Null for none. */
  readonly timeoutAt: number | null
  readonly outputs: boolean
  /** Items, when their number is known beforehand. */
  readonly total: number | null
}

/** Who got a signal: nobody waited for it when `runId` is null. */
export interface SignalResult {
  readonly delivered: boolean
  readonly runId: string | null
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

/** How events are sent, besides plainly. */
export interface SendWay {
  /** As part of a transaction of user code. */
  readonly joined?: Joined
  /** How the fan-out lets its runs loose. */
  readonly rules?: FanOutRules
  /** One run of this function for each event, whoever else hears its name: the events are items, their names do not matter. */
  readonly functionId?: string
  /** As a fan-out even if it is a single event. */
  readonly fanned?: boolean
  /** An id that is in use means the event that was first, also with another body: nothing is refused for it. */
  readonly firstWins?: boolean
  /** The run from which an app elsewhere sends. */
  readonly runId?: string
  /** Where the send stands in a trace (`trace.ts`), if it does. */
  readonly trace?: string | null
}

/** A fan-out whose items come from a source. */
export interface SourceSend extends Pick<SendWay, "rules" | "functionId" | "trace"> {
  /** The sender's name for it: with the same one it goes on where it stopped. */
  readonly key: string
  readonly runId: string | null
}

/** Takes events in: resolves when they and the runs they start are durable, or are part of the transaction that they join. */
export interface Intake {
  send(events: readonly EventInput[], way?: SendWay): Promise<SendResult>
  /** Resolves when the whole source is durable. */
  sendSource(send: SourceSend, pull: Pull): Promise<SourceResult>
  sendFromSql(fanout: SqlFanout, joined: Joined & Pick<SendWay, "trace">): Promise<SqlFanoutResult>
  sendSignal(signal: string, data: unknown): Promise<SignalResult>
  readonly fanouts: Fanouts
  readonly schedules: Schedules
  readonly runs: Runs
  readonly functions: Functions
  readonly limits: Limits
}

/** What an attempt may ask of the engine while it runs. */
export interface Recorder {
  /** The attempt is over: nothing of it is kept any more. */
  readonly closed: boolean
  now(): number
  /** Resolves after `ms` milliseconds; the second part gives it up. */
  after(ms: number): readonly [Promise<void>, () => void]
  /** One turn of the event loop, so that what runs side by side can all begin. */
  turn(): Promise<void>
  /** The steps that are durable now: where another node may keep some of this run. */
  kept?(): Promise<readonly StepRecord[]>
  /** Runs the code of a step, as a part of the attempt's trace; where there is none, code just runs. */
  around?<T>(key: string, work: () => Promise<T>): Promise<T>
  /** Keeps a step; resolves when it is durable (a sleep: when the attempt ends) with what the engine made of it. */
  report(report: StepReport): Promise<StepRecord>
  /** Sends events and keeps the fact as a step, in the same transaction. */
  send(key: string, events: readonly EventInput[], way?: Omit<SendWay, "joined">): Promise<SendResult>
  /** Sends what a source gives, as a fan-out; another attempt goes on where this one stopped. Gives the fan-out's id. */
  sendSource(key: string, way: Pick<SendWay, "rules" | "functionId">, pull: Pull): Promise<string>
  /** Where code is called in parts: has the engine ask for the items, in calls of their own, and joins what came of them. */
  fanOut?(wish: FanOutWish, pull: Pull): Promise<StepRecord>
  /** This part of the code is only asked for the items of a fan-out: nothing else begins. */
  readonly pulling?: boolean
  /** Makes waits that have begun durable, when the attempt does not park at once. */
  register(): Promise<void>
  sendSignal(signal: string, data: unknown): Promise<SignalResult>
  /** The run's code has sent this event by another way: a fan-out that it belongs to is the run's. */
  sent(eventId: string): void
  log(level: LogLine["level"], message: string, fields?: Readonly<Record<string, unknown>>): void
}

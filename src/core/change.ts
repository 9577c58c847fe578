import type { Tally } from "./activity.ts"
import type { HttpApp } from "./http-app.ts"
import type { Failure } from "./failure.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { GateRules } from "./gate.ts"
import type { Join } from "./join.ts"
import type { ClaimedRun, FinalState, LimitClaim, NewRun } from "./run.ts"
import type { Schedule } from "./schedule.ts"
import type { StepRecord } from "./step.ts"
import type { Offer, Wait } from "./wait.ts"

/** An event as stored. */
export interface NewEvent {
  readonly id: string
  /** The sender's id, when there is one; what functions see as `event.id`. */
  readonly key: string | null
  readonly name: string
  /** JSON text. */
  readonly data: string
  readonly ts: number
  readonly receivedAt: number
  readonly fanoutId: string | null
  /** The run that sent it. */
  readonly sourceRunId: string | null
  /** Where it stands in a trace (`trace.ts`), if it does. */
  readonly trace?: string | null
}

export interface LogLine {
  readonly at: number
  readonly level: "debug" | "info" | "warn" | "error"
  readonly message: string
  /** JSON text of an object. */
  readonly fields: string | null
}

/** An attempt that did not complete its run, kept for its history. */
export interface EndedAttempt {
  readonly runId: string
  readonly fence: number
  readonly attempt: number
  readonly startedAt: number
  readonly endedAt: number
  readonly failure: Failure
}

/** What the store has to know of a run whose attempt is over. */
export type SettledRun = Pick<ClaimedRun, "id" | "functionId" | "fence" | "rank" | "fanoutId" | "limits">

/** Where a run goes when an attempt ends. */
export type Settlement =
  | { readonly to: FinalState; readonly output: string | null; readonly failure: Failure | null }
  /** Due at once (`ready`) or later: `scheduled` for a retry, `waiting` for a sleep. */
  | {
      readonly to: "ready" | "scheduled" | "waiting"
      readonly dueAt: number
      /** The limits it counts against from now on. */
      readonly limits: readonly LimitClaim[]
      readonly losses: number
      /** Steps that wait for something other than a time: when one of them has got it, the run goes on. */
      readonly awaits?: readonly string[]
    }

/** A part of a fan-out: what is added to it in one transaction. */
export interface FanoutPart {
  readonly id: string
  /** The sender's name for it, of those that may be gone on with from outside a run. */
  readonly key: string | null
  readonly runId: string | null
  readonly name: string
  /** Items that its sender gave before this part, and with it: a part is added only where the one before it ended. */
  readonly from: number
  readonly taken: number
  /** Where a source goes on after this part. */
  readonly cursor: string | null
  readonly events: number
  readonly runs: number
  readonly sealed: boolean
  readonly at: number
  readonly rules: GateRules | null
  /** Runs before this part: which are the first ones is told from there. Only looked at with `rules`. */
  readonly runsBefore: number
}

/** A run to cancel: `limits` are those it may be held by. */
export interface CancelledRun extends Pick<ClaimedRun, "id" | "functionId" | "rank" | "fanoutId"> {
  readonly reason: string
  /** Only while its fence is lower, so while it has not begun; null: wherever it stands. */
  readonly below: number | null
}

/** One durable write, as data. Only `store/commit.ts` turns them into SQL. */
export type Change =
  | { readonly kind: "event.add"; readonly event: NewEvent }
  | { readonly kind: "run.add"; readonly run: NewRun }
  /** Many events and runs whose rows were written out beforehand (`store/pack.ts`): each text is a JSON array of rows. */
  | {
      readonly kind: "rows.add"
      readonly events: string
      /** Whether the rows of events have their traces. */
      readonly traced: boolean
      readonly runs: string
      readonly ready: string
      /** Those that have to wait for limits first. */
      readonly limited: string
      /** What is put in line: by function, how many runs, and the lowest rank among them. */
      readonly lines: readonly (readonly [functionId: string, line: { readonly runs: number; readonly rank: number }])[]
    }
  /** Creates the fan-out, or adds to it when it is there. */
  | ({ readonly kind: "fanout.grow" } & FanoutPart)
  /** A run that parks waits for a fan-out. */
  | { readonly kind: "join.add"; readonly runId: string; readonly join: Join }
  /** A step of a run, or the run as a whole, waits for something. */
  | { readonly kind: "wait.add"; readonly runId: string; readonly wait: Wait }
  /** Something has come that runs may wait for. `eventId`: the event's, when it is one of this unit. */
  | { readonly kind: "wait.offer"; readonly eventId: string | null; readonly offer: Offer }
  /** Ends a run that has not ended, wherever it stands. Its unit is refused when the run has ended, or waits in a state not meant. */
  | { readonly kind: "run.cancel"; readonly run: CancelledRun; readonly at: number }
  /** Results of another run's steps, taken over by a new one. `before`: only what had ended when that step began; null for all. */
  | { readonly kind: "step.copy"; readonly runId: string; readonly from: string; readonly before: string | null }
  /** The events of another run that is a batch, for a new one. */
  | { readonly kind: "batch.copy"; readonly runId: string; readonly from: string }
  /** That a fan-out has ended is made known: by whoever comes first. */
  | { readonly kind: "fanout.announce"; readonly id: string }
  /** The trace that a run began by itself: its later attempts go on with it. */
  | { readonly kind: "trace.add"; readonly runId: string; readonly trace: string }
  | { readonly kind: "step.save"; readonly runId: string; readonly fence: number; readonly step: StepRecord }
  | { readonly kind: "log.add"; readonly runId: string; readonly fence: number; readonly from: number; readonly lines: readonly LogLine[] }
  | { readonly kind: "attempt.add"; readonly attempt: EndedAttempt }
  | {
      readonly kind: "run.settle"
      readonly run: SettledRun
      /** Attempts that count so far. */
      readonly attempt: number
      readonly startedAt: number
      readonly endedAt: number
      readonly settlement: Settlement
      /** Whether it may have waits, which end with it. */
      readonly waits?: boolean
    }
  /** Whoever counts against the limit starts no sooner. */
  | { readonly kind: "limit.hold"; readonly key: string; readonly until: number }
  /** Counts of a node, as they stand: they replace those that it wrote of the same minute before. */
  | { readonly kind: "tally.put"; readonly tallies: readonly Tally[] }
  | { readonly kind: "function.put"; readonly definition: FunctionDefinition; readonly at: number }
  /** Functions of the app that are not in `functionIds` are no longer offered. Without `http` the app runs in nodes. */
  | {
      readonly kind: "app.put"
      readonly appId: string
      readonly functionIds: readonly string[]
      readonly http?: HttpApp
      readonly at: number
    }
  | { readonly kind: "schedule.put"; readonly schedule: Schedule }
  | { readonly kind: "schedule.drop"; readonly id: string }

export type ChangeOf<K extends Change["kind"]> = Extract<Change, { kind: K }>

/**
 * Changes that become durable together or not at all. With a guard, only while that claim is the newest of its run; with a registry
 * version, only while no function has changed since: which runs an event starts was decided by what was known then.
 */
export interface Unit {
  readonly changes: readonly Change[]
  readonly guard: { readonly runId: string; readonly fence: number } | null
  readonly registry: number | null
  /** An event whose id is in use counts as the first one, also with another body: nothing is refused for it. */
  readonly firstWins?: boolean
}

/** Events that were there before: the id made now → the event that was first. */
export type Duplicates = Readonly<Record<string, { readonly id: string; readonly fanoutId: string | null }>>

/**
 * What became of a unit.
 * - `applied`: durable. `duplicates` has the events that were there before (the id made now → the first one), which were left out
 *   together with their runs; null when there were none. `delivered`: the runs whose waits the unit's offers have ended.
 * - `duplicate`: its fan-out was announced before; nothing was written.
 * - `taken`: another run waits for the same signal; nothing was written.
 * - `gone`: a run to cancel has ended; nothing was written.
 * - `conflict`: an event id is in use with another body; nothing was written.
 * - `fenced`: its guard does not hold any more; nothing was written.
 * - `closed`: its fan-out is sealed, or another sender was here first; nothing was written.
 * - `stale`: functions have changed since it was decided; nothing was written. Decide again.
 */
export type UnitResult =
  | { readonly kind: "applied"; readonly duplicates: Duplicates | null; readonly delivered?: readonly string[] }
  | { readonly kind: "duplicate" }
  | { readonly kind: "conflict"; readonly eventKey: string }
  | { readonly kind: "taken"; readonly runId: string }
  | { readonly kind: "gone" }
  | { readonly kind: "fenced" }
  | { readonly kind: "closed" }
  /** It adds to a fan-out that was paused by hand: its runs must have a gate. */
  | { readonly kind: "paused" }
  | { readonly kind: "stale" }

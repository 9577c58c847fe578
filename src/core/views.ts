import type { ActivityTotals } from "./activity.ts"
import type { HttpApp } from "./http-app.ts"
import type { LogLine } from "./change.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { Failure } from "./failure.ts"
import type { Progress } from "./progress.ts"
import type { RunState } from "./run.ts"
import type { StepRecord } from "./step.ts"
import type { Watch } from "./wait.ts"

/** Times are milliseconds since 1970. */
export interface RunSummary {
  readonly id: string
  readonly functionId: string
  readonly state: RunState
  /** The last attempt, from 1; 0 before the first. */
  readonly attempt: number
  readonly createdAt: number
  /** When it may go on, if that is later. */
  readonly dueAt: number | null
  readonly startedAt: number | null
  readonly endedAt: number | null
  readonly eventId: string
  readonly eventName: string
  readonly fanoutId: string | null
  readonly parentId: string | null
  /** Of the last failure. */
  readonly error: { readonly name: string; readonly message: string } | null
  /** Why it is not running, when it is neither running nor ended. */
  readonly reason: string | null
}

export interface RunDetail extends RunSummary {
  /** The id that the event's sender gave. */
  readonly eventKey: string | null
  readonly eventTs: number
  /** Of the trace that it is part of: 32 hexadecimal digits; null for none. */
  readonly traceId: string | null
  /** JSON text of the event's data, and of the output; of a preview the beginnings, and how long the whole is. */
  readonly data: string
  readonly dataChars: number
  readonly output: string | null
  readonly outputChars: number | null
  readonly failure: Failure | null
  /** Attempts that did not complete the run; `fence` tells the log lines of one from another's. */
  readonly attempts: readonly { attempt: number; fence: number; startedAt: number; endedAt: number; failure: Failure }[]
  readonly steps: readonly (StepRecord & { readonly outputChars: number | null })[]
  /** Of a preview the beginnings of long lines, and how long the whole is. */
  readonly logs: readonly (LogLine & { readonly fence: number; readonly messageChars: number; readonly fieldsChars: number | null })[]
}

/** What stands around a run. */
export interface RunFamily {
  /** The run that sent its event, the one that sent that one's, and so on: the nearest first, at most 10. */
  readonly causes: readonly RunSummary[]
  /** Runs that it started one by one, the oldest first, at most 50; those of its fan-outs are not among them. */
  readonly children: readonly RunSummary[]
  /** Whether there are more of them. */
  readonly more: boolean
  /** Null for a run that is part of no fan-out. */
  readonly siblings: Siblings | null
}

/** Neighbours in a fan-out, in the order of sending; null where there is none. */
export interface Siblings {
  readonly previous: string | null
  readonly next: string | null
  readonly previousFailed: string | null
  readonly nextFailed: string | null
}

export interface Page<T> {
  readonly items: readonly T[]
  /** Give it as `after` for the next page; null on the last one. */
  readonly next: string | null
}

export interface RunFilter {
  readonly state?: RunState
  readonly functionId?: string
  readonly fanoutId?: string
  readonly eventId?: string
  readonly after?: string
  readonly limit?: number
}

export interface FanoutSummary extends Progress {
  readonly id: string
  /** What was sent, for people. */
  readonly name: string
  readonly runId: string | null
  readonly events: number
  /** Runs in all; `queued` and `running` are what is left. */
  readonly total: number
  readonly queued: number
  readonly running: number
  readonly completed: number
  readonly failed: number
  readonly cancelled: number
  /** Whether nothing will be added any more. */
  readonly sealed: boolean
  /** Why it is paused, or what its other runs wait for. */
  readonly reason: string | null
  readonly createdAt: number
  readonly firstStartAt: number | null
  readonly lastEndAt: number | null
}

export interface FunctionSummary extends FunctionDefinition {
  /** Whether its app offers it now. */
  readonly active: boolean
  readonly schedules: readonly {
    readonly id: string
    readonly cron: string
    readonly timezone: string
    readonly nextAt: number | null
    readonly lastTickAt: number | null
    readonly pausedAt: number | null
  }[]
}

/** A limit as it stands. */
export interface LimitSummary {
  /** Its full name, such as `fn:shop-send-digest:acme`. */
  readonly id: string
  /** What its runs say; null when none counts against it now. */
  readonly own: number | null
  /** What holds: set by hand, or what the runs say. */
  readonly max: number | null
  readonly setByHand: boolean
  /** Runs that count against it. */
  readonly used: number
  /** Runs that wait for it; counted up to 1,000. */
  readonly held: number
  /** Nothing starts under it before, since a run asked for that. */
  readonly heldUntil: number | null
}

export interface EventSummary {
  readonly id: string
  /** The sender's id, when there is one. */
  readonly key: string | null
  readonly name: string
  readonly ts: number
  readonly receivedAt: number
  readonly fanoutId: string | null
  /** The run that sent it. */
  readonly sourceRunId: string | null
}

export interface EventDetail extends EventSummary {
  /** JSON text; of a preview the beginning, and how long the whole is. */
  readonly data: string
  readonly dataChars: number
}

/** What one function did lately. */
export interface FunctionActivity extends ActivityTotals {
  readonly functionId: string
  /** What ended in each two minutes of the last hour, the newest last. */
  readonly ended: readonly number[]
}

/** A node as it was last seen. */
export interface NodeSummary {
  readonly id: string
  readonly host: string
  readonly pid: number
  /** Whether it was seen within the last 5 s, by the store's time. */
  readonly alive: boolean
  readonly startedAt: number
  readonly seenAt: number
  /** Functions whose code it has. */
  readonly functionIds: readonly string[]
  /** Runs in its hands. */
  readonly leased: number
}

/** How everything stands, to be held against how it stood before. */
export interface Standing {
  readonly counts: Depth
  /** The registry's version. */
  readonly registry: number
  /** Id of the newest run; empty when there is none. */
  readonly newestRun: string
  readonly newestTickAt: number
  /** What ended or is tried again, of this minute and the two before: up to two seconds late. */
  readonly ended: number
  /** How far the newest fan-outs are. */
  readonly fanouts: Readonly<Record<string, string>>
  /** Those that live. */
  readonly nodes: string
}

/** Live runs by where they stand, each count capped at 10,000. */
export interface Depth {
  readonly ready: number
  readonly running: number
  readonly scheduled: number
  readonly waiting: number
}

/** What waits, and for how long, for those who watch over it. */
export interface Backlog {
  readonly counts: Depth
  /** Functions with runs in line: how many, up to 10,000, and how many milliseconds the one that waits longest is late. */
  readonly functions: readonly { readonly functionId: string; readonly ready: number; readonly lateMs: number }[]
  /** How late the first timer is that has not gone off, and the first schedule that has not been looked at; 0 when none is. */
  readonly timerLateMs: number
  readonly scheduleLateMs: number
  readonly nodes: number
}

/** Some runs, looked at for whether each stands in exactly one place. */
export interface Placing {
  readonly looked: number
  /** Runs that stand nowhere, or in two places. There are none, unless something is wrong. */
  readonly orphans: number
  /** The oldest of those that were looked at; null when there are no older ones. */
  readonly next: string | null
}

/** The functions that are known, and the version that tells whether they are still. */
export interface KnownFunctions {
  readonly version: number
  readonly functions: readonly { readonly definition: FunctionDefinition; readonly active: boolean }[]
  /** What runs wait for. */
  readonly watched: readonly Watch[]
  /** Apps that are called over HTTP. */
  readonly apps: readonly HttpApp[]
}

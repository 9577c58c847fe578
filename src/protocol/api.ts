import type { ErrorCode } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import type { FanOutRules } from "../core/gate.ts"

/** The paths of the HTTP API; `:id` stands for an encoded id. */
export const paths = {
  health: "/api/health",
  events: "/api/v1/events",
  /** JSON Schema of the data of the events `?name=`, as the app says whose function hears them. */
  eventSchema: "/api/v1/event-schema",
  functions: "/api/v1/functions",
  trigger: "/api/v1/functions/:id/trigger",
  functionPause: "/api/v1/functions/:id/pause",
  functionResume: "/api/v1/functions/:id/resume",
  runs: "/api/v1/runs",
  run: "/api/v1/runs/:id",
  runCancel: "/api/v1/runs/:id/cancel",
  runReplay: "/api/v1/runs/:id/replay",
  runRetry: "/api/v1/runs/:id/retry",
  runsCount: "/api/v1/bulk/count",
  runsBulk: "/api/v1/bulk",
  signals: "/api/v1/signals",
  fanouts: "/api/v1/fanouts",
  fanout: "/api/v1/fanouts/:id",
  /** Answers when the fan-out has ended, or after `?wait=` milliseconds (at most 20,000). */
  fanoutWait: "/api/v1/fanouts/:id/wait",
  fanoutFailures: "/api/v1/fanouts/:id/failures",
  /** When its runs failed, by the cause. */
  fanoutFailureTimes: "/api/v1/fanouts/:id/failures/times",
  fanoutRetry: "/api/v1/fanouts/:id/retry",
  fanoutCancel: "/api/v1/fanouts/:id/cancel",
  fanoutPause: "/api/v1/fanouts/:id/pause",
  fanoutResume: "/api/v1/fanouts/:id/resume",
  /** What a send of these events would do. */
  fanoutPlan: "/api/v1/fanouts/plan",
  /** What is or was done to many runs, newest first. */
  operations: "/api/v1/operations",
  /** How far a source has come (GET), and its next part (POST): `id` is its sender's name for it. */
  source: "/api/v1/sources/:id",
  operation: "/api/v1/operations/:id",
  operationStop: "/api/v1/operations/:id/stop",
  /** `?function=`: those of one function. */
  limits: "/api/v1/limits",
  limit: "/api/v1/limits/:id",
  /** Those made at run time and those of cron triggers; `?tag=`, `?app=`. POST makes or changes many: `{ app, schedules }`. */
  schedules: "/api/v1/schedules",
  /** `:id` is a full id, or an app's own one with `?app=`. PATCH changes it, DELETE removes it. */
  schedule: "/api/v1/schedules/:id",
  scheduleTicks: "/api/v1/schedules/:id/ticks",
  scheduleNext: "/api/v1/schedules/:id/next",
  schedulePause: "/api/v1/schedules/:id/pause",
  scheduleResume: "/api/v1/schedules/:id/resume",
  scheduleRun: "/api/v1/schedules/:id/run",
  /** `{ from, to, overlap, dryRun }`: a `Date` as ISO 8601 or milliseconds. */
  scheduleBackfill: "/api/v1/schedules/:id/backfill",
  /** How many moments of all schedules come in each quarter of an hour of the next 24 h. */
  scheduleLoad: "/api/v1/load",
  /** One letter per run, in the order in which they were sent; see `Cell`. */
  fanoutCells: "/api/v1/fanouts/:id/cells",
  fanoutCell: "/api/v1/fanouts/:id/cells/:index",
  /** The fan-outs that a run sent. */
  runFanouts: "/api/v1/runs/:id/fanouts",
  /** What caused a run, what it caused, and its neighbours in a fan-out. */
  runFamily: "/api/v1/runs/:id/family",
  event: "/api/v1/events/:id",
  failures: "/api/v1/failures",
  activity: "/api/v1/activity",
  functionActivity: "/api/v1/functions/activity",
  nodes: "/api/v1/nodes",
  apps: "/api/v1/apps",
  /** Asks the app at `{ url }` to register. */
  appSync: "/api/v1/apps/sync",
  status: "/api/v1/status",
  /** What has changed, as server-sent events (`text/event-stream`): see `StreamChange`. */
  stream: "/api/v1/stream",
  /** The API as an OpenAPI 3.1 document. */
  openapi: "/api/v1/openapi.json",
  /** The keys of this server by their fingerprints; for admins only. */
  keys: "/api/v1/keys",
  /** GET: who asks. POST `{ key }`: logs in, by a cookie. DELETE: logs out. */
  session: "/api/v1/session",
} as const

/**
 * The data of an event `change` of the live stream: what has changed since the one before, some three times a second at most. A hint
 * to ask again, never what is now. The first one after connecting says that all may have, or, with a `Last-Event-ID` that this node
 * still knows, what was missed. A comment line comes every 15 s. What other nodes do is told up to 3 s later, and edits of
 * schedules made there only with their next moment.
 */
export interface StreamChange {
  /** Live runs by where they stand, each capped at 10,000; null when none of the counts has changed. */
  readonly counts: { readonly ready: number; readonly running: number; readonly scheduled: number; readonly waiting: number } | null
  /** Runs came, moved, or ended. */
  readonly runs: boolean
  /** Functions whose runs ended or failed. */
  readonly functions: ChangedIds
  /** Fan-outs that grew, or whose runs ended. */
  readonly fanouts: ChangedIds
  /** Schedules that fired or were changed. */
  readonly schedules: ChangedIds
  /** Functions or apps were registered, changed, paused or resumed. */
  readonly registry: boolean
  /** Nodes came or went. */
  readonly nodes: boolean
}

/** Ids of what has changed; `all`: more than 100, or it is not known which. */
export type ChangedIds = readonly string[] | "all"

/** Who asks, as `session` answers. */
export interface SessionView {
  /** `read`: looks and changes nothing. Null: nobody who is known; everything else answers 401. */
  readonly role: "admin" | "read" | null
  /** Whether data of events, outputs and logs are shown; where they are not, they read `(hidden)`, and logs are empty. */
  readonly payloads: boolean
  /** Whether one can log in and out here: not on a server without keys, where everybody is an admin. */
  readonly login: boolean
}

/** A key of this server, which is never shown. */
export interface KeySummary {
  /** `signing`: of the server and its apps, may do everything; `event`: sends events; `admin` and `read`: of people. */
  readonly kind: "signing" | "event" | "admin" | "read"
  /** The first 8 digits of `printf 'fanfare fingerprint %s' KEY | sha256sum`; of a signing key its digits alone, without a prefix. */
  readonly fingerprint: string
  /** Whether it is the one of the signing keys that signs; each of them is accepted. */
  readonly signs: boolean
}

/** An error answer (RFC 9457, `application/problem+json`). */
export interface Problem {
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly field?: string
  readonly bound?: string | number
  readonly hint?: string
}

/** An error answer of the routes that the SDKs know. */
export interface Refusal {
  readonly error: string
  readonly status: number
  /** Of events that were taken before: none. */
  readonly ids?: readonly string[]
}

/** Counts are capped where counting would cost: `ready` at 10,000. */
export interface Status {
  readonly version: string
  readonly nodeId: string
  readonly store: string
  readonly startedAt: number
  /** Days that ended runs are kept. */
  readonly retentionDays: number
  readonly ready: number
  readonly running: number
  readonly scheduled: number
  readonly waiting: number
  /** Since this node started. */
  readonly completed: number
  readonly failed: number
  readonly retried: number
}

/** A body of `events` besides one event and an array of them: how the fan-out lets its runs loose. */
export interface EventsWithRules {
  readonly events: readonly EventInput[]
  readonly rules: FanOutRules
}

/** What the data of an event looks like. */
export interface EventSchema {
  /** JSON Schema; null when no app tells one. */
  readonly schema: Readonly<Record<string, unknown>> | null
}

/** An app that is called over HTTP. */
export interface AppSummary {
  readonly id: string
  readonly url: string
  readonly sdk: string
  readonly framework: string | null
  readonly functionIds: readonly string[]
  /** Workers that are connected to this server; null for an app that is called over HTTP. */
  readonly workers: number | null
  /** What the last look at it met; null when it answered, was not looked at, or has a worker that is connected to some server. */
  readonly error: string | null
}

export interface TriggerResult {
  readonly runId: string
}

/** How the run of a cell stands: queued, running, tried again later, waiting, or how it ended. */
export type Cell = "q" | "r" | "a" | "w" | "c" | "f" | "x"

/** The run of a cell. */
export interface CellRun {
  readonly runId: string
}

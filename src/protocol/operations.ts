import type { SendResult, SignalResult } from "../core/attempt.ts"
import type { EventInput } from "../core/event.ts"
import type { FanoutPlan, RetryOptions } from "../core/fanouts.ts"
import type { PauseOptions } from "../core/flow-control.ts"
import type { ReplayOptions } from "../core/runs.ts"
import type { BackfillOptions, ScheduleInput, UpsertResult } from "../core/schedules.ts"
import type { SourceCourse, SourcePart, SourcePartResult } from "../core/source.ts"
import {
  type AppSummary,
  type CellRun,
  type EventSchema,
  type EventsWithRules,
  type KeySummary,
  paths,
  type SessionView,
  type Status,
  type StreamChange,
  type TriggerResult,
} from "./api.ts"
import type {
  Activity,
  BackfillResult,
  BulkFilter,
  BulkKind,
  Cancelled,
  EventDetail,
  EventSummary,
  FailureCauses,
  FailureGroup,
  FailureTimes,
  FanoutSummary,
  FunctionActivity,
  FunctionSummary,
  LimitSummary,
  NodeSummary,
  Operation as Bulk,
  Page,
  RunDetail,
  RunFamily,
  RunSummary,
  Schedule,
  ScheduleLoad,
  Tick,
  UpcomingMoment,
} from "./views.ts"

/** What each operation of the API answers, by its name in the OpenAPI document, whose table of routes is held to these types. */
export interface Answers {
  events: SendResult
  fanoutPlan: FanoutPlan
  trigger: TriggerResult
  signals: SignalResult

  runs: Page<RunSummary>
  run: RunDetail
  runFanouts: Page<string>
  runFamily: RunFamily
  runCancel: Cancelled
  runReplay: TriggerResult
  runRetry: RunDetail
  runsCount: { readonly count: number }
  runsBulk: Bulk
  operations: Page<Bulk>
  operation: Bulk
  operationStop: Bulk
  failures: FailureCauses

  fanouts: Page<FanoutSummary>
  fanout: FanoutSummary
  fanoutWait: FanoutSummary
  fanoutFailures: Page<FailureGroup>
  fanoutFailureTimes: FailureTimes
  fanoutCells: string
  fanoutCell: CellRun
  fanoutRetry: Bulk
  fanoutPause: FanoutSummary
  fanoutResume: FanoutSummary
  fanoutCancel: Bulk
  source: SourceCourse
  sourceAdd: SourcePartResult

  schedules: Page<Schedule>
  scheduleUpsert: UpsertResult
  schedule: Schedule
  scheduleChange: Schedule
  scheduleDelete: object
  scheduleTicks: Page<Tick>
  scheduleNext: Page<UpcomingMoment>
  scheduleLoad: ScheduleLoad
  schedulePause: Schedule
  scheduleResume: Schedule
  scheduleRun: { readonly runIds: readonly string[] }
  scheduleBackfill: BackfillResult

  functions: Page<FunctionSummary>
  functionActivity: Page<FunctionActivity>
  functionPause: Paused
  functionResume: Paused
  limits: Page<LimitSummary>
  limit: { readonly id: string; readonly max: number | null }
  eventList: Page<EventSummary>
  event: EventDetail
  eventSchema: EventSchema
  activity: Activity
  nodes: Page<NodeSummary>
  apps: Page<AppSummary>
  appSync: { readonly url: string }
  status: Status
  stream: StreamChange
  keys: Page<KeySummary>
  session: SessionView
  login: SessionView
  logout: SessionView
  health: { readonly status: string; readonly version: string }
  openapi: object
}

export type Operation = keyof Answers

interface Paused {
  readonly id: string
  readonly paused: NonNullable<PauseOptions["newRuns"]> | null
}

type Nothing = Readonly<Record<never, never>>

/** What those are given that change something, and some that ask for much. */
export interface Bodies {
  events: EventInput | readonly EventInput[] | EventsWithRules
  fanoutPlan: EventInput | readonly EventInput[]
  trigger: { readonly data?: unknown }
  signals: { readonly signal: string; readonly data?: unknown }
  runCancel: { readonly reason?: string }
  runReplay: ReplayOptions
  runRetry: Nothing
  runsCount: BulkFilter
  runsBulk: { readonly kind: BulkKind; readonly filter: BulkFilter }
  operationStop: Nothing
  fanoutRetry: RetryOptions
  fanoutPause: Nothing
  fanoutResume: Nothing
  fanoutCancel: Nothing
  sourceAdd: SourcePart
  scheduleUpsert: { readonly app: string; readonly schedules: readonly ScheduleInput[] }
  scheduleChange: Partial<ScheduleInput>
  schedulePause: { readonly note?: string | undefined }
  scheduleResume: Nothing
  scheduleRun: Nothing
  scheduleBackfill: { readonly from: number | string; readonly to: number | string } & {
    readonly [K in keyof BackfillOptions]?: BackfillOptions[K] | undefined
  }
  functionPause: PauseOptions
  functionResume: Nothing
  limit: { readonly max: number | null }
  appSync: { readonly url: string }
  login: { readonly key: string }
}

type Paged = "after" | "limit"

/** What may be said in the query. */
export interface Queries {
  runs: "state" | "function" | "fanout" | "event" | Paged
  run: "preview"
  operations: Paged
  fanouts: Paged
  fanoutWait: "wait"
  schedules: "tag" | "app" | Paged
  schedule: "app"
  scheduleChange: "app"
  scheduleDelete: "app"
  scheduleTicks: "app" | Paged
  scheduleNext: "app" | "n"
  schedulePause: "app"
  scheduleResume: "app"
  scheduleRun: "app"
  scheduleBackfill: "app"
  limits: "function" | Paged
  eventList: Paged
  event: "preview"
  eventSchema: "name"
  activity: "range" | "function"
}

/** Operations whose path has the name of another one. */
const sharing = {
  sourceAdd: "source",
  scheduleUpsert: "schedules",
  scheduleChange: "schedule",
  scheduleDelete: "schedule",
  eventList: "events",
  login: "session",
  logout: "session",
} as const

type Sharing = typeof sharing
/** The path of an operation, as it is written in the code. */
export type PathOf<O extends Operation> = (typeof paths)[O extends keyof Sharing ? Sharing[O] : O & keyof typeof paths]

/** The path of an operation; `:name` stands for a parameter. */
export function pathOf(operation: Operation): string {
  const names: Readonly<Partial<Record<Operation, keyof typeof paths>>> = sharing
  return paths[names[operation] ?? (operation as keyof typeof paths)]
}

const methods: Readonly<Partial<Record<Operation, string>>> = { scheduleChange: "PATCH", scheduleDelete: "DELETE", logout: "DELETE" }

/** Whose body is there is a POST, unless it says something else. */
export function methodOf(operation: Operation, hasBody: boolean): string {
  return methods[operation] ?? (hasBody ? "POST" : "GET")
}

/** What the API's routes answer. */
export type { Activity, ActivityRange } from "../core/activity.ts"
export type { FailureCause, FailureCauses, FailureTimes } from "../core/causes.ts"
export type { BulkFilter } from "../core/bulk.ts"
export type { Failure } from "../core/failure.ts"
export type { FailureGroup, Operation } from "../core/fanouts.ts"
export type { ConcurrencyRule } from "../core/flow.ts"
export type { ScheduleLoad } from "../core/load.ts"
export type { RunState } from "../core/run.ts"
export type { BulkKind, Cancelled } from "../core/runs.ts"
export type { Schedule, Tick, TickOutcome } from "../core/schedule.ts"
export type { BackfillResult, UpcomingMoment } from "../core/schedules.ts"
export type {
  EventDetail,
  EventSummary,
  FanoutSummary,
  FunctionActivity,
  FunctionSummary,
  LimitSummary,
  NodeSummary,
  Page,
  RunDetail,
  RunFamily,
  RunSummary,
  Siblings,
} from "../core/views.ts"

/** What the API's routes answer. */
export type { Activity, ActivityRange } from "../core/activity.ts"
export type { FailureCause, FailureCauses } from "../core/causes.ts"
export type { Failure } from "../core/failure.ts"
export type { FailureGroup, Operation } from "../core/fanouts.ts"
export type { RunState } from "../core/run.ts"
export type {
  EventDetail,
  EventSummary,
  FanoutSummary,
  FunctionActivity,
  FunctionSummary,
  NodeSummary,
  Page,
  RunDetail,
  RunSummary,
} from "../core/views.ts"

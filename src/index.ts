export type { SendResult } from "./core/attempt.ts"
export type { CancelRule, CronTrigger, EventTrigger, FunctionOptions, Trigger } from "./core/definition.ts"
export type { Added, Logger, Middleware, RunInfo } from "./core/middleware.ts"
export type { BulkFilter } from "./core/bulk.ts"
export type { Runs } from "./core/runs.ts"
export type { Duration } from "./core/duration.ts"
export type {
  BackoffOptions,
  BatchOptions,
  ConcurrencyOptions,
  DebounceOptions,
  RateLimitOptions,
  SingletonOptions,
  ThrottleOptions,
} from "./core/flow.ts"
export { FanfareError, NonRetriableError, RetryAfterError, StepError } from "./core/errors.ts"
export type { ErrorCode } from "./core/errors.ts"
export type { FailureGroup, FanoutPlan, Fanouts, Operation, RetryOptions } from "./core/fanouts.ts"
export type { FanOutRules } from "./core/gate.ts"
export type { JoinResult, JoinUntil } from "./core/join.ts"
export type { FanoutState } from "./core/progress.ts"
export type { SourceResult } from "./core/source.ts"
export type { FanoutSummary } from "./core/views.ts"
export { Fanfare } from "./sdk/client.ts"
export type { EventSource, FanfareOptions, ItemSource, SendOptions } from "./sdk/client.ts"
export type { EventOf, FailureContext, Handler, HandlerContext, ScheduledTimer } from "./sdk/function.ts"
export type { AppSchedules, ScheduleOptions } from "./sdk/schedules.ts"
export type { Schedule, Tick, TickOutcome } from "./core/schedule.ts"
export type { HandlerEvent } from "./sdk/event.ts"
export { encryption } from "./sdk/encryption.ts"
export type { EncryptionOptions } from "./sdk/encryption.ts"
export { saga } from "./sdk/saga.ts"
export type { Saga } from "./sdk/saga.ts"
export { referenceFunction } from "./sdk/invoke.ts"
export type { FunctionReference } from "./sdk/invoke.ts"
export type { EventSchemas } from "./sdk/schema.ts"
export type { SendableEvent } from "./sdk/sendable.ts"
export type { Source, SourcePage } from "./sdk/source.ts"
export type { FanOutOptions, ItemOptions, Jsonify, StepId, StepTools } from "./sdk/step.ts"
export type { FanfareFunction } from "./sdk/target.ts"

export type { SendResult } from "./core/attempt.ts"
export type { CronTrigger, EventTrigger, FunctionOptions, Trigger } from "./core/definition.ts"
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
export { Fanfare } from "./sdk/client.ts"
export type { FanfareOptions } from "./sdk/client.ts"
export type { EventOf, FanfareFunction, Handler, HandlerContext, HandlerEvent, Logger, ScheduledTimer } from "./sdk/function.ts"
export type { EventSchemas } from "./sdk/schema.ts"
export type { SendableEvent } from "./sdk/sendable.ts"
export type { Jsonify, StepId, StepTools } from "./sdk/step.ts"

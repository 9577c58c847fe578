import type { StandardSchemaV1 } from "@standard-schema/spec"
import type { CronTrigger, EventTrigger, Trigger } from "../core/definition.ts"
import type { Logger } from "../core/middleware.ts"
import type { HandlerEvent } from "./event.ts"
import type { EventSchemas } from "./schema.ts"
import type { StepTools } from "./step.ts"

/** What a cron trigger brings. */
export type ScheduledTimer = HandlerEvent<
  "fanfare/scheduled.timer",
  {
    readonly cron: string
    readonly timezone: string
    /** The nominal moment, ISO 8601. */
    readonly scheduledAt: string
    readonly scheduleId: string
  }
>

/** The names with a schema that a trigger hears; none when the app has no schemas. */
type Schemas<S extends EventSchemas, Pattern extends string> = string extends keyof S
  ? never
  : Pattern extends `${infer Prefix}*`
    ? { [Name in keyof S & string]: Name extends `${Prefix}${string}` ? Name : never }[keyof S & string]
    : Pattern & keyof S & string

/** The event that a trigger brings, with its data typed by the schemas. */
export type EventOf<S extends EventSchemas, T extends Trigger> = T extends CronTrigger
  ? ScheduledTimer
  : T extends EventTrigger<infer Pattern>
    ? [Schemas<S, Pattern>] extends [never]
      ? HandlerEvent<Pattern extends `${string}*` ? string : Pattern>
      : { [Name in Schemas<S, Pattern>]: HandlerEvent<Name, StandardSchemaV1.InferOutput<S[Name]>> }[Schemas<S, Pattern>]
    : never

/** A function without triggers is started by hand or by a schedule: its event may be any. */
type EventOfAny<S extends EventSchemas, T extends readonly Trigger[]> = [T[number]] extends [never] ? HandlerEvent : EventOf<S, T[number]>

export interface HandlerContext<S extends EventSchemas, T extends readonly Trigger[]> {
  /** Why it runs: `{ id, name, data, ts }`. */
  readonly event: EventOfAny<S, T>
  /** All events of the run; `event` is the first. */
  readonly events: readonly EventOfAny<S, T>[]
  /** Its durable steps. */
  readonly step: StepTools<S>
  /** Lines of it are kept with the run. */
  readonly logger: Logger
  /** 0 for the first attempt. */
  readonly attempt: number
  /** Id of the run: the same in all its attempts. */
  readonly runId: string
  /** The fan-out that this run belongs to, if any. */
  readonly fanout?: { readonly id: string }
  /** Aborts when the attempt's time is over or the engine stops. */
  readonly signal: AbortSignal
}

export type Handler<S extends EventSchemas, T extends readonly Trigger[], Added extends object = object, Output = unknown> = (
  context: HandlerContext<S, T> & Added,
) => Output

/** The data that a function with these triggers takes. */
export type DataOf<S extends EventSchemas, T extends Trigger> = [T] extends [never] ? Record<string, unknown> : EventOf<S, T>["data"]

/** What an `onFailure` handler gets: `event` says what has failed, `error` is the error itself. */
export type FailureContext<S extends EventSchemas, T extends readonly Trigger[]> = Omit<HandlerContext<S, T>, "event" | "events"> & {
  readonly event: HandlerEvent<
    "fanfare/function.failed",
    {
      readonly functionId: string
      readonly runId: string
      readonly event: EventOf<S, T[number]>
      readonly error: { readonly name: string; readonly message: string }
    }
  >
  readonly error: Error
}

import type { StandardSchemaV1 } from "@standard-schema/spec"
import type { HostedFunction } from "../core/app.ts"
import type { CronTrigger, EventTrigger, FunctionDefinition, Trigger } from "../core/definition.ts"
import type { EventSchemas } from "./schema.ts"
import type { StepTools } from "./step.ts"

/** Writes lines that are kept with the run (the first 1,000) and also go to the engine's standard output. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** An event as a handler gets it. */
export interface HandlerEvent<Name extends string = string, Data = Record<string, unknown>> {
  /** The sender's id, or one made by Fanfare. */
  readonly id: string
  readonly name: Name
  readonly data: Data
  /** Milliseconds since 1970. */
  readonly ts: number
}

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
  readonly event: EventOfAny<S, T>
  /** All events of the run; `event` is the first. */
  readonly events: readonly EventOfAny<S, T>[]
  readonly step: StepTools<S>
  readonly logger: Logger
  /** 0 for the first attempt. */
  readonly attempt: number
  readonly runId: string
  /** The fan-out that this run belongs to, if any. */
  readonly fanout?: { readonly id: string }
  /** Aborts when the attempt's time is over or the engine stops. */
  readonly signal: AbortSignal
}

export type Handler<S extends EventSchemas, T extends readonly Trigger[]> = (context: HandlerContext<S, T>) => unknown

/** A function of an app, as `createFunction` returns it. */
export interface FanfareFunction extends HostedFunction {
  readonly id: string
  readonly definition: FunctionDefinition
}

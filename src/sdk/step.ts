import type { SendResult } from "../core/attempt.ts"
import type { Duration } from "../core/duration.ts"
import type { SendableEvent } from "./sendable.ts"
import type { EventSchemas } from "./schema.ts"

/** A value after a trip through JSON: what a step's result is, the first time and every time it is replayed. */
export type Jsonify<T> = T extends { toJSON(): infer J }
  ? Jsonify<J>
  : T extends string | number | boolean | null
    ? T
    : T extends undefined | void
      ? null
      : T extends bigint | symbol | ((...args: never) => unknown)
        ? never
        : T extends readonly unknown[]
          ? { [K in keyof T]: Jsonify<T[K]> }
          : T extends object
            ? { [K in keyof T as T[K] extends symbol | ((...args: never) => unknown) ? never : K]: JsonifyField<T[K]> }
            : T

type JsonifyField<T> = undefined extends T ? Jsonify<Exclude<T, undefined>> | undefined : Jsonify<T>

/** A step's id, or an id with a name for people. Ids used again in one run are told apart by their order. */
export type StepId = string | { readonly id: string; readonly name?: string }

/** The durable steps of a run. A finished step is never done again: a retry or a restart gets its kept result. */
export interface StepTools<S extends EventSchemas = EventSchemas> {
  /**
   * Does `work` and keeps its result (JSON, at most 4 MiB). A step that throws is tried again on its own, as often as the function's
   * `retries` say; when it has failed for good, a `StepError` is thrown here.
   */
  run<T>(id: StepId, work: () => T | Promise<T>): Promise<Jsonify<T>>
  /** Goes on after `duration` (at most 366 days), without holding any resource meanwhile. */
  sleep(id: StepId, duration: Duration): Promise<void>
  /** Goes on at `moment`: a `Date`, an ISO 8601 text or milliseconds since 1970. */
  sleepUntil(id: StepId, moment: Date | string | number): Promise<void>
  /** Sends events exactly once per run; more than one are a fan-out. */
  sendEvent(id: StepId, events: SendableEvent<S> | readonly SendableEvent<S>[]): Promise<SendResult>
}

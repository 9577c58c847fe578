import type { SendResult } from "../core/attempt.ts"
import type { Duration } from "../core/duration.ts"
import type { FanOutRules } from "../core/gate.ts"
import type { JoinResult, JoinUntil } from "../core/join.ts"
import type { FanfareFunction } from "./target.ts"
import type { SendableEvent } from "./sendable.ts"
import type { EventSchemas } from "./schema.ts"
import type { Source } from "./source.ts"

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
  /** Sends events exactly once per run; more than one are a fan-out, let loose as `rules` say. */
  sendEvent(id: StepId, events: SendableEvent<S> | readonly SendableEvent<S>[], rules?: FanOutRules): Promise<SendResult>
  /**
   * Sends events as a fan-out and goes on when its runs have ended (or as `until` says), without holding any resource meanwhile. Failed
   * runs do not throw here: the result tells of them. Without events it gives a result of zeros at once. Events may come from a source
   * that is larger than memory: their runs start before it ends, and another attempt goes on where this one stopped.
   */
  fanOut(id: StepId, events: Source<SendableEvent<S>>, options?: FanOutOptions): Promise<JoinResult>
  /** The same with one run of `target` for each item, whoever else hears its events: the item is the data of the run's event. */
  fanOut<Data>(
    id: StepId,
    target: FanfareFunction<Data>,
    items: Source<Data>,
    options?: FanOutOptions & ItemOptions<Data>,
  ): Promise<JoinResult>
}

/** For items of a function. */
export interface ItemOptions<Data> {
  /** Tells items apart: of those with the same key one run starts in this fan-out. Default: each item is another one. */
  readonly key?: (item: Data) => string
}

export interface FanOutOptions extends FanOutRules {
  /**
   * `"all"`: when all runs have ended; `{ succeeded: "99%" }`, `{ succeeded: 50 }`, `{ first: 1 }`: when so many have completed, and at
   * the latest when all have ended. Default `"all"`.
   */
  readonly until?: JoinUntil
  /** Goes on after this time in any case, with `timedOut: true`: at most 366 days. Default: none. */
  readonly timeout?: Duration
  /** Gives the outputs of the first 1,000 completed runs too: all of them together at most 4 MiB. Default: no. */
  readonly outputs?: boolean
}

import type { StandardSchemaV1 } from "@standard-schema/spec"
import type { SendResult, SignalResult } from "../core/attempt.ts"
import type { Duration } from "../core/duration.ts"
import type { FanOutRules } from "../core/gate.ts"
import type { JoinResult, JoinUntil } from "../core/join.ts"
import type { HandlerEvent } from "./event.ts"
import type { InvokeData, InvokeOutput } from "./invoke.ts"
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
export type StepId =
  | string
  | {
      readonly id: string
      readonly name?: string
      /** Of `step.run`: one try that takes longer fails, and counts as one that threw. Its code is not stopped. Default: none but the attempt's. */
      readonly timeout?: Duration
    }

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
  /**
   * Waits for an event that comes after the wait has begun; gives it, or null when `timeout` is over. No resource is held meanwhile.
   * @example const paid = await step.waitForEvent("payment", { event: "shop/paid", match: "data.orderId", timeout: "3d" })
   */
  waitForEvent<Name extends EventName<S>>(id: StepId, options: WaitForEventOptions<Name>): Promise<WaitedEvent<S, Name> | null>
  /**
   * Waits for a signal, which is for one run only; gives what came with it, or null when `timeout` is over.
   * @throws FanfareError `signal_taken` when another run waits for it
   */
  waitForSignal<T = unknown>(id: StepId, options: WaitForSignalOptions): Promise<{ readonly signal: string; readonly data: T } | null>
  /** Sends a signal; says whether a run waited for it. After a crash it may be sent once more, which then reaches nobody. */
  sendSignal(id: StepId, options: { readonly signal: string; readonly data?: unknown }): Promise<SignalResult>
  /**
   * Runs another function and gives its output. When it fails, or is cancelled, a `StepError` with its error is thrown here; after
   * `timeout` (default and most 366 days) one named `InvokeTimeoutError`.
   */
  invoke<F>(id: StepId, options: InvokeOptions<F>): Promise<InvokeOutput<F>>
  /**
   * An HTTP request as a step. Each answer is a result, whatever its status (but see `limit`); only a request that gets none is tried again.
   * The body is kept as text, at most 4 MiB of it.
   */
  fetch(id: StepId, url: string | URL, init?: FetchInit): Promise<FetchResult>
}

type EventName<S extends EventSchemas> = string extends keyof S ? string : keyof S & string
type WaitedEvent<S extends EventSchemas, Name extends string> = string extends keyof S
  ? HandlerEvent<Name>
  : Name extends keyof S
    ? HandlerEvent<Name, StandardSchemaV1.InferOutput<S[Name]>>
    : HandlerEvent<Name>

export interface WaitForEventOptions<Name extends string = string> {
  /** Its name: a whole one. */
  readonly event: Name
  /** At most 366 days. */
  readonly timeout: Duration
  /** A field that the new event and the run's own must have the same, such as `data.orderId`: text, number or boolean. */
  readonly match?: string
  /**
   * CEL over `event` (the run's own) and `async` (the new one); instead of `match`. With an equality in it, such as
   * `async.data.orderId == event.data.orderId`, waits are found by an index; at most 10,000 runs may wait for a name without one.
   */
  readonly if?: string
  /** Events of the last so long count too, the oldest that fits first: of the last 10,000 events of all names. Default: none. */
  readonly lookBack?: Duration
}

export interface WaitForSignalOptions {
  /** Its name, at most 256 characters: one run waits for it at a time. */
  readonly signal: string
  /** At most 366 days. */
  readonly timeout: Duration
  /** When another run waits for it: fail, or take its place (its step fails). Default `"fail"`. */
  readonly onConflict?: "fail" | "replace"
}

export interface InvokeOptions<F> {
  /** What `createFunction` gave, or `referenceFunction({ appId, functionId })`. */
  readonly function: F
  /** Data of the event that the function gets. */
  readonly data?: InvokeData<F>
  /** Default and most 366 days. */
  readonly timeout?: Duration
}

/** Parts of a request that can be kept. */
export interface FetchInit {
  /** Default `"GET"`. */
  readonly method?: string
  /** Of the request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Of the request: text. */
  readonly body?: string
  /** Default 5 minutes. */
  readonly timeout?: Duration
  /**
   * With it an answer 429 or 503 is no result: the step is tried again when its `Retry-After` says (else after 30 s), and no run starts
   * before then under this limit of the run; see `RetryAfterError`.
   */
  readonly limit?: string
}

export interface FetchResult {
  readonly url: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
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

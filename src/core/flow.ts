import type { Duration } from "./duration.ts"

export interface Keyed {
  /** Counts runs apart by its value: a CEL expression over `event`, such as `event.data.tenant`. At most 256 characters a value. */
  readonly key?: string
}

/** At most `limit` runs at the same time, on all nodes together. */
export interface ConcurrencyOptions extends Keyed {
  /** 1 to 100,000. */
  readonly limit: number
  /**
   * `fn` (default): of this function alone. `env`, `account`: functions whose key has the same value share one limit; a key is needed
   * then, and may be a literal such as `"'openai'"`.
   */
  readonly scope?: "fn" | "env" | "account"
  /** `step` (default): while it executes; who sleeps, waits or is to be retried takes no place. `run`: from its first start to its end. */
  readonly mode?: "step" | "run"
}

/** Delays starts: `limit` per `period`, evenly, `burst` more at once. None is dropped; retries do not count. */
export interface ThrottleOptions extends Keyed {
  /** 1 to 100,000. */
  readonly limit: number
  /** 1 s to 7 d. */
  readonly period: Duration
  /** 0 (default) to 10,000. */
  readonly burst?: number
}

/** Drops starts beyond a rate: up to `limit` at once, and one more each `period` ÷ `limit`. What is dropped is recorded as skipped. */
export interface RateLimitOptions extends Keyed {
  /** 1 to 100,000. */
  readonly limit: number
  /** 1 s to 24 h. */
  readonly period: Duration
}

/** Of events that come close together the latest one starts a run, when none came for `period`. */
export interface DebounceOptions extends Keyed {
  /** 1 s to 7 d. */
  readonly period: Duration
  /** Longest time that a run may be put off in all: 1 s to 7 d. Default: no bound. */
  readonly timeout?: Duration
}

/** One run for many events, `events` in its handler: when `maxSize` are there, or `timeout` after the first, or at 10 MiB. */
export interface BatchOptions extends Keyed {
  /** 2 to 1,000. */
  readonly maxSize: number
  /** 1 s to 10 min. */
  readonly timeout: Duration
  /** CEL condition: an event for which it does not hold starts a run of its own. */
  readonly if?: string
}

/** At most one run at a time that has not ended: a new one is skipped, or cancels the one before. */
export interface SingletonOptions extends Keyed {
  /** What becomes of a new one: it is skipped; or the one before is cancelled and it starts. */
  readonly mode: "skip" | "cancel"
}

/** Milliseconds or a duration before each retry, the last one for all that follow; or a rule for them. Up to half is added by chance. */
export type BackoffOptions =
  | readonly Duration[]
  | { readonly type: "fixed"; readonly base: Duration }
  /** `base`, twice that, four times that …, at most `max` (default 2 h). */
  | { readonly type: "exponential"; readonly base: Duration; readonly max?: Duration }

/** The part of a function's options that says when its runs may start. */
export interface FlowOptions {
  /** At most so many runs at the same time: a number, or up to 4 rules that must all have room. Default: no limit. */
  readonly concurrency?: number | ConcurrencyOptions | readonly ConcurrencyOptions[]
  readonly throttle?: ThrottleOptions
  readonly rateLimit?: RateLimitOptions
  readonly debounce?: DebounceOptions
  readonly batchEvents?: BatchOptions
  /** `run`: CEL expression that gives the seconds, -600 to 600, by which a run comes earlier in line. */
  readonly priority?: { readonly run: string }
  readonly singleton?: SingletonOptions
  /** CEL expression: one run per value within 24 h; what comes after is skipped. */
  readonly idempotency?: string
}

/** One concurrency rule, completed. */
export interface ConcurrencyRule {
  readonly limit: number
  readonly key: string | null
  readonly scope: "fn" | "env" | "account"
  readonly mode: "step" | "run"
}

/** The rules of a function that has any, checked and completed. JSON: the store keeps it with the function. */
export interface FlowRules {
  readonly concurrency: readonly ConcurrencyRule[]
  readonly throttle: { readonly limit: number; readonly periodMs: number; readonly burst: number; readonly key: string | null } | null
  readonly rateLimit: { readonly limit: number; readonly periodMs: number; readonly key: string | null } | null
  readonly debounce: { readonly periodMs: number; readonly timeoutMs: number | null; readonly key: string | null } | null
  readonly batch: { readonly maxSize: number; readonly timeoutMs: number; readonly key: string | null; readonly if: string | null } | null
  readonly priority: string | null
  readonly singleton: { readonly mode: "skip" | "cancel"; readonly key: string | null } | null
  readonly idempotency: string | null
}

import type { PausePolicy } from "./definition.ts"
import type { FunctionSummary, LimitSummary, Page } from "./views.ts"

export interface PauseOptions {
  /** What becomes of runs that would start meanwhile: `keep` has them wait in line (default), `skip` records them as skipped. */
  readonly newRuns?: PausePolicy
}

/** Functions that apps offer. They may be named by their full id, or by their own where no other app has a function of that name. */
export interface Functions {
  /** All of them, with triggers, rules and next moments. */
  list(): Promise<Page<FunctionSummary>>
  /**
   * Starts no more runs of a function, on any node: what executes goes on. Moments of its schedules are `paused` in the ledger with `skip`.
   * @throws FanfareError `not_found`, `invalid_option`
   */
  pause(id: string, options?: PauseOptions): Promise<void>
  /** Lets it go on. @throws FanfareError `not_found` */
  resume(id: string): Promise<void>
}

/** Limits, by their full names such as `fn:shop-send-digest:acme`. */
export interface Limits {
  /** Those that runs count against or wait for, and those set by hand, in the order of their names. `functionId`: only those of a function. */
  list(filter?: { readonly functionId?: string; readonly after?: string; readonly limit?: number }): Promise<Page<LimitSummary>>
  /**
   * Sets the most of a limit, from now on and on all nodes, in place of what its functions say. What has started goes on. 0 starts nothing.
   * @throws FanfareError `invalid_option`: `max` is no whole number from 0 to 100,000
   */
  set(id: string, max: number): Promise<void>
  /** What its functions say holds again. */
  reset(id: string): Promise<void>
}

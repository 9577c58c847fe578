import type { BulkFilter } from "./bulk.ts"
import type { Operation } from "./fanouts.ts"
import type { Page, RunDetail, RunFilter, RunSummary } from "./views.ts"

/** What came of a request to cancel one run. */
export interface Cancelled {
  /** False when it had ended before. */
  readonly cancelled: boolean
  /** How it stands now. */
  readonly run: RunSummary
}

export interface ReplayOptions {
  /** Take over the results of all steps that had ended when this one began; it and what follows is done anew. Default: nothing is taken over. */
  readonly fromStep?: string
  /** Data of the event instead of what the run had: a new event of the same name is written. */
  readonly data?: unknown
}

export type BulkKind = "cancel" | "replay" | "retry"

/** Runs, looked at and put right. */
export interface Runs {
  /** One run with its attempts, steps, logs and output. @throws FanfareError `not_found` */
  get(id: string): Promise<RunDetail>
  /** Newest first. */
  list(filter?: RunFilter): Promise<Page<RunSummary>>
  /**
   * Ends a run that has not ended, wherever it stands: no step of it begins any more. On another node code that is running goes on up to
   * its next step, or a second; its `signal` aborts.
   * @throws FanfareError `not_found`
   */
  cancel(id: string, reason?: string): Promise<Cancelled>
  /**
   * A new run of the same function for the same event.
   * @throws FanfareError `not_found`: the run, its function, or `fromStep`
   */
  replay(id: string, options?: ReplayOptions): Promise<{ readonly runId: string }>
  /**
   * Sets a run that failed or was cancelled going again where it stopped: finished steps keep their results, failed ones and attempts begin
   * anew, and so do its `timeouts` and `cancelOn`.
   * @throws FanfareError `not_found`; `invalid_option`: it has not ended, or ended otherwise
   */
  retry(id: string): Promise<RunSummary>
  /** How many runs a filter means now, counted up to 100,000. */
  count(filter: BulkFilter): Promise<number>
  /** Cancels, replays, or (failed and cancelled ones) retries many runs: on the server, in parts, over restarts. */
  bulk(kind: BulkKind, filter: BulkFilter): Promise<Operation>
  /** What is or was done to many runs, fan-outs included: newest first. */
  operations(options?: { readonly after?: string; readonly limit?: number }): Promise<Page<Operation>>
  /**
   * Stops what is being done to many runs where it is: what is done stays done.
   * @throws FanfareError `not_found`; `invalid_option`: a fan-out is being cancelled or paused, which cannot be stopped
   */
  stop(operationId: string): Promise<Operation>
}

import type { EventInput } from "./event.ts"
import type { BulkFilter } from "./bulk.ts"
import type { FanoutSummary, Page } from "./views.ts"

/** Failed runs of a fan-out that have the same cause. */
export interface FailureGroup {
  /** Error name, message without what differs, and place. Give it to `retry`. */
  readonly fingerprint: string
  readonly count: number
  readonly firstAt: number
  readonly lastAt: number
  /** One of them. */
  readonly runId: string
}

export type OperationKind = "retry" | "cancel" | "replay" | "pause"

/** Something done to many runs: on the server, in parts, over restarts, until it is done. */
export interface Operation {
  readonly id: string
  readonly kind: OperationKind
  /** Empty when it is done to runs that a filter means. */
  readonly fanoutId: string
  readonly filter?: BulkFilter
  /** Only runs that failed like this. */
  readonly fingerprint: string | null
  /** Only this run. */
  readonly runId: string | null
  /** Runs it has changed so far. */
  readonly affected: number
  /** `stopped`: by hand, before all was done. */
  readonly state: "running" | "done" | "stopped"
  readonly createdAt: number
  readonly endedAt: number | null
}

/** What a send would do. */
export interface FanoutPlan {
  readonly events: number
  /** Events whose id was sent within the last 24 h, or comes twice here: they would start nothing. */
  readonly duplicates: number
  /** Runs that would start. */
  readonly runs: number
  readonly functions: readonly { readonly functionId: string; readonly runs: number }[]
  /** The first five events that would be stored. */
  readonly sample: readonly { readonly name: string; readonly data: unknown; readonly id: string | null }[]
}

/** What to run again: all that has failed, one group, or one run, perhaps with other data. */
export interface RetryOptions {
  /** Of one cause only, as `failures` names it. */
  readonly fingerprint?: string
  /** This failed run only. */
  readonly runId?: string
  /** With `runId`: other data for it, an object. It begins anew, without its finished steps. */
  readonly data?: unknown
}

/** Fan-outs, seen and repaired as one thing. */
export interface Fanouts {
  /** Its counts, state, rate and rest, as of now. @throws FanfareError `not_found` */
  get(id: string): Promise<FanoutSummary>
  /** Newest first. */
  list(options?: { readonly after?: string; readonly limit?: number }): Promise<Page<FanoutSummary>>
  /** The failures of a fan-out by their cause, the most frequent first, at most 100. */
  failures(id: string): Promise<readonly FailureGroup[]>
  /** Resolves when all runs of the fan-out have ended, or after `timeoutMs`. Default: no timeout. */
  wait(id: string, timeoutMs?: number): Promise<FanoutSummary>
  /**
   * Runs what has failed by now again, all of it, one group or one run: finished steps are kept, failed ones are done anew. A fan-out that
   * a canary or the breaker stopped goes on: failed first runs go first again, and the others follow when they have completed. One that
   * had ended is open again; joins that were over stay so, and `fanfare/fanout.completed` is sent again at its next end.
   * @throws FanfareError `not_found`; `invalid_option`: the run has not failed, or the data is no object
   */
  retry(id: string, options?: RetryOptions): Promise<Operation>
  /** Cancels what has not begun or waits, and what its source would still add; what is running may end first. */
  cancel(id: string): Promise<Operation>
  /**
   * Stops this fan-out and nothing else, as its breaker would, until `resume`: what is in line, held or yet to come begins no sooner, nor what
   * its source still adds. What has begun goes on (with a breaker, until it sleeps or is to be tried again), and so do the first runs of a canary
   * that is under way.
   * @throws FanfareError `not_found`; `invalid_option`: it has ended, was cancelled, or stands still
   */
  pause(id: string): Promise<FanoutSummary>
  /**
   * Lets a fan-out that a canary, the breaker or somebody stopped go on as it is: what has failed stays failed. The breaker counts from here.
   */
  resume(id: string): Promise<FanoutSummary>
  /** What a send of these events would do, without sending: counts, duplicates, functions, a sample. */
  plan(events: readonly EventInput[]): Promise<FanoutPlan>
  /** How far a `retry` or `cancel` is. */
  operation(id: string): Promise<Operation>
}

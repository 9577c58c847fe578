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

export type OperationKind = "retry" | "cancel" | "replay"

/** Something done to many runs: on the server, in parts, over restarts, until it is done. */
export interface Operation {
  readonly id: string
  readonly kind: OperationKind
  /** Empty when it is done to runs that a filter means. */
  readonly fanoutId: string
  readonly filter?: BulkFilter
  /** Only runs that failed like this. */
  readonly fingerprint: string | null
  /** Runs it has changed so far. */
  readonly affected: number
  readonly state: "running" | "done"
  readonly createdAt: number
  readonly endedAt: number | null
}

/** Fan-outs, seen and repaired as one thing. */
export interface Fanouts {
  /** @throws FanfareError `not_found` */
  get(id: string): Promise<FanoutSummary>
  /** Newest first. */
  list(options?: { readonly after?: string; readonly limit?: number }): Promise<Page<FanoutSummary>>
  /** The failures of a fan-out by their cause, the most frequent first, at most 100. */
  failures(id: string): Promise<readonly FailureGroup[]>
  /** Resolves when all runs of the fan-out have ended, or after `timeoutMs`. Default: no timeout. */
  wait(id: string, timeoutMs?: number): Promise<FanoutSummary>
  /** Runs what has failed by now again, all of it or one group: finished steps are kept, failed ones are done anew. */
  retry(id: string, options?: { readonly fingerprint?: string }): Promise<Operation>
  /** Cancels what has not begun or waits; what is running may end first. */
  cancel(id: string): Promise<Operation>
  operation(id: string): Promise<Operation>
}

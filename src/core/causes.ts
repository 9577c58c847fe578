import type { FailureGroup } from "./fanouts.ts"

/** Failed runs of one function that have the same cause, among the newest 10,000 failures. */
export interface FailureCause extends FailureGroup {
  readonly functionId: string
  /** Failures per hour of the last 24, the newest last. */
  readonly hours: readonly number[]
}

export interface FailureCauses {
  readonly items: readonly FailureCause[]
  /** Failed runs that were looked at. */
  readonly looked: number
  /** Whether there are older ones. */
  readonly more: boolean
}

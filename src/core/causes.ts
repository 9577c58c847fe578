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

/** When runs of a fan-out failed, by the cause: of its newest 10,000 failures. */
export interface FailureTimes {
  readonly from: number
  readonly to: number
  /** How many failed in each 24th part of this time. */
  readonly causes: readonly { readonly fingerprint: string; readonly counts: readonly number[] }[]
}

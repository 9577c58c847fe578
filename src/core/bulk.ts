import type { RunFilter } from "./views.ts"

/** Many runs at once, as they are when the request comes: later ones are not touched. Times are milliseconds since 1970. */
export interface BulkFilter {
  readonly functionId?: string
  readonly state?: RunFilter["state"]
  /** Created at this moment or later; and before that one. */
  readonly from?: number
  readonly to?: number
  /** Of this fan-out. */
  readonly fanoutId?: string
  /** With state `failed`: those that failed like this, as `failures` names it. */
  readonly fingerprint?: string
}

import type { Attempt } from "../core/attempt.ts"
import type { Outcome } from "../core/outcome.ts"

/** The way an attempt reaches user code. Never rejects: whatever happens is an outcome. */
export interface Transport {
  /** The functions whose code it reaches. */
  hosts(): readonly string[]
  execute(attempt: Attempt): Promise<Outcome>
}

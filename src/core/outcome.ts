import type { Failure } from "./failure.ts"
import type { Join } from "./join.ts"
import type { RetryWish } from "./retry.ts"

/**
 * How an attempt ended: whatever user code did (return, throw, hang, die), it is one of these.
 * - `completed`: the handler returned; `output` is JSON text.
 * - `parked`: the handler cannot go on before `dueAt`, or before one of `joins` is over, or one of the steps
 *   `awaits` has got what it waits for. `for` says why: a wait, or a step that will
 *   be tried again.
 * - `failed`: the handler threw, or broke a bound.
 * - `lost`: nobody knows; its node died or gave it up.
 * - `returned`: handed back before it started; it does not count.
 * - `superseded`: another claim took over; nothing may be written.
 */
export type Outcome =
  | { readonly kind: "completed"; readonly output: string }
  | {
      readonly kind: "parked"
      readonly dueAt: number
      readonly for: "wait" | "retry"
      readonly joins: readonly Join[]
      readonly awaits?: readonly string[]
    }
  | { readonly kind: "failed"; readonly failure: Failure; readonly retry: RetryWish }
  | { readonly kind: "lost"; readonly reason: string }
  | { readonly kind: "returned" }
  | { readonly kind: "superseded" }

import type { Failure } from "./failure.ts"
import type { RetryWish } from "./retry.ts"

/**
 * How an attempt ended: whatever user code did (return, throw, hang, die), it is one of these.
 * - `completed`: the handler returned; `output` is JSON text.
 * - `parked`: the handler cannot go on before `dueAt`. `for` says why: a sleep, or a step that will be tried again.
 * - `failed`: the handler threw, or broke a bound.
 * - `lost`: nobody knows; its node died or gave it up.
 * - `returned`: handed back before it started; it does not count.
 * - `superseded`: another claim took over; nothing may be written.
 */
export type Outcome =
  | { readonly kind: "completed"; readonly output: string }
  | { readonly kind: "parked"; readonly dueAt: number; readonly for: "sleep" | "retry" }
  | { readonly kind: "failed"; readonly failure: Failure; readonly retry: RetryWish }
  | { readonly kind: "lost"; readonly reason: string }
  | { readonly kind: "returned" }
  | { readonly kind: "superseded" }

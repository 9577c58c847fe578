import type { HostedFunction } from "../core/app.ts"
import { FanfareError } from "../core/errors.ts"

/** A function of another app, known by its ids. `accepts` and `gives` are for types only. */
export interface FunctionReference<in Data = never, out Output = unknown> {
  readonly functionId: string
  readonly accepts?: (data: Data) => void
  readonly gives?: Output
}

/**
 * Names a function of another app, to invoke it: its code need not be here.
 * @example const charge = referenceFunction<{ orderId: string }, { paid: boolean }>({ appId: "billing", functionId: "charge" })
 */
export function referenceFunction<Data = unknown, Output = unknown>(ids: {
  readonly appId: string
  readonly functionId: string
}): FunctionReference<Data, Output> {
  return { functionId: `${ids.appId}-${ids.functionId}` }
}

/** What a function that is invoked wants as data, and what it gives. */
export type InvokeData<F> = F extends { readonly accepts?: (data: infer Data) => void } ? Data : unknown
export type InvokeOutput<F> = F extends { readonly gives?: infer Output } ? Output : unknown

/** The full id of what is to be invoked. */
export function invokedId(target: unknown): string {
  const value = target as Partial<FunctionReference & HostedFunction> | null
  const id = typeof target === "object" ? (value?.definition?.id ?? value?.functionId) : undefined
  if (typeof id === "string") return id
  throw new FanfareError(
    "invalid_step",
    "step.invoke: function must be one that createFunction gave, or referenceFunction({ appId, functionId })",
    {
      field: "function",
    },
  )
}

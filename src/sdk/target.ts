import type { HostedFunction } from "../core/app.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import type { EventInput } from "../core/event.ts"

/** A function of an app, as `createFunction` returns it: `Data` is the data of the events that it takes, `Output` what it gives. */
export interface FanfareFunction<in Data = never, out Output = unknown> extends HostedFunction {
  readonly id: string
  readonly definition: FunctionDefinition
  /** Never set: for types only. */
  readonly accepts?: (data: Data) => void
  readonly gives?: Output
}

/** By shape, since the function may come from another copy of this package. */
export function isFunction(value: unknown): value is FanfareFunction {
  return typeof value === "object" && value !== null && "definition" in value && "handler" in value
}

/** An item as an event for the one function that gets it. */
export function toItem(key: ((item: never) => string) | undefined): (item: unknown) => EventInput {
  return (item) => ({ name: "item", data: item, ...(key === undefined ? {} : { id: key(item as never) }) })
}

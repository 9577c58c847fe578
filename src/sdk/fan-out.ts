import type { EventInput } from "../core/event.ts"
import type { JoinResult } from "../core/join.ts"
import type { Source } from "./source.ts"
import type { FanOutOptions, ItemOptions } from "./step.ts"
import { type FanfareFunction, isFunction, toItem } from "./target.ts"

/** What a join of nothing gives. */
export const nothingJoined: JoinResult = {
  fanoutId: null,
  total: 0,
  completed: 0,
  failed: 0,
  cancelled: 0,
  timedOut: false,
  failures: [],
  slowest: [],
}

/** `step.fanOut` behind its id: events, or a function and its items. */
export type FanOutArguments =
  | [events: Source<EventInput>, options?: FanOutOptions]
  | [target: FanfareFunction<never>, items: Source<unknown>, options?: FanOutOptions & ItemOptions<never>]

export interface FanOutCall {
  readonly functionId: string | null
  readonly source: Source<unknown>
  readonly toEvent: (item: unknown) => EventInput
  readonly options: FanOutOptions
}

export function fanOutOf(given: FanOutArguments): FanOutCall {
  const [first] = given
  if (isFunction(first)) {
    const [target, source, options = {}] = given as [FanfareFunction, Source<unknown>, (FanOutOptions & ItemOptions<unknown>)?]
    return { functionId: target.definition.id, source, toEvent: toItem(options.key), options }
  }
  const [source, options = {}] = given as [Source<EventInput>, FanOutOptions?]
  return { functionId: null, source: source as Source<unknown>, toEvent: (item) => item as EventInput, options }
}

import { limits } from "./limits.ts"

// Where something stands in a distributed trace, as W3C Trace Context says it: a `traceparent`, and after a space its `tracestate` when there
// is one. All of the house carries it as this one text.

/** What is in such a text. */
export interface TraceParts {
  readonly traceId: string
  readonly spanId: string
  readonly flags: number
  /** Empty for none. */
  readonly state: string
}

const parentShape = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/
const parentChars = 55
const stateShape = /^[\u0020-\u007e]*=[\u0020-\u007e]*$/

/** The headers of a request as one text; null when there is no `traceparent`, or one that is none. A `tracestate` that is unfit is left out. */
export function readTrace(traceparent: string | null | undefined, tracestate?: string | null): string | null {
  const match = parentShape.exec(traceparent ?? "")
  if (match === null || (match[0].startsWith("00") && traceparent?.length !== parentChars)) return null
  // Later versions begin like the first one.
  const parent = `00-${match[1]}-${match[2]}-${match[3]}`
  const state = tracestate?.trim() ?? ""
  return state.length > limits.traceStateChars || !stateShape.test(state) ? parent : `${parent} ${state}`
}

/** The headers that hand it on; none for null. */
export function traceHeaders(trace: string | null): Record<string, string> {
  if (trace === null) return {}
  const traceparent = trace.slice(0, parentChars)
  return trace.length > parentChars ? { traceparent, tracestate: trace.slice(parentChars + 1) } : { traceparent }
}

/** Takes apart what `readTrace` gave. */
export function traceParts(trace: string): TraceParts {
  const [, traceId = "", spanId = "", flags = ""] = trace.slice(0, parentChars).split("-")
  return { traceId, spanId, flags: Number.parseInt(flags, 16), state: trace.slice(parentChars + 1) }
}

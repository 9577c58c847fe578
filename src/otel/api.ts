import type * as Api from "@opentelemetry/api"
import { readTrace, traceParts } from "../core/trace.ts"

/** What spans are made with: the package of OpenTelemetry's API, and what a registered SDK gave for it. */
export interface Tracing {
  readonly api: typeof Api
  readonly tracer: Api.Tracer
}

/** Under which spans and metrics are made. */
export const scopeName = "fanfare"

/** Undefined until an SDK is there. */
let loaded: typeof Api | null | undefined

/** Where the API keeps what is registered, for all its copies: without it nobody has registered anything, and it need not be loaded. */
const registered = Symbol.for("opentelemetry.js.api.1")

/**
 * The API package of OpenTelemetry where an SDK is registered with it, else null. Found without an import, so that nothing has to be there,
 * bundlers do not look for it, and this file also loads where there is no Node.
 */
export function openTelemetry(): typeof Api | null {
  if (loaded !== undefined) return loaded
  if (!(registered in globalThis)) return null
  loaded = load()
  return loaded
}

function load(): typeof Api | null {
  const { process } = globalThis as { process?: { getBuiltinModule?: (id: string) => unknown } }
  const modules = process?.getBuiltinModule?.("node:module") as { createRequire(from: string): (id: string) => unknown } | undefined
  try {
    return (modules?.createRequire(import.meta.url)("@opentelemetry/api") as typeof Api | undefined) ?? null
  } catch {
    return null
  }
}

/** Null while no SDK for traces is registered: then nothing is made, and nothing paid. */
export function tracing(): Tracing | null {
  const api = openTelemetry()
  if (api === null) return null
  const provider = api.trace.getTracerProvider() as Partial<Api.ProxyTracerProvider>
  const tracer = provider.getDelegateTracer?.(scopeName)
  return tracer === undefined ? null : { api, tracer }
}

/** Begins a span. An SDK that fails must not harm what it looks at: it gets one then that nobody keeps. */
export function startSpan({ api, tracer }: Tracing, name: string, options: Api.SpanOptions, context: Api.Context): Api.Span {
  try {
    return tracer.startSpan(name, options, context)
  } catch {
    return api.trace.wrapSpanContext(api.INVALID_SPAN_CONTEXT)
  }
}

/** Ends it, whatever the SDK makes of that. */
export function endSpan(span: Api.Span): void {
  try {
    span.end()
  } catch {
    // The same.
  }
}

/** A span's place as text; null for one that belongs to no trace. */
export function placeOf({ traceId, spanId, traceFlags, traceState }: Api.SpanContext): string | null {
  return readTrace(`00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`, traceState?.serialize())
}

/** The place that the text names. */
export function toSpanContext(api: typeof Api, trace: string): Api.SpanContext {
  const { traceId, spanId, flags, state } = traceParts(trace)
  const place = { traceId, spanId, traceFlags: flags, isRemote: true }
  return state === "" ? place : { ...place, traceState: api.createTraceState(state) }
}

/** What went wrong, as far as it is known. */
export interface Wrong {
  readonly name: string
  readonly message: string
  readonly stack?: string
}

/** Marks a span as one that failed. */
export function fail({ api }: Pick<Tracing, "api">, span: Api.Span, { name, message, stack }: Wrong): void {
  span.recordException({ name, message, ...(stack === undefined ? {} : { stack }) })
  span.setAttribute("error.type", name)
  span.setStatus({ code: api.SpanStatusCode.ERROR, message })
}

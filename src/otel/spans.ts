import type { Attributes, Context, Span } from "@opentelemetry/api"
import { toFailure } from "../core/failure.ts"
import { traceHeaders, traceParts } from "../core/trace.ts"
import { endSpan, fail, openTelemetry, placeOf, startSpan, toSpanContext, type Tracing, tracing } from "./api.ts"

/** Where the code that asks stands; null when no span is active. */
export function activeTrace(): string | null {
  const span = openTelemetry()?.trace.getActiveSpan()
  return span === undefined ? null : placeOf(span.spanContext())
}

/** Does `work` where a request from elsewhere says that it belongs; deeper in that trace, when something has made a span for the request. */
export function within<T>(trace: string | null, work: () => T): T {
  const api = openTelemetry()
  if (api === null || trace === null || api.trace.getActiveSpan()?.spanContext().traceId === traceParts(trace).traceId) return work()
  return api.context.with(api.trace.setSpanContext(api.context.active(), toSpanContext(api, trace)), work)
}

/** What is sent. */
interface Sent {
  readonly name: string
}

/** From where it is sent. */
interface Sender {
  /** The fan-out that it is, when that is known before. */
  readonly fanoutId?: string | null
  /** Where the span belongs when none is active. */
  readonly parent?: Context | undefined
}

/**
 * Sends events in a span of their own; `send` is given what they keep of it, null when nobody traces.
 * @param events null: they are not known beforehand
 */
export async function producing<T>(
  events: readonly Sent[] | null,
  send: (trace: string | null) => Promise<T>,
  { fanoutId = null, parent }: Sender = {},
): Promise<T> {
  const tools = tracing()
  if (tools === null || events?.length === 0) return send(null)
  const { api } = tools
  const first = events?.[0]?.name
  // A middleware or a handler may give anything: it is checked later.
  const name = events?.every((event) => event?.name === first) === true ? first : undefined
  const attributes: Attributes = {
    ...sending,
    ...(name === undefined ? {} : { "messaging.destination.name": name }),
    ...(events === null || events.length === 1 ? {} : { "messaging.batch.message_count": events.length }),
    ...(fanoutId === null ? {} : { "fanfare.fanout.id": fanoutId }),
  }
  const here = contextHere(tools, parent)
  const span = startSpan(tools, name === undefined ? "send" : `send ${name}`, { kind: api.SpanKind.PRODUCER, attributes }, here)
  const work = (): Promise<T> => send(placeOf(span.spanContext()))
  return ending(tools, span, () => api.context.with(api.trace.setSpan(here, span), work))
}

const sending: Attributes = {
  "messaging.system": "fanfare",
  "messaging.operation.name": "send",
  "messaging.operation.type": "send",
}

/** The active context when it has a span, else `parent`. */
export function contextHere({ api }: Tracing, parent: Context | undefined): Context {
  return parent !== undefined && api.trace.getActiveSpan() === undefined ? parent : api.context.active()
}

/**
 * Makes an HTTP request in a span of its own, and hands on where it stands in the trace.
 * @param trace what the request is part of; null: of nothing, it gets no span. Handed on as it is when nobody traces here
 */
export async function calling<T extends { readonly status: number }>(
  { method, url }: { readonly method: string; readonly url: string },
  trace: string | null,
  send: (headers: Readonly<Record<string, string>>) => Promise<T>,
): Promise<T> {
  const tools = trace === null ? null : tracing()
  if (tools === null) return send(traceHeaders(trace))
  const { api } = tools
  const { hostname, port, protocol, origin, pathname, search } = new URL(url)
  const attributes: Attributes = {
    "http.request.method": method,
    "url.full": `${origin}${pathname}${search}`,
    "server.address": hostname,
    "server.port": port === "" ? (protocol === "https:" ? 443 : 80) : Number(port),
  }
  const span = startSpan(tools, method, { kind: api.SpanKind.CLIENT, attributes }, api.context.active())
  return ending(tools, span, async () => {
    const reply = await send(traceHeaders(placeOf(span.spanContext())))
    span.setAttribute("http.response.status_code", reply.status)
    if (reply.status >= 400) {
      span.setAttribute("error.type", String(reply.status))
      span.setStatus({ code: api.SpanStatusCode.ERROR })
    }
    return reply
  })
}

async function ending<T>(tools: Tracing, span: Span, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    fail(tools, span, toFailure(thrown))
    throw thrown
  } finally {
    endSpan(span)
  }
}

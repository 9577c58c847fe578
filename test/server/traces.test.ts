import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttp } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api"
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks"
import { BasicTracerProvider, InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Inngest } from "inngest"
import { serve as serveInngest } from "inngest/express"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import type { Page, RunDetail, RunSummary } from "../../src/core/views.ts"
import { Fanfare, RetryAfterError } from "../../src/index.ts"
import { serve } from "../../src/sdk/adapters/node.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"
import { listen, quiet, type SdkApp, withExpress } from "./sdk-apps.ts"
import { until } from "./sdk-suite.ts"

const exporter = new InMemorySpanExporter()
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
let isBroken = false
const breaks = (): void => {
  if (isBroken) throw new Error("a processor of spans that fails")
}
const none = async (): Promise<void> => undefined
const breaking = { onStart: breaks, onEnd: breaks, forceFlush: none, shutdown: none }
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter), breaking] }))
const tracer = trace.getTracer("the user's own")

const folder = mkdtempSync(join(tmpdir(), "fanfare-traces-"))
const heard: Record<string, string | string[] | undefined>[] = []
const target = createHttp((request, response) => {
  heard.push(request.headers)
  response.end("{}")
})

let tries = 0
const shop = new Fanfare({ id: "shop" })
shop.createFunction({ id: "order", triggers: [{ event: "shop/order" }] }, async ({ step, attempt }) => {
  await step.run("charge", async () => tracer.startActiveSpan("sql", async (span) => span.end()))
  await step.fetch("ask", `http://127.0.0.1:${(target.address() as AddressInfo).port}/`)
  if (attempt === 0) throw new RetryAfterError("the bank sleeps", 1)
  await shop.send([{ name: "shop/ship" }, { name: "shop/ship" }])
})
shop.createFunction({ id: "ask", triggers: [{ event: "shop/ask" }] }, async ({ step }) => {
  await step.fetch("ask", `http://127.0.0.1:${(target.address() as AddressInfo).port}/`)
})
shop.createFunction(
  { id: "told", triggers: [{ event: "shop/told" }], batchEvents: { maxSize: 2, timeout: "30s" } },
  ({ events }) => events.length,
)
shop.createFunction({ id: "by-hand", triggers: [{ cron: "0 0 1 1 *" }] }, async ({ step }) => {
  await step.run("fails", () => {
    if (++tries === 1) throw new RetryAfterError("once", 1)
  })
})

// An app elsewhere, written with our own `serve`.
const away = new Fanfare({ id: "away" })
away.createFunction({ id: "far", triggers: [{ event: "away/far" }] }, async ({ step }) => {
  await step.run("own", async () => tracer.startActiveSpan("far away", async (span) => span.end()))
  await step.sendEvent("tell", { name: "away/near" })
})
away.createFunction({ id: "near", triggers: [{ event: "away/near" }] }, () => null)

let server: FanfareServer
let post: SdkApp
const served = createHttp()
beforeAll(async () => {
  server = await createServer({ client: shop, db: join(folder, "traces.db"), http: { port: 0 }, logs: "none" })
  await server.start()
  await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve))
  await new Promise<void>((resolve) => served.listen(0, "127.0.0.1", resolve))
  served.on("request", serve({ client: away, url: server.url ?? "" }))
  await fetch(`http://127.0.0.1:${(served.address() as AddressInfo).port}/api/fanfare`, { method: "PUT" })
  // And an app written with the official SDK.
  const client = new Inngest({ id: "post", isDev: true, logger: quiet, baseUrl: server.url ?? "" })
  const ship = client.createFunction({ id: "ship", triggers: [{ event: "shop/ship" }] }, async ({ step }) => {
    await step.run("label", () => "printed")
    await step.sendEvent("tell", { name: "shop/told", data: {} })
  })
  post = await listen(withExpress(serveInngest({ client, functions: [ship] })), client)
  await fetch(post.url, { method: "PUT" })
})
beforeEach(() => exporter.reset())
afterAll(async () => {
  await post.close()
  for (const each of [target, served]) {
    each.close()
    each.closeAllConnections()
  }
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

const get = async <T>(path: string): Promise<T> => (await (await fetch(new URL(`/api/v1${path}`, server.url ?? ""))).json()) as T
const ended = async (functionId: string, count = 1): Promise<RunDetail[]> => {
  const { items } = await until(async () => {
    const page = await get<Page<RunSummary>>(`/runs?function=${functionId}&state=completed`)
    return page.items.length >= count && page
  }, `the end of ${functionId}`)
  return Promise.all(items.map(({ id }) => get<RunDetail>(`/runs/${id}`)))
}
/** Ours and those of the test: the official SDK makes some too. */
const spans = (): ReadableSpan[] =>
  exporter.getFinishedSpans().filter(({ instrumentationScope: { name } }) => name === "fanfare" || name === "the user's own")
const named = (name: string): ReadableSpan[] => spans().filter((span) => span.name === name)
const idOf = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().spanId
const parentOf = (span: ReadableSpan | undefined): string | undefined => span?.parentSpanContext?.spanId
const json = { "content-type": "application/json" }
const send = (name: string, headers: Record<string, string>): Promise<Response> =>
  fetch(new URL("/e/dev", server.url ?? ""), { method: "POST", body: JSON.stringify({ name }), headers: { ...json, ...headers } })

describe("traces", () => {
  it("are one from the sender over a retry, steps and a fan-out to an app elsewhere and back", async () => {
    await tracer.startActiveSpan("request", async (span) => {
      await shop.send({ name: "shop/order" })
      span.end()
    })
    const [told] = await ended("shop-told")
    const [request] = named("request")
    const traceId = request?.spanContext().traceId
    expect(new Set(spans().map((span) => span.spanContext().traceId))).toEqual(new Set([traceId]))
    expect(told?.traceId).toBe(traceId)
    expect((await ended("post-ship", 2)).map((run) => run.traceId)).toEqual([traceId, traceId])

    const [sent] = named("send shop/order")
    expect([parentOf(sent), sent?.kind]).toEqual([idOf(request), SpanKind.PRODUCER])
    const [first, second] = named("run shop-order")
    expect([parentOf(first), parentOf(second)]).toEqual([idOf(sent), idOf(sent)])
    expect(first).toMatchObject({
      kind: SpanKind.CONSUMER,
      status: { code: SpanStatusCode.ERROR, message: "the bank sleeps" },
      events: [{ name: "exception", attributes: { "exception.type": "RetryAfterError" } }],
      attributes: { "fanfare.run.attempt": 1, "messaging.destination.name": "shop/order", "error.type": "RetryAfterError" },
    })
    expect(second).toMatchObject({ status: { code: SpanStatusCode.UNSET }, attributes: { "fanfare.attempt.outcome": "completed" } })

    // A step runs once, with the code's own spans in it.
    const [charge] = named("step charge")
    expect([named("step charge").length, parentOf(charge), parentOf(named("sql")[0])]).toEqual([1, idOf(first), idOf(charge)])
    expect(heard.map(({ traceparent }) => traceparent)).toEqual([`00-${traceId}-${idOf(named("step ask")[0])}-01`])

    const [fanout] = named("send shop/ship")
    expect(parentOf(fanout)).toBe(idOf(second))
    expect(fanout?.attributes).toMatchObject({ "messaging.batch.message_count": 2, "fanfare.fanout.id": expect.stringMatching(/^fan_/) })
    const ships = named("run post-ship")
    expect(ships.map(parentOf)).toEqual([idOf(fanout), idOf(fanout)])
    const calls = named("POST")
    expect(new Set(calls.map(parentOf))).toEqual(new Set(ships.map(idOf)))
    expect(calls[0]).toMatchObject({
      kind: SpanKind.CLIENT,
      attributes: { "http.request.method": "POST", "http.response.status_code": 206 },
    })
    // What ran elsewhere is known from what the app told of it.
    expect([named("step label").length, new Set(named("step label").map(parentOf))]).toEqual([2, new Set(ships.map(idOf))])

    // Both events came in one batch: the run belongs to the first one, and names the other.
    const [batch] = named("run shop-told")
    const causes = new Set([parentOf(batch), batch?.links[0]?.context.spanId])
    expect(new Set([...causes, ...calls.map(idOf)]).size).toBe(new Set(calls.map(idOf)).size)
    expect(causes.size).toBe(2)
  })

  it("come with a request, through our own serve too, with the code's spans in the call", async () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c"
    await send("away/far", { traceparent: `00-${traceId}-b7ad6b7169203331-01`, tracestate: "vendor=1" })
    expect((await ended("away-near"))[0]?.traceId).toBe(traceId)
    const [far] = named("run away-far")
    expect([parentOf(far), far?.spanContext().traceState?.serialize()]).toEqual(["b7ad6b7169203331", "vendor=1"])
    const calls = new Set(named("POST").map(idOf))
    expect(calls.has(parentOf(named("far away")[0]))).toBe(true)
    expect(calls.has(parentOf(named("run away-near")[0]))).toBe(true)
    expect(named("step own").map(parentOf)).toEqual([idOf(far)])
  })

  it("begin with a run that nothing traced caused, and its attempts share one", async () => {
    const { runId } = (await (
      await fetch(new URL("/api/v1/functions/shop-by-hand/trigger", server.url ?? ""), {
        method: "POST",
        headers: json,
        body: "{}",
      })
    ).json()) as { runId: string }
    await ended("shop-by-hand")
    const [first, second] = named("run shop-by-hand")
    expect([first?.kind, parentOf(first), parentOf(second)]).toEqual([SpanKind.INTERNAL, undefined, idOf(first)])
    expect((await get<RunDetail>(`/runs/${runId}`)).traceId).toBe(first?.spanContext().traceId)
    expect(named("step fails").map(({ status, attributes }) => [status.code, attributes["fanfare.step.state"]])).toEqual([
      [SpanStatusCode.ERROR, "retrying"],
      [SpanStatusCode.UNSET, "completed"],
    ])
  })

  it("that are not in the sample, or that nobody keeps here, are handed on all the same; an SDK that fails harms nothing; what is no trace is left out", async () => {
    heard.length = 0
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
    await send("shop/ask", { traceparent: `00-${traceId}-00f067aa0ba902b7-00` })
    await until(async () => heard.length === 1, "the request")
    expect(heard[0]?.["traceparent"]).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`))
    expect(spans()).toEqual([])
    isBroken = true
    await shop.send({ name: "shop/ask" })
    await until(async () => heard.length === 2, "the request while the SDK fails")
    isBroken = false
    trace.disable()
    await send("shop/ask", { traceparent: `00-${traceId}-00f067aa0ba902b7-01` })
    await send("shop/ask", { traceparent: `00-${traceId}-0000000000000000-01` })
    await until(async () => heard.length === 4, "the others")
    const others = new Set(heard.slice(2).map(({ traceparent }) => traceparent))
    expect(others).toEqual(new Set([`00-${traceId}-00f067aa0ba902b7-01`, undefined]))
  })
})

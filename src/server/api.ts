import { type Context, Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import type { PauseOptions } from "../core/flow-control.ts"
import type { SourcePart } from "../core/source.ts"
import type { RetryOptions } from "../core/fanouts.ts"
import { connectedUrl } from "../core/http-app.ts"
import { limits } from "../core/limits.ts"
import { moves, type RunState } from "../core/run.ts"
import type { RunFilter } from "../core/views.ts"
import type { Engine } from "../engine/engine.ts"
import { findFunction, schemaFor } from "../engine/registry.ts"
import { systemClock } from "../engine/system.ts"
import { type AppSummary, type EventSchema, type EventsWithRules, paths, type Status, type TriggerResult } from "../protocol/api.ts"
import type { Reader } from "../store/store.ts"
import type { Workers } from "../transport/workers.ts"
import { checkUrl } from "../protocol/registration.ts"
import type { Access } from "./access.ts"
import type { Apps } from "./apps.ts"
import { dashboardRoutes } from "./dashboard.ts"
import { createDoor, type DoorParts } from "./door.ts"
import type { EventRates } from "./flow.ts"
import { eventKeyOf, guard } from "./guard.ts"
import { header as idempotencyHeader, idempotent, namedBy } from "./idempotency.ts"
import { Identity } from "./identity.ts"
import { loginRoutes } from "./login.ts"
import { found, lookRoutes, previewOf } from "./look.ts"
import type { Measuring } from "./metrics.ts"
import { openApi } from "./openapi/document.ts"
import { metricsRoute } from "./prometheus.ts"
import { problem } from "./problem.ts"
import { jsonBody, objectBody, pageSize, traceIn } from "./request.ts"
import { scheduleRoutes } from "./schedule-routes.ts"
import { runRoutes } from "./runs-api.ts"
import { spaced } from "./spaced.ts"
import { streamRoute, touching } from "./stream-route.ts"
import type { Stream } from "./stream.ts"
import { version } from "./version.ts"
import type { WorkerConnections } from "./worker-connections.ts"
import { WrongKeys } from "./wrong-keys.ts"

export interface ApiParts {
  readonly engine: Engine
  readonly reader: Reader
  readonly storeName: string
  readonly measuring: Measuring
  readonly access: Access
  readonly apps: Apps
  readonly stream: Stream
  readonly eventRates: EventRates
  readonly checkpoints: DoorParts["checkpoints"]
  readonly webhooks: DoorParts["webhooks"]
  readonly connections: WorkerConnections
  readonly workers: Workers
}

/** The HTTP API: `(Request) => Response`, whatever it listens on. CLI, dashboard and scripts use the same routes. */
export function createApi(parts: ApiParts): Hono {
  const { engine, reader, storeName, measuring, access, apps, stream, eventRates, checkpoints, webhooks, connections, workers } = parts
  const api = new Hono()
  const identity = new Identity({
    access,
    clock: systemClock,
    wrongKeys: new WrongKeys(),
    logouts: { logOut: (login) => engine.logOut(login), isLoggedOut: (login) => reader.isLoggedOut(login) },
  })
  const document = openApi()
  const backlog = spaced(() => reader.depth(), systemClock)

  api.onError((error, c) => problem(c, error))
  api.notFound((c) => problem(c, new FanfareError("not_found", `there is nothing at ${c.req.method} ${c.req.path}`)))
  guard(api, identity)
  api.use("/api/v1/*", touching(stream))
  api.use("/api/v1/*", idempotent(systemClock))
  api.route("/", createDoor({ engine, reader, identity, apps, eventRates, checkpoints, webhooks, connections, workers }))

  api.get(paths.openapi, (c) => c.json(document))
  api.get(paths.health, (c) => c.json({ status: "ok", version }))
  api.get(paths.status, async (c) => {
    const { completed, failed, retried } = measuring.meters.totals
    const { nodeId, startedAt, retentionDays } = engine
    const here = { version, nodeId, store: storeName, startedAt, retentionDays }
    return c.json({ ...here, ...(await backlog()), completed, failed, retried } satisfies Status)
  })
  eventRoute(api, parts)
  api.get(paths.eventSchema, (c) => {
    const text = schemaFor(engine.registry, c.req.query("name") ?? "")
    return c.json({ schema: text === null ? null : (JSON.parse(text) as EventSchema["schema"]) } satisfies EventSchema)
  })
  api.get(paths.functions, async (c) => c.json(await engine.intake.functions.list()))
  api.post(paths.trigger, async (c) => {
    const definition = findFunction(engine.registry, c.req.param("id"))
    const { data } = await objectBody(c)
    const result: TriggerResult = { runId: await engine.intake.trigger(definition, data) }
    return c.json(result)
  })
  api.get(paths.runs, async (c) => c.json(await reader.runs(runFilter(c, engine))))
  api.get(paths.run, async (c) => {
    const id = c.req.param("id")
    return c.json(found(await reader.run(id, previewOf(c)), `there is no run ${id}`))
  })
  api.get(paths.nodes, async (c) => c.json({ items: await reader.nodes(), next: null }))
  lookRoutes(api, reader, systemClock)
  fanoutRoutes(api, engine.intake)
  flowRoutes(api, engine)
  scheduleRoutes(api, engine.intake.schedules)
  runRoutes(api, engine.intake)
  appRoutes(api, parts)
  streamRoute(api, stream)
  metricsRoute(api, measuring, identity)
  loginRoutes(api, identity)
  dashboardRoutes(api, identity)
  return api
}

function eventRoute(api: Hono, { engine, access, eventRates }: ApiParts): void {
  api.post(paths.events, async (c) => {
    const body: unknown = await jsonBody(c)
    const { events, rules } = isWithRules(body) ? body : { events: [body].flat() as EventInput[], rules: {} }
    const key = eventKeyOf(c, access)
    if (key !== null) eventRates.take(c, key, events.length)
    return c.json(await engine.intake.send(namedBy(c.req.header(idempotencyHeader), events), { rules, trace: traceIn(c) }))
  })
}

function appRoutes(api: Hono, { engine, apps, reader, workers }: ApiParts): void {
  api.get(paths.apps, async (c) => {
    const looks = new Map(apps.looks.map((look) => [look.url, look.error]))
    const connect = engine.registry.apps.some(({ url }) => url === connectedUrl)
    const nodes = connect ? await reader.nodes() : []
    const reached = new Set(nodes.flatMap(({ alive, functionIds }) => (alive ? functionIds : [])))
    const items = engine.registry.apps.map(({ id, url, sdk, framework, calls }): AppSummary => {
      const functionIds = Object.keys(calls)
      const about = { id, url, sdk, framework, functionIds }
      if (url !== connectedUrl) return { ...about, workers: null, error: looks.get(url) ?? null }
      const here = workers.count(id)
      return { ...about, workers: here, error: here > 0 || functionIds.some((each) => reached.has(each)) ? null : "no worker is connected" }
    })
    return c.json({ items, next: null })
  })
  api.post(paths.appSync, async (c) => {
    const url = checkUrl((await objectBody(c))["url"], "url")
    await apps.sync(url)
    return c.json({ url })
  })
}

function flowRoutes(api: Hono, engine: Engine): void {
  const { functions, limits: flowLimits } = engine.intake
  api.post(paths.functionPause, async (c) => {
    const { id } = findFunction(engine.registry, c.req.param("id"))
    const { newRuns = "keep" }: PauseOptions = await objectBody(c)
    await functions.pause(id, { newRuns })
    return c.json({ id, paused: newRuns })
  })
  api.post(paths.functionResume, async (c) => {
    const { id } = findFunction(engine.registry, c.req.param("id"))
    await functions.resume(id)
    return c.json({ id, paused: null })
  })
  api.get(paths.limits, async (c) => {
    const after = c.req.query("after")
    const functionId = c.req.query("function")
    const named = functionId === undefined ? {} : { functionId }
    return c.json(await flowLimits.list({ ...(after === undefined ? {} : { after }), ...named, limit: pageSize(c) ?? limits.pageRows }))
  })
  api.post(paths.limit, async (c) => {
    const id = c.req.param("id")
    const { max } = await objectBody(c)
    await (max === null ? flowLimits.reset(id) : flowLimits.set(id, max as number))
    return c.json({ id, max })
  })
}

const waitMaxMs = 20_000

function fanoutRoutes(api: Hono, { fanouts, sources }: Engine["intake"]): void {
  api.get(paths.fanouts, async (c) => {
    const after = c.req.query("after")
    const limit = pageSize(c)
    return c.json(await fanouts.list({ ...(after === undefined ? {} : { after }), ...(limit === undefined ? {} : { limit }) }))
  })
  api.get(paths.fanout, async (c) => c.json(await fanouts.get(c.req.param("id"))))
  api.get(paths.fanoutWait, async (c) =>
    c.json(await fanouts.wait(c.req.param("id"), Math.min(Number(c.req.query("wait") ?? waitMaxMs) || 0, waitMaxMs))),
  )
  api.get(paths.fanoutFailures, async (c) => c.json({ items: await fanouts.failures(c.req.param("id")), next: null }))
  api.post(paths.fanoutRetry, async (c) => {
    return c.json(await fanouts.retry(c.req.param("id"), retryOptions(await objectBody(c))))
  })
  api.post(paths.fanoutPause, async (c) => c.json(await fanouts.pause(c.req.param("id"))))
  api.post(paths.fanoutResume, async (c) => c.json(await fanouts.resume(c.req.param("id"))))
  api.post(paths.fanoutPlan, async (c) => c.json(await fanouts.plan([await jsonBody(c)].flat() as EventInput[])))
  api.get(paths.source, async (c) => c.json(await sources.course(c.req.param("id"))))
  api.post(paths.source, async (c) =>
    c.json(await sources.add(c.req.param("id"), (await objectBody(c)) as unknown as SourcePart, traceIn(c))),
  )
  api.post(paths.fanoutCancel, async (c) => c.json(await fanouts.cancel(c.req.param("id"))))
  api.get(paths.operation, async (c) => c.json(await fanouts.operation(c.req.param("id"))))
}

function isWithRules(body: unknown): body is EventsWithRules {
  const given = body as Partial<EventsWithRules> | null
  return typeof given === "object" && Array.isArray(given?.events) && typeof given.rules === "object" && given.rules !== null
}

function retryOptions({ fingerprint, runId, data }: Readonly<Record<string, unknown>>): RetryOptions {
  for (const [field, value] of Object.entries({ fingerprint, runId })) {
    if (value !== undefined && typeof value !== "string") throw new FanfareError("invalid_option", `${field} must be a text`, { field })
  }
  return {
    ...(typeof fingerprint === "string" ? { fingerprint } : {}),
    ...(typeof runId === "string" ? { runId } : {}),
    ...(data === undefined ? {} : { data }),
  }
}

/** By its full id, or by its own id when only one app has it. */
function runFilter(c: Context, engine: Engine): RunFilter {
  const state = c.req.query("state")
  if (state !== undefined && !Object.hasOwn(moves, state)) {
    throw new FanfareError("invalid_option", `there is no state "${state}"; states are ${Object.keys(moves).join(", ")}`, {
      field: "state",
    })
  }
  const functionId = c.req.query("function")
  const fanoutId = c.req.query("fanout")
  const eventId = c.req.query("event")
  const after = c.req.query("after")
  const limit = pageSize(c)
  return {
    ...(state === undefined ? {} : { state: state as RunState }),
    ...(functionId === undefined ? {} : { functionId: findFunction(engine.registry, functionId).id }),
    ...(fanoutId === undefined ? {} : { fanoutId }),
    ...(eventId === undefined ? {} : { eventId }),
    ...(after === undefined ? {} : { after }),
    ...(limit === undefined ? {} : { limit }),
  }
}

import { type Context, Hono } from "hono"
import { codes, FanfareError } from "../core/errors.ts"
import type { RunState } from "../core/run.ts"
import type { RunDetail } from "../core/views.ts"
import type { Engine } from "../engine/engine.ts"
import { systemClock } from "../engine/system.ts"
import { eventText, memosOf } from "../protocol/call.ts"
import { parseEvents } from "../protocol/event-request.ts"
import { headers } from "../protocol/names.ts"
import { isObject } from "../protocol/ops.ts"
import type { Reader } from "../store/store.ts"
import type { Apps } from "./apps.ts"
import type { Identity } from "./identity.ts"
import { version } from "./version.ts"

export interface DoorParts {
  readonly engine: Engine
  readonly reader: Pick<Reader, "run" | "runs" | "batch">
  readonly identity: Identity
  readonly apps: Apps
}

/** The routes that apps written with the official SDKs ask: the paths, bodies and answers are theirs. */
export function createDoor({ engine, reader, identity, apps }: DoorParts): Hono {
  const { access } = identity
  const door = new Hono()
  door.use(async (c, next) => {
    await next()
    c.header(headers.serverKind, access.kind)
  })
  door.onError((error, c) => c.json(...refusal(error)))

  door.get("/health", (c) => c.json({ status: 200, message: "OK" }))
  door.get("/ready", (c) =>
    engine.intake.isOpen ? c.json({ status: 200, message: "OK" }) : c.json({ status: 503, message: "not ready" }, 503),
  )
  door.get("/dev", (c) => (access.kind === "dev" ? c.json(aboutDev(engine)) : c.json({ error: "this is no dev server", status: 404 }, 404)))
  door.post("/e/:key", async (c) => {
    if (!access.isEventKey(c.req.param("key"))) {
      identity.wrong(c)
      return c.json({ status: 401, message: "Event key not found", error: "Event key not found" }, 401)
    }
    const events = parseEvents(await jsonBody(c), c.req.header(headers.eventSeed))
    const { ids, fanoutId } = await engine.intake.send(events, { firstWins: true })
    return c.json({ ids, status: 200 }, 200, fanoutId === null ? {} : { [headers.fanoutId]: fanoutId })
  })

  door.use("/fn/*", allowed(identity))
  door.use("/v0/*", allowed(identity))
  door.use("/v1/*", allowed(identity))
  door.post("/fn/register", async (c) => {
    const expected = c.req.header(headers.expectedServerKind)
    if (expected !== undefined && expected !== access.kind) {
      return c.json({ error: `the app expects a ${expected} server; this is a ${access.kind} server`, status: 400 }, 400)
    }
    const modified = await apps.register(await jsonBody(c))
    return c.json({ ok: true, status: 200, modified })
  })
  door.get("/v0/runs/:id/batch", async (c) => {
    const run = await find(reader, c)
    const events = [eventOf(run), ...(await reader.batch(run.id))]
    return json(c, `[${events.map(eventText).join(",")}]`)
  })
  door.get("/v0/runs/:id/actions", async (c) => {
    const { steps } = await find(reader, c)
    return json(c, `{${memosOf(steps, systemClock.now()).map(([id, memo]) => `${JSON.stringify(id)}:${memo}`)}}`)
  })
  door.post("/v1/signals", async (c) => {
    const body: unknown = await jsonBody(c)
    const { signal, data } = isObject(body) ? body : {}
    const { runId } = await engine.intake.sendSignal(signal as string, data)
    return runId === null ? c.json({ error: "no run waits for this signal", status: 404 }, 404) : c.json(enveloped({ run_id: runId }))
  })
  door.delete("/v1/runs/:id", async (c) => {
    await engine.intake.runs.cancel(c.req.param("id"), "asked for through the API")
    return c.body(null, 204)
  })
  door.get("/v1/events/:id/runs", async (c) => {
    const { items } = await reader.runs({ eventId: c.req.param("id") })
    const runs = await Promise.all(items.map(({ id }) => reader.run(id)))
    return c.json(enveloped(runs.filter((run) => run !== null).map(runView)))
  })
  door.get("/v1/runs/:id", async (c) => c.json(enveloped(runView(await find(reader, c)))))
  return door
}

/** What only those may ask who have the signing key, or an admin's. */
function allowed(identity: Identity) {
  return async (c: Context, next: () => Promise<void>): Promise<Response | void> => {
    if (identity.of(c)?.role === "admin") return next()
    return c.json({ status: 401, error: "the authorization header does not carry the signing key of this server" }, 401)
  }
}

async function jsonBody(c: Context): Promise<unknown> {
  try {
    return await c.req.json()
  } catch (cause) {
    throw new FanfareError("not_json", "the request's body is not JSON", { field: "body", cause })
  }
}

type Refusal = [body: { error: string; status: number; ids?: string[] }, status: 400 | 404 | 413 | 429 | 500 | 503]

/** What is wrong with the request is said; what went wrong here is not. */
function refusal(thrown: unknown): Refusal {
  const known = thrown instanceof FanfareError && thrown.code !== "internal" ? thrown : null
  const { http } = codes[known?.code ?? "internal"]
  const status = http === 404 || http === 413 || http === 429 || http === 500 || http === 503 ? http : 400
  return [{ error: known?.message ?? "something went wrong inside Fanfare", status, ids: [] }, status]
}

async function find(reader: DoorParts["reader"], c: Context): Promise<RunDetail> {
  const id = c.req.param("id") ?? ""
  const run = await reader.run(id)
  if (run === null) throw new FanfareError("not_found", `there is no run ${id}`)
  return run
}

function eventOf({ eventId, eventKey, eventName, eventTs, data }: RunDetail): Parameters<typeof eventText>[0] {
  return { id: eventKey ?? eventId, name: eventName, data, ts: eventTs }
}

function json(c: Context, text: string): Response {
  return c.body(text, 200, { "content-type": "application/json" })
}

function enveloped<T>(data: T): { data: T; metadata: { fetched_at: string } } {
  return { data, metadata: { fetched_at: new Date(systemClock.now()).toISOString() } }
}

const statuses: Readonly<Record<RunState, string>> = {
  scheduled: "Scheduled",
  ready: "Scheduled",
  running: "Running",
  waiting: "Running",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
  skipped: "Skipped",
}

function runView(run: RunDetail): Record<string, unknown> {
  const moment = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString())
  const { failure } = run
  const output: unknown = failure === null ? JSON.parse(run.output ?? "null") : { name: failure.name, message: failure.message }
  return {
    run_id: run.id,
    run_started_at: moment(run.startedAt ?? run.createdAt),
    function_id: run.functionId,
    function_version: 1,
    event_id: run.eventId,
    status: statuses[run.state],
    ended_at: moment(run.endedAt),
    ...(run.endedAt === null ? {} : { output }),
  }
}

function aboutDev(engine: Engine): Record<string, unknown> {
  const functions = [...engine.registry.definitions.values()].map(({ id, name }) => ({ id, name }))
  return { version, authed: false, startOpts: {}, functions, handlers: engine.registry.apps.map(({ url }) => ({ url })), features: {} }
}

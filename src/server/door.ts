import { type Context, Hono } from "hono"
import { cors } from "hono/cors"
import { codes, FanfareError } from "../core/errors.ts"
import type { FanOutRules } from "../core/gate.ts"
import type { Engine } from "../engine/engine.ts"
import type { Refusal } from "../protocol/api.ts"
import { eventOfForm, parseEvents, sendingRun } from "../protocol/event-request.ts"
import { headers } from "../protocol/names.ts"
import { isObject, ProtocolError } from "../protocol/ops.ts"
import type { Apps } from "./apps.ts"
import { connectRoutes, type ConnectParts } from "./connect.ts"
import type { EventRates } from "./flow.ts"
import type { Identity } from "./identity.ts"
import { isForm, jsonBody, objectBody, traceIn } from "./request.ts"
import { sdkApiRoutes } from "./sdk-api.ts"
import { type SdkRunParts, sdkRunRoutes } from "./sdk-runs.ts"
import { version } from "./version.ts"
import { type WebhookParts, webhookRoutes } from "./webhooks.ts"

export interface DoorParts extends SdkRunParts, ConnectParts {
  readonly identity: Identity
  readonly apps: Apps
  readonly eventRates: EventRates
  readonly webhooks: WebhookParts["webhooks"]
}

/** The routes that apps written with the official SDKs ask: the paths, bodies and answers are theirs. */
export function createDoor({ engine, reader, identity, apps, eventRates, checkpoints, webhooks, ...connect }: DoorParts): Hono {
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
  // Pages may send events with a key that was made for them. Without keys any page could, to a server on the machine of who looks at it.
  if (access.kind === "cloud") door.use("/e/*", cors({ allowMethods: ["POST"], exposeHeaders: [headers.fanoutId] }))
  door.post("/e/:key", async (c) => {
    if (!access.isEventKey(c.req.param("key"))) {
      identity.wrong(c)
      return c.json({ status: 401, message: "Event key not found", error: "Event key not found" }, 401)
    }
    const body = await eventBody(c)
    const runId = sendingRun(body, c.req.header(headers.sendingRun))
    const events = parseEvents(body, c.req.header(headers.eventSeed))
    eventRates.take(c, c.req.param("key"), events.length)
    const rules = rulesIn(c.req.header(headers.rules))
    const way = { firstWins: true, trace: traceIn(c), ...(runId === null ? {} : { runId }), ...(rules === null ? {} : { rules }) }
    const { ids, fanoutId } = await engine.intake.send(events, way)
    return c.json({ ids, status: 200 }, 200, fanoutId === null ? {} : { [headers.fanoutId]: fanoutId })
  })

  for (const path of ["/fn/*", "/v0/*", "/v1/*", "/invoke/*"]) door.use(path, allowed(identity))
  door.post("/fn/register", async (c) => {
    const expected = c.req.header(headers.expectedServerKind)
    if (expected !== undefined && expected !== access.kind) {
      return c.json({ error: `the app expects a ${expected} server; this is a ${access.kind} server`, status: 400 }, 400)
    }
    const modified = await apps.register(await jsonBody(c))
    return c.json({ ok: true, status: 200, modified })
  })
  door.delete("/fn/remove", async (c) => {
    await apps.forget(c.req.query("url"))
    return c.json({ ok: true, status: 200 })
  })
  door.post("/invoke/:slug", async (c) => {
    const definition = engine.registry.definitions.get(c.req.param("slug"))
    if (definition === undefined) throw new FanfareError("not_found", `there is no function ${c.req.param("slug")}`)
    const { data } = await objectBody(c)
    const id = await engine.intake.trigger(definition, data ?? {})
    return c.json({ id, status: 200 })
  })
  webhookRoutes(door, { engine, identity, webhooks })
  sdkRunRoutes(door, { engine, reader, checkpoints })
  sdkApiRoutes(door, { engine, reader })
  connectRoutes(door, connect)
  for (const path of ["/e/*", "/fn/*", "/v0/*", "/v1/*", "/v2/*", "/invoke/*"]) {
    door.all(path, (c) => c.json({ error: `there is nothing at ${c.req.method} ${c.req.path}`, status: 404 }, 404))
  }
  return door
}

/** @throws FanfareError `invalid_option`: no JSON object; what is in it is looked at later */
function rulesIn(header: string | undefined): FanOutRules | null {
  if (header === undefined) return null
  try {
    const rules: unknown = JSON.parse(header)
    if (isObject(rules)) return rules
  } catch {}
  throw new FanfareError("invalid_option", `the header ${headers.rules} must be a JSON object`, { field: headers.rules })
}

/** JSON, or a form: one event whose fields are the form's, with what is not a field of events in its data. */
async function eventBody(c: Context): Promise<unknown> {
  if (!isForm(c.req.header("content-type") ?? "")) return jsonBody(c)
  try {
    return eventOfForm(await c.req.parseBody())
  } catch (cause) {
    throw cause instanceof FanfareError || cause instanceof ProtocolError
      ? cause
      : new FanfareError("not_json", "the request's body is not the form that its content type says", { field: "body", cause })
  }
}

/** What only those may ask who have the signing key, or an admin's. */
function allowed(identity: Identity) {
  return async (c: Context, next: () => Promise<void>): Promise<Response | void> => {
    if ((await identity.of(c))?.role === "admin") return next()
    return c.json({ status: 401, error: "the authorization header does not carry the signing key of this server" }, 401)
  }
}

type Refused = [body: Refusal, status: 400 | 404 | 413 | 429 | 500 | 503]

/** What is wrong with the request is said; what went wrong here is not. */
function refusal(thrown: unknown): Refused {
  if (thrown instanceof ProtocolError) return [{ error: thrown.message, status: 400, ids: [] }, 400]
  const known = thrown instanceof FanfareError && thrown.code !== "internal" ? thrown : null
  const { http } = codes[known?.code ?? "internal"]
  const status = http === 404 || http === 413 || http === 429 || http === 500 || http === 503 ? http : 400
  return [{ error: known?.message ?? "something went wrong inside Fanfare", status, ids: [] }, status]
}

function aboutDev(engine: Engine): Record<string, unknown> {
  const functions = [...engine.registry.definitions.values()].map(({ id, name }) => ({ id, name }))
  return { version, authed: false, startOpts: {}, functions, handlers: engine.registry.apps.map(({ url }) => ({ url })), features: {} }
}

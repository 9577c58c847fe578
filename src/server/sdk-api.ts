import type { Context, Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { EventDetail } from "../core/views.ts"
import { systemClock } from "../engine/system.ts"
import { eventNameToWire } from "../protocol/names.ts"
import { isObject } from "../protocol/ops.ts"
import { dataToWire } from "../protocol/system-events.ts"
import { enveloped, jsonBody, momentOf, type SdkRunParts } from "./sdk-runs.ts"

/** What users of the official SDKs ask besides runs: events, functions of an app, cancellations of many runs. */
export function sdkApiRoutes(door: Hono, { engine, reader }: Pick<SdkRunParts, "engine" | "reader">): void {
  door.get("/v1/events", async (c) => {
    const size = Number(c.req.query("limit") ?? pageDefault)
    if (!Number.isInteger(size) || size < 1 || size > pageMost) {
      throw new FanfareError("invalid_option", `limit must be a whole number from 1 to ${pageMost}`, { field: "limit", bound: pageMost })
    }
    const { items } = await reader.events(c.req.query("cursor") ?? null, size)
    const name = c.req.query("name")
    const wanted = items.filter((event) => name === undefined || eventNameToWire(event.name) === name)
    const found = await Promise.all(wanted.map(({ id }) => reader.event(id, limits.eventBytes)))
    return c.json(enveloped(found.filter((event) => event !== null).map(eventView)))
  })
  door.get("/v1/events/:id", async (c) => {
    const id = c.req.param("id")
    const event = await reader.event(id, limits.eventBytes)
    if (event === null) throw new FanfareError("not_found", `there is no event ${id}`)
    return c.json(enveloped(eventView(event)))
  })
  door.get("/v1/apps/:name/functions", (c) => {
    const name = c.req.param("name")
    const functions = [...engine.registry.definitions.values()].filter(({ appId }) => appId === name)
    if (functions.length === 0) throw new FanfareError("not_found", `there is no app ${name}`)
    return c.json(enveloped({ id: name, name, functions: functions.map((each) => ({ id: each.id, name: each.name, slug: each.id })) }))
  })
  door.post("/v1/cancellations", async (c) => c.json(enveloped(await cancelMany(c, engine)), 201))
  door.delete("/v0/runs/:id", async (c) => {
    await engine.intake.runs.cancel(c.req.param("id"), "asked for through the API")
    return c.body(null, 204)
  })
  // What SDKs tell of themselves, and of single steps, is taken and not kept.
  for (const path of ["/v0/telemetry", "/v1/traces/userland", "/v1/runs/:id/metadata"]) door.post(path, (c) => c.body(null, 200))
}

const pageDefault = 20
const pageMost = 100

function eventView({ id, key, name, data, ts, receivedAt }: EventDetail): Record<string, unknown> {
  return {
    internal_id: id,
    id: key ?? id,
    name: eventNameToWire(name),
    data: JSON.parse(dataToWire(name, data)) as unknown,
    ts,
    received_at: momentOf(receivedAt),
  }
}

/** Cancels the runs that are open now: of one function, begun within a time. What begins later is not touched. */
async function cancelMany(c: Context, engine: SdkRunParts["engine"]): Promise<Record<string, unknown>> {
  const body: unknown = await jsonBody(c)
  const { app_id: appId, function_id: slug, started_after: after, started_before: before, if: condition } = isObject(body) ? body : {}
  if (typeof slug !== "string") throw new FanfareError("invalid_option", "function_id must name a function", { field: "function_id" })
  if (typeof condition === "string" && condition !== "") {
    throw new FanfareError("invalid_option", "if is not supported here: cancel by an event with cancelOn, or by time", { field: "if" })
  }
  const { definitions } = engine.registry
  const id = [slug, `${typeof appId === "string" ? appId : ""}-${slug}`].find((name) => definitions.has(name))
  if (id === undefined) throw new FanfareError("not_found", `there is no function ${slug}`, { field: "function_id" })
  const from = momentIn(after, "started_after")
  const to = momentIn(before, "started_before") ?? systemClock.now()
  const operation = await engine.intake.runs.bulk("cancel", { functionId: id, ...(from === null ? {} : { from }), to })
  return {
    id: operation.id,
    name: "",
    created_at: momentOf(systemClock.now()),
    app_id: appId ?? definitions.get(id)?.appId,
    function_id: id,
    started_after: from === null ? null : momentOf(from),
    started_before: momentOf(to),
    if: null,
    kind: "api",
  }
}

/** @throws FanfareError `invalid_option` */
function momentIn(value: unknown, field: string): number | null {
  if (value === undefined || value === null || value === "") return null
  const at = typeof value === "number" ? value : typeof value === "string" ? Date.parse(value) : Number.NaN
  if (Number.isFinite(at)) return at
  throw new FanfareError("invalid_option", `${field} must be a moment such as 2026-01-31T12:00:00Z`, { field })
}

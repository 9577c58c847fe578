import type { Context, Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import { idBefore } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { EventDetail, EventSummary } from "../core/views.ts"
import { eventNameToWire } from "../protocol/names.ts"
import { dataToWire } from "../protocol/system-events.ts"
import { enveloped, momentIn, momentOf } from "./sdk-answers.ts"
import { cancellationRoutes } from "./sdk-cancellations.ts"
import type { SdkRunParts } from "./sdk-runs.ts"

/** What users of the official SDKs ask besides runs: events, functions of an app, cancellations of many runs. */
export function sdkApiRoutes(door: Hono, { engine, reader }: Pick<SdkRunParts, "engine" | "reader">): void {
  door.get("/v1/events", async (c) => {
    const found = await Promise.all((await eventsMeant(c, reader)).map(({ id }) => reader.event(id, limits.eventBytes)))
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
  cancellationRoutes(door, engine)
  // What SDKs tell of themselves, and of single steps, is taken and not kept.
  for (const path of ["/v0/telemetry", "/v1/traces/userland", "/v1/runs/:id/metadata"]) door.post(path, (c) => c.body(null, 200))
}

const pageDefault = 20
const pageMost = 100
/** Events that are looked at for one question, of which a name may leave few. */
const lookedAtMost = 10_000

/** The newest events that a question means. */
async function eventsMeant(c: Context, reader: SdkRunParts["reader"]): Promise<EventSummary[]> {
  const size = Number(c.req.query("limit") ?? pageDefault)
  if (!Number.isInteger(size) || size < 1 || size > pageMost) {
    throw new FanfareError("invalid_option", `limit must be a whole number from 1 to ${pageMost}`, { field: "limit", bound: pageMost })
  }
  const name = c.req.query("name")
  const from = momentIn(c.req.query("received_after"), "received_after") ?? 0
  const to = momentIn(c.req.query("received_before"), "received_before")
  const meant: EventSummary[] = []
  let cursor = c.req.query("cursor") ?? (to === null ? null : idBefore("evt", to))
  for (let looked = 0; looked < lookedAtMost && meant.length < size; looked += limits.pageRowsMax) {
    const { items, next } = await reader.events(cursor, limits.pageRowsMax)
    meant.push(...items.filter((event) => event.receivedAt >= from && (name === undefined || eventNameToWire(event.name) === name)))
    cursor = next
    if (next === null || (items.at(-1)?.receivedAt ?? 0) < from) break
  }
  return meant.slice(0, size)
}

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

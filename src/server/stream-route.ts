import type { Context, Hono, MiddlewareHandler } from "hono"
import { paths, type StreamChange } from "../protocol/api.ts"
import { everything } from "./stream-change.ts"
import type { Stream } from "./stream.ts"

export function streamRoute(api: Hono, stream: Stream): void {
  api.get(paths.stream, (c: Context) => {
    if (c.req.method === "HEAD") return c.body(null, 200, type)
    const lastId = c.req.header("last-event-id")
    // Proxies must pass it on as it comes.
    return c.body(stream.open(lastId), 200, { ...type, "cache-control": "no-store, no-transform", "x-accel-buffering": "no" })
  })
}

const type = { "content-type": "text/event-stream; charset=utf-8" }

/** What commands change that no fact of the engine tells of. */
export function touching(stream: Stream): MiddlewareHandler {
  return async (c, next) => {
    await next()
    if (c.req.method === "GET" || c.req.method === "HEAD" || !c.res.ok) return
    const [, , , kind = "", id] = c.req.path.split("/")
    stream.touched(touchedBy(kind, id))
  }
}

function touchedBy(kind: string, id: string | undefined): Partial<StreamChange> {
  if (kind === "schedules") return { schedules: everything.schedules }
  if (kind === "fanouts" && id === "plan") return {}
  if (kind === "fanouts") return { fanouts: id === undefined ? everything.fanouts : [decoded(id)], runs: true }
  if (kind === "functions" || kind === "apps") return { registry: true, runs: true }
  return { runs: true }
}

function decoded(id: string): string {
  try {
    return decodeURIComponent(id)
  } catch {
    return id
  }
}

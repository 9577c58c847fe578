import type { Context, Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import type { RunState } from "../core/run.ts"
import type { RunDetail } from "../core/views.ts"
import type { Engine } from "../engine/engine.ts"
import { systemClock } from "../engine/system.ts"
import { eventText, memosOf } from "../protocol/call.ts"
import { type Op, parseOps } from "../protocol/ops.ts"
import type { Reader } from "../store/store.ts"
import { objectBody } from "./request.ts"
import { enveloped, momentOf } from "./sdk-answers.ts"

export interface SdkRunParts {
  readonly engine: Engine
  readonly reader: Pick<Reader, "run" | "runs" | "batch" | "event" | "events">
  /** Where apps tell of steps during a call; false: the call is not one that is waited for. */
  readonly checkpoints: { checkpoint(runId: string, item: string, ops: readonly Op[], now: number): Promise<boolean> }
}

/** What apps of the official SDKs, and their users, ask about runs. */
export function sdkRunRoutes(door: Hono, { engine, reader, checkpoints }: SdkRunParts): void {
  door.get("/v0/runs/:id/batch", async (c) => {
    const run = await find(reader, c)
    const events = [eventOf(run), ...(await reader.batch(run.id))]
    return json(c, `[${events.map((event) => eventText(event)).join(",")}]`)
  })
  door.get("/v0/runs/:id/actions", async (c) => {
    const { steps } = await find(reader, c)
    return json(c, `{${memosOf(steps, systemClock.now()).map(([id, memo]) => `${JSON.stringify(id)}:${memo}`)}}`)
  })
  door.post("/v1/checkpoint/:id/async", async (c) => {
    const { qi_id: item, steps } = await objectBody(c)
    if (typeof item !== "string") throw new FanfareError("invalid_option", "qi_id is missing", { field: "qi_id" })
    const kept = await checkpoints.checkpoint(c.req.param("id"), item, parseOps(steps), systemClock.now())
    return kept ? c.body(null, 200) : c.json({ error: "this call is not waited for any more", status: 409 }, 409)
  })
  door.post("/v1/signals", async (c) => {
    const { signal, data } = await objectBody(c)
    const { runId } = await engine.intake.sendSignal(signal as string, data)
    return runId === null ? c.json({ error: "no run waits for this signal", status: 404 }, 404) : c.json(enveloped({ run_id: runId }))
  })
  for (const path of ["/v0/runs/:id", "/v1/runs/:id"] as const) {
    door.delete(path, async (c) => {
      await engine.intake.runs.cancel(c.req.param("id"), "asked for through the API")
      return c.body(null, 204)
    })
  }
  door.get("/v1/events/:id/runs", async (c) => {
    const { items } = await reader.runs({ eventId: c.req.param("id") })
    const runs = await Promise.all(items.map(({ id }) => reader.run(id)))
    return c.json(enveloped(runs.filter((run) => run !== null).map(runView)))
  })
  door.get("/v1/runs/:id/jobs", async (c) => c.json(enveloped(jobsOf(await find(reader, c)))))
  door.get("/v1/runs/:id", async (c) => c.json(enveloped(runView(await find(reader, c)))))
}

async function find(reader: SdkRunParts["reader"], c: Context): Promise<RunDetail> {
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

/** What is in line for a run: one thing, unless it has ended. */
function jobsOf({ state, dueAt, createdAt, startedAt, endedAt, attempt }: RunDetail): Record<string, unknown>[] {
  if (endedAt !== null) return []
  const kind = state === "waiting" ? "sleep" : startedAt === null ? "start" : "edge"
  return [{ at: momentOf(dueAt ?? startedAt ?? createdAt), position: 0, kind, attempt: Math.max(0, attempt - 1) }]
}

function runView(run: RunDetail): Record<string, unknown> {
  const moment = (at: number | null): string | null => (at === null ? null : momentOf(at))
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

import type { Context, Hono } from "hono"
import { type Activity, activityFrom, activityOf, type ActivityRange, activityRanges, type Tally } from "../core/activity.ts"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { FunctionActivity } from "../core/views.ts"
import { paths } from "../protocol/api.ts"
import type { Reader } from "../store/store.ts"
import { pageSize } from "./request.ts"
import { spaced } from "./spaced.ts"

/** What people look at: lists and details that the engine itself has no use for. */
export function lookRoutes(api: Hono, reader: Reader, clock: Pick<Clock, "now">): void {
  const causes = spaced(() => reader.failureCauses(), clock)
  const byFunction = spaced(() => functionActivity(reader, clock.now()), clock)
  const ofAll = Object.fromEntries(
    Object.keys(activityRanges).map((range) => [range, spaced(() => activity(reader, "", range as ActivityRange, clock.now()), clock)]),
  ) as Readonly<Record<ActivityRange, () => Promise<Activity>>>
  const load = spaced(() => reader.scheduleLoad(), clock)
  const cells = new Map<string, () => Promise<string>>()

  api.get(paths.activity, async (c) => {
    const range = c.req.query("range") ?? "1h"
    if (!isRange(range)) {
      throw new FanfareError("invalid_option", `range must be one of ${Object.keys(activityRanges).join(", ")}`, { field: "range" })
    }
    const functionId = c.req.query("function") ?? ""
    return c.json(await (functionId === "" ? ofAll[range]() : activity(reader, functionId, range, clock.now())))
  })
  api.get(paths.functionActivity, async (c) => c.json({ items: await byFunction(), next: null }))
  api.get(paths.events, async (c) => c.json(await reader.events(c.req.query("after") ?? null, pageSize(c))))
  api.get(paths.event, async (c) => {
    const id = c.req.param("id")
    return c.json(found(await reader.event(id, previewOf(c) ?? limits.eventBytes), `there is no event ${id}`))
  })
  api.get(paths.scheduleLoad, async (c) => c.json(await load()))
  api.get(paths.failures, async (c) => c.json(await causes()))
  api.get(paths.runFanouts, async (c) => c.json({ items: await reader.sentFanouts(c.req.param("id")), next: null }))
  api.get(paths.fanoutFailureTimes, async (c) => {
    const id = c.req.param("id")
    return c.json(found(await reader.failureTimes(id), `there is no fan-out ${id}`))
  })
  api.get(paths.runFamily, async (c) => {
    const id = c.req.param("id")
    return c.json(found(await reader.runFamily(id), `there is no run ${id}`))
  })
  api.get(paths.fanoutCells, async (c) => {
    const id = c.req.param("id")
    const look = cells.get(id) ?? spaced(() => reader.fanoutCells(id), clock)
    // The one that was looked at last is the last to be forgotten.
    cells.delete(id)
    cells.set(id, look)
    if (cells.size > mapsKept) cells.delete(cells.keys().next().value ?? "")
    return c.text(await look())
  })
  api.get(paths.fanoutCell, async (c) => {
    const index = Number(c.req.param("index"))
    if (!(Number.isInteger(index) && index >= 0 && index < limits.fanoutCells)) {
      throw new FanfareError("invalid_option", `a cell is a whole number from 0 to ${limits.fanoutCells - 1}`, {
        field: "index",
        bound: limits.fanoutCells - 1,
      })
    }
    return c.json({ runId: found(await reader.fanoutCell(c.req.param("id"), index), `the fan-out has no run ${index}`) })
  })
}

const mapsKept = 20

async function activity(reader: Reader, functionId: string, range: ActivityRange, now: number): Promise<Activity> {
  return activityOf(await reader.tallies(functionId, activityFrom(range, now)), range, now)
}

function isRange(range: string): range is ActivityRange {
  return Object.hasOwn(activityRanges, range)
}

/** Characters of payloads that are wanted: `?preview=`; undefined for all. */
export function previewOf(c: Context): number | undefined {
  const text = c.req.query("preview")
  if (text === undefined) return undefined
  const chars = Number(text)
  if (Number.isInteger(chars) && chars >= 0 && chars <= limits.previewChars) return chars
  throw new FanfareError("invalid_option", `preview must be a whole number of characters from 0 to ${limits.previewChars}`, {
    field: "preview",
    bound: limits.previewChars,
  })
}

export function found<T>(value: T | null, message: string): T {
  if (value === null) throw new FanfareError("not_found", message)
  return value
}

const sparks = 30

async function functionActivity(reader: Reader, now: number): Promise<FunctionActivity[]> {
  const byFunction = new Map<string, Tally[]>()
  for (const tally of await reader.talliesByFunction(activityFrom("1h", now))) {
    const known = byFunction.get(tally.functionId)
    if (known === undefined) byFunction.set(tally.functionId, [tally])
    else known.push(tally)
  }
  return Array.from(byFunction, ([functionId, tallies]) => {
    const { completed, failed, retried, duration, delay, buckets } = activityOf(tallies, "1h", now)
    const per = buckets.length / sparks
    const ended = Array.from({ length: sparks }, (_, i) =>
      buckets.slice(i * per, (i + 1) * per).reduce((sum, bucket) => sum + bucket.completed + bucket.failed, 0),
    )
    return { functionId, completed, failed, retried, duration, delay, ended }
  })
}

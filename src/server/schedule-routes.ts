import type { Context, Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { readTime, type TimeInput } from "../core/schedule.ts"
import type { BackfillOptions, ScheduleInput, Schedules, ScheduleScope } from "../core/schedules.ts"
import { paths } from "../protocol/api.ts"
import { objectBody, pageSize, wholeNumber } from "./request.ts"

export function scheduleRoutes(api: Hono, schedules: Schedules): void {
  api.get(paths.schedules, async (c) =>
    c.json(await schedules.list({ ...named(c, "tag"), ...scope(c), ...named(c, "after"), ...limited(c) })),
  )
  api.post(paths.schedules, async (c) => {
    const body = await objectBody(c)
    const { app, schedules: wanted } = body
    if (typeof app !== "string" || !Array.isArray(wanted)) {
      throw new FanfareError("invalid_option", "the body must be { app, schedules: [ … ] }", { field: "body" })
    }
    return c.json(await schedules.upsert(app, wanted as ScheduleInput[]))
  })
  api.get(paths.schedule, async (c) => c.json(await schedules.get(id(c), scope(c))))
  api.patch(paths.schedule, async (c) => c.json(await schedules.update(id(c), (await objectBody(c)) as Partial<ScheduleInput>, scope(c))))
  api.delete(paths.schedule, async (c) => {
    await schedules.delete(id(c), scope(c))
    return c.json({})
  })
  api.get(paths.scheduleTicks, async (c) => c.json(await schedules.ticks(id(c), { ...scope(c), ...named(c, "after"), ...limited(c) })))
  api.get(paths.scheduleNext, async (c) => {
    const n = wholeNumber(c, "n", limits.previewMoments)
    return c.json({ items: await schedules.next(id(c), { ...scope(c), ...(n === undefined ? {} : { n }) }), next: null })
  })
  api.post(paths.schedulePause, async (c) => {
    const { note } = await objectBody(c)
    return c.json(await schedules.pause(id(c), { ...scope(c), ...(note === undefined ? {} : { note: note as string }) }))
  })
  api.post(paths.scheduleResume, async (c) => c.json(await schedules.resume(id(c), scope(c))))
  api.post(paths.scheduleRun, async (c) => c.json(await schedules.run(id(c), scope(c))))
  api.post(paths.scheduleBackfill, async (c) => {
    const { from, to, overlap, dryRun } = await objectBody(c)
    const options = {
      ...(overlap === undefined ? {} : { overlap: overlap as NonNullable<BackfillOptions["overlap"]> }),
      ...(dryRun === undefined ? {} : { dryRun: dryRun as boolean }),
    }
    const [start, end] = [readTime(from as TimeInput, "from"), readTime(to as TimeInput, "to")]
    return c.json(await schedules.backfill(id(c), start, end, { ...scope(c), ...options }))
  })
}

function id(c: Context): string {
  return c.req.param("id") ?? ""
}

function scope(c: Context): ScheduleScope {
  return named(c, "app")
}

function named<Name extends string>(c: Context, name: Name): { [K in Name]?: string } {
  const value = c.req.query(name)
  return (value === undefined ? {} : { [name]: value }) as { [K in Name]?: string }
}

function limited(c: Context): { limit?: number } {
  const limit = pageSize(c)
  return limit === undefined ? {} : { limit }
}

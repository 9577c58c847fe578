import type { Schedules, ScheduleScope } from "../core/schedules.ts"
import { paths } from "../protocol/api.ts"
import type { Ask, Asked } from "./remote-call.ts"

/** Schedules of an engine elsewhere, over HTTP. */
export function remoteSchedules(ask: Ask): Schedules {
  const one = (id: string, { app }: ScheduleScope = {}): Asked => ({ params: { id }, query: { app } })
  return {
    upsert: (app, schedules) => ask(paths.schedules, { body: { app, schedules } }),
    update: (id, changes, scope) => ask(paths.schedule, { ...one(id, scope), method: "PATCH", body: changes }),
    get: (id, scope) => ask(paths.schedule, one(id, scope)),
    list: ({ tag, app, after, limit } = {}) => ask(paths.schedules, { query: { tag, app, after, limit } }),
    ticks: (id, { app, after, limit } = {}) => ask(paths.scheduleTicks, { params: { id }, query: { app, after, limit } }),
    next: async (id, { app, n } = {}) =>
      (await ask<{ items: Awaited<ReturnType<Schedules["next"]>> }>(paths.scheduleNext, { params: { id }, query: { app, n } })).items,
    pause: (id, { note, ...scope } = {}) => ask(paths.schedulePause, { ...one(id, scope), body: { note } }),
    resume: (id, scope) => ask(paths.scheduleResume, { ...one(id, scope), body: {} }),
    delete: async (id, scope) => void (await ask(paths.schedule, { ...one(id, scope), method: "DELETE", body: {} })),
    run: (id, scope) => ask(paths.scheduleRun, { ...one(id, scope), body: {} }),
    backfill: (id, from, to, { overlap, dryRun, ...scope } = {}) =>
      ask(paths.scheduleBackfill, { ...one(id, scope), body: { from, to, overlap, dryRun } }),
  }
}

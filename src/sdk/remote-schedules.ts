import type { Schedules } from "../core/schedules.ts"
import type { Client } from "../protocol/client.ts"

/** Schedules of an engine elsewhere, over HTTP. */
export function remoteSchedules(ask: Client): Schedules {
  return {
    upsert: (app, schedules) => ask("scheduleUpsert", { body: { app, schedules } }),
    update: (id, changes, { app } = {}) => ask("scheduleChange", { params: { id }, query: { app }, body: changes }),
    get: (id, { app } = {}) => ask("schedule", { params: { id }, query: { app } }),
    list: ({ tag, app, after, limit } = {}) => ask("schedules", { query: { tag, app, after, limit } }),
    ticks: (id, { app, after, limit } = {}) => ask("scheduleTicks", { params: { id }, query: { app, after, limit } }),
    next: async (id, { app, n } = {}) => (await ask("scheduleNext", { params: { id }, query: { app, n } })).items,
    pause: (id, { note, app } = {}) => ask("schedulePause", { params: { id }, query: { app }, body: { note } }),
    resume: (id, { app } = {}) => ask("scheduleResume", { params: { id }, query: { app }, body: {} }),
    delete: async (id, { app } = {}) => void (await ask("scheduleDelete", { params: { id }, query: { app } })),
    run: (id, { app } = {}) => ask("scheduleRun", { params: { id }, query: { app }, body: {} }),
    backfill: (id, from, to, { overlap, dryRun, app } = {}) =>
      ask("scheduleBackfill", { params: { id }, query: { app }, body: { from, to, overlap, dryRun } }),
  }
}

import type { StandardSchemaV1 } from "@standard-schema/spec"
import { type PolicyInput, readTime, type RuleInput, type Schedule, type Tick, type TimeInput } from "../core/schedule.ts"
import type { BackfillOptions, BackfillResult, ScheduleInput, Schedules, UpcomingMoment, UpsertResult } from "../core/schedules.ts"
import type { Page } from "../core/views.ts"
import { checkSchema, type EventSchemas } from "./schema.ts"

/** A schedule to make: one rule, policies, and what it starts; the data of an event is typed by the app's schemas. */
export type ScheduleOptions<S extends EventSchemas = EventSchemas> = RuleInput &
  PolicyInput & {
    /** Names it for ever in its app: at most 256 characters. */
    readonly id: string
    /** Lists can be asked for it: at most 128 characters. */
    readonly tag?: string
  } & (EventTarget<S> | FunctionTarget)

type FunctionTarget = {
  /** Starts one run of this function, by its id; the run's event is `fanfare/scheduled.timer`. */
  readonly function: string
  /** What the run finds in `event.data.data`. */
  readonly data?: object
  readonly event?: never
}

type EventTarget<S extends EventSchemas> = { readonly function?: never } & (string extends keyof S
  ? { readonly event: string; readonly data?: object }
  : { [Name in keyof S & string]: EventOfSchema<Name, StandardSchemaV1.InferInput<S[Name]>> }[keyof S & string])

type EventOfSchema<Name extends string, Data> = { readonly event: Name } & (undefined extends Data
  ? { readonly data?: Data }
  : { readonly data: Data })

export interface ListOptions {
  readonly tag?: string
  /** The `next` of the page before. */
  readonly after?: string
  /** Rows of a page: 1 to 500, default 50. */
  readonly limit?: number
}

/** The schedules of an app. Ids are the app's own ones; full ids (`<app>-<id>`) are understood too. */
export interface AppSchedules<S extends EventSchemas = EventSchemas> {
  /**
   * Makes a schedule, or makes it what it shall be. A rule that has changed begins now; one that has not goes on, and a pause stays. Doing it
   * again changes nothing.
   * @throws FanfareError `invalid_option`, `invalid_trigger`, `invalid_event`, `not_json`, `too_large`, `schema_mismatch` naming field and
   * bound; `not_found` for a function that no engine has registered. An event that nobody hears is allowed: its ticks say so.
   */
  upsert(schedule: ScheduleOptions<S>): Promise<Schedule>
  /** Up to 10,000 at once: all are checked first, then written 1,000 in a transaction. It may be done again at any time. */
  upsertMany(schedules: readonly ScheduleOptions<S>[]): Promise<UpsertResult>
  /** Changes what is named and leaves the rest. @throws FanfareError `not_found`, or as `upsert` does */
  update(id: string, changes: Partial<ScheduleOptions<S>>): Promise<Schedule>
  /** One schedule: its rule, policies and next moment. @throws FanfareError `not_found` */
  get(id: string): Promise<Schedule>
  /** In the order of their ids. */
  list(options?: ListOptions): Promise<Page<Schedule>>
  /** The ledger, newest first: every decided moment with its outcome and reason. */
  ticks(id: string, options?: Omit<ListOptions, "tag">): Promise<Page<Tick>>
  /** The next `n` moments (1 to 1,000, default 5) with what changes of the clocks do to them. */
  next(id: string, n?: number): Promise<readonly UpcomingMoment[]>
  /** Its moments pass from now on, recorded as `paused`. The note is for people. */
  pause(id: string, options?: { readonly note?: string }): Promise<Schedule>
  /** Goes on with the next moment. */
  resume(id: string): Promise<Schedule>
  /** Removes one that was made at run time. @throws FanfareError `invalid_option` for one of a cron trigger: it belongs to the code */
  delete(id: string): Promise<void>
  /** Starts what a moment would start, now. The ledger and the moments to come stay as they are. */
  run(id: string): Promise<{ readonly runIds: readonly string[] }>
  /**
   * Starts the moments from `from` to `to` (both included, in the past) that are not in the ledger, at most 10,000. May be done again.
   * @throws FanfareError `invalid_option`, `too_many`: nothing was started
   */
  backfill(id: string, from: TimeInput, to: TimeInput, options?: BackfillOptions): Promise<BackfillResult>
}

export function appSchedules<S extends EventSchemas>(app: string, schemas: EventSchemas, target: () => Schedules): AppSchedules<S> {
  const scope = { app }
  const checked = async (input: Partial<ScheduleInput>, at: string): Promise<void> => {
    const schema = schemas[input?.event ?? ""]
    if (schema !== undefined && (input.data !== undefined || input.event !== undefined)) await checkSchema(schema, input.data, `${at}.data`)
  }
  const upsert = async (schedules: readonly ScheduleInput[]): Promise<UpsertResult> => {
    for (const [i, each] of schedules.entries()) await checked(each, schedules.length === 1 ? "schedule" : `schedules[${i}]`)
    return target().upsert(app, schedules)
  }
  return {
    async upsert(schedule) {
      await upsert([schedule])
      return target().get(schedule.id, scope)
    },
    upsertMany: (schedules) => upsert(schedules),
    async update(id, changes) {
      await checked(changes, "schedule")
      return target().update(id, changes, scope)
    },
    get: (id) => target().get(id, scope),
    list: (options = {}) => target().list({ ...options, app }),
    ticks: (id, options = {}) => target().ticks(id, { ...options, app }),
    next: (id, n) => target().next(id, n === undefined ? scope : { app, n }),
    pause: (id, options = {}) => target().pause(id, { ...options, app }),
    resume: (id) => target().resume(id, scope),
    delete: (id) => target().delete(id, scope),
    run: (id) => target().run(id, scope),
    backfill: async (id, from, to, options = {}) => target().backfill(id, readTime(from, "from"), readTime(to, "to"), { ...options, app }),
  }
}

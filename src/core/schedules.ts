import type { PolicyInput, RuleInput, Schedule, SchedulePolicies, ScheduleRule, Tick } from "./schedule.ts"
import type { Page } from "./views.ts"

/** What a schedule starts, besides its rule and its policies. */
export interface ScheduleTarget {
  /** Sends an event of this name at each moment … */
  readonly event?: string
  /** … or starts a run of this function, by its own id or its full one. */
  readonly function?: string
  /** The event's data; with `function`: `event.data.data`. An object that JSON can carry. */
  readonly data?: unknown
}

/** A schedule as users write it. */
export type ScheduleInput = RuleInput &
  PolicyInput &
  ScheduleTarget & {
    /** Names it for ever in its app: at most 256 characters. */
    readonly id: string
    /** Lists can be asked for it: at most 128 characters. */
    readonly tag?: string
  }

/** A schedule that passed the door. */
export interface CheckedSchedule {
  readonly id: string
  readonly functionId: string | null
  readonly event: string | null
  readonly rule: ScheduleRule
  readonly policies: SchedulePolicies
  readonly data: string | null
  readonly tag: string | null
}

export interface UpsertResult {
  readonly created: number
  readonly changed: number
  /** Those that were there just so: nothing was written. */
  readonly unchanged: number
}

export interface BackfillOptions {
  /** `"allow"` (default): the runs start at once, as far as the function's own limits allow. `"queue"`: one executes at a time, in order. */
  readonly overlap?: "allow" | "queue"
  /** Only counts what it would do. Default: false. */
  readonly dryRun?: boolean
}

export interface BackfillResult {
  /** Moments that were started. */
  readonly started: number
  /** Moments that were in the ledger already. */
  readonly known: number
}

/** A moment to come. */
export interface UpcomingMoment {
  readonly at: number
  /** With the jitter. */
  readonly firesAt: number
  /** On the clocks of its zone, with the offset: `2026-03-29T03:30:00+02:00`. */
  readonly local: string
  /** What a change of the clocks does to it; null when nothing. */
  readonly note: string | null
}

export interface ScheduleFilter {
  readonly tag?: string
  /** Only those of this app. */
  readonly app?: string
  readonly after?: string
  readonly limit?: number
}

/** Of whom an id is meant: an app's own ids are looked at first. */
export interface ScheduleScope {
  readonly app?: string
}

/** Schedules: made, looked at and changed at run time. Ids are own ids or full ones (`<app>-<id>`). */
export interface Schedules {
  upsert(app: string, schedules: readonly ScheduleInput[]): Promise<UpsertResult>
  update(id: string, changes: Partial<ScheduleInput>, scope?: ScheduleScope): Promise<Schedule>
  get(id: string, scope?: ScheduleScope): Promise<Schedule>
  list(filter?: ScheduleFilter): Promise<Page<Schedule>>
  ticks(id: string, options?: ScheduleScope & { readonly after?: string; readonly limit?: number }): Promise<Page<Tick>>
  next(id: string, options?: ScheduleScope & { readonly n?: number }): Promise<readonly UpcomingMoment[]>
  pause(id: string, options?: ScheduleScope & { readonly note?: string }): Promise<Schedule>
  resume(id: string, scope?: ScheduleScope): Promise<Schedule>
  delete(id: string, scope?: ScheduleScope): Promise<void>
  run(id: string, scope?: ScheduleScope): Promise<{ readonly runIds: readonly string[] }>
  backfill(id: string, from: number, to: number, options?: ScheduleScope & BackfillOptions): Promise<BackfillResult>
}

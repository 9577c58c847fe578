import { momentsOf, type Schedule, type Tick } from "../core/schedule.ts"
import { checkSchedule, inputOf, readBackfill, readPage, upcoming } from "../core/schedule-input.ts"
import type {
  BackfillOptions,
  BackfillResult,
  CheckedSchedule,
  ScheduleFilter,
  ScheduleInput,
  Schedules,
  ScheduleScope,
  UpcomingMoment,
  UpsertResult,
} from "../core/schedules.ts"
import { checkId } from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Clock, Random } from "../core/ports.ts"
import type { Page } from "../core/views.ts"
import type { BackfillPart } from "../store/schedule-operate.ts"
import type { Reader, Store } from "../store/store.ts"
import type { Registry } from "./registry.ts"

export interface SchedulesParts {
  readonly store: Pick<Store, "upsertSchedules" | "pauseSchedule" | "resumeSchedule" | "removeSchedule" | "backfill" | "runSchedule">
  readonly reader: Pick<Reader, "schedule" | "schedules" | "ticks">
  readonly registry: Registry
  readonly clock: Clock
  readonly random: Random
  /** Schedules have changed: the ticker should look. */
  readonly changed: () => void
  /** Runs were put in line. */
  readonly lined: () => void
}

/** Schedules at run time: made, looked at, changed. */
export class StoredSchedules implements Schedules {
  readonly #parts: SchedulesParts

  constructor(parts: SchedulesParts) {
    this.#parts = parts
  }

  async upsert(app: string, schedules: readonly ScheduleInput[]): Promise<UpsertResult> {
    checkId(app, "app", "invalid_option")
    if (schedules.length > limits.schedulesPerUpsert) {
      throw new FanfareError("too_many", `one upsert has ${schedules.length} schedules; the most is ${limits.schedulesPerUpsert}`, {
        field: "schedules",
        bound: limits.schedulesPerUpsert,
        hint: "Upsert them in several calls.",
      })
    }
    const now = this.#parts.clock.now()
    const seen = new Set<string>()
    const checked = schedules.map((input, i) => {
      const at = schedules.length === 1 ? "schedule" : `schedules[${i}]`
      const one = this.#check(app, input, at, now)
      if (seen.has(one.id)) throw new FanfareError("invalid_option", `${at}.id "${input.id}" is there twice`, { field: `${at}.id` })
      seen.add(one.id)
      return one
    })
    const sum = { created: 0, changed: 0, unchanged: 0 }
    for (let i = 0; i < checked.length; i += limits.schedulesPerTransaction) {
      const done = await this.#put(checked.slice(i, i + limits.schedulesPerTransaction))
      sum.created += done.created
      sum.changed += done.changed
      sum.unchanged += done.unchanged
    }
    return sum
  }

  async update(id: string, changes: Partial<ScheduleInput>, scope: ScheduleScope = {}): Promise<Schedule> {
    const old = await this.get(id, scope)
    const { input, app } = inputOf(old, changes, this.#apps())
    await this.#put([this.#check(app, input, "schedule", this.#parts.clock.now())])
    return this.get(old.id)
  }

  async get(id: string, { app }: ScheduleScope = {}): Promise<Schedule> {
    const found = await this.#parts.reader.schedule(this.#ids(id, app))
    if (found !== null) return found
    throw new FanfareError("not_found", `there is no schedule "${id}"`, {
      field: "id",
      hint: "`fanfare schedules list` shows those there are.",
    })
  }

  async list(filter: ScheduleFilter = {}): Promise<Page<Schedule>> {
    return this.#parts.reader.schedules(filter)
  }

  async ticks(id: string, { app, after, limit }: ScheduleScope & { after?: string; limit?: number } = {}): Promise<Page<Tick>> {
    const schedule = await this.get(id, app === undefined ? {} : { app })
    const page = readPage(after, limit)
    return this.#parts.reader.ticks(schedule.id, page.after, page.limit)
  }

  async next(id: string, { app, n = 5 }: ScheduleScope & { n?: number } = {}): Promise<readonly UpcomingMoment[]> {
    const schedule = await this.get(id, app === undefined ? {} : { app })
    return upcoming(schedule, this.#parts.clock.now(), n)
  }

  async pause(id: string, { app, note }: ScheduleScope & { note?: string } = {}): Promise<Schedule> {
    if (note !== undefined && (typeof note !== "string" || note.length > limits.noteChars)) {
      throw new FanfareError("invalid_option", `note must be text of at most ${limits.noteChars} characters`, {
        field: "note",
        bound: limits.noteChars,
      })
    }
    const { id: full } = await this.get(id, app === undefined ? {} : { app })
    return this.#found(full, await this.#parts.store.pauseSchedule(full, note ?? null))
  }

  async resume(id: string, scope: ScheduleScope = {}): Promise<Schedule> {
    const { id: full } = await this.get(id, scope)
    const resumed = this.#found(full, await this.#parts.store.resumeSchedule(full))
    this.#parts.changed()
    return resumed
  }

  async delete(id: string, scope: ScheduleScope = {}): Promise<void> {
    const schedule = await this.get(id, scope)
    if (schedule.appId !== null) throw owned(schedule.id, schedule.appId)
    await this.#parts.store.removeSchedule(schedule.id)
  }

  async run(id: string, scope: ScheduleScope = {}): Promise<{ runIds: readonly string[] }> {
    const { id: full } = await this.get(id, scope)
    const { runIds, nobody } = this.#found(full, await this.#parts.store.runSchedule(this.#chance(), full))
    if (nobody !== null) throw startsNothing(full, nobody)
    this.#parts.lined()
    return { runIds }
  }

  async backfill(id: string, from: number, to: number, options: ScheduleScope & BackfillOptions = {}): Promise<BackfillResult> {
    const { app, dryRun = false, ...rest } = options
    const schedule = await this.get(id, app === undefined ? {} : { app })
    const range = readBackfill(schedule, momentsOf(schedule.rule, schedule.policies), from, to, rest, this.#parts.clock.now())
    if (typeof dryRun !== "boolean") throw new FanfareError("invalid_option", "dryRun must be true or false", { field: "dryRun" })
    if (dryRun) return this.#counted(schedule, range.from, range.to)
    const sum = { started: 0, known: 0 }
    for (let at: number | null = range.from; at !== null; ) {
      const part: Omit<BackfillPart, "lines"> = this.#found(
        schedule.id,
        await this.#parts.store.backfill(this.#chance(), { ...range, id: schedule.id, from: at }),
      )
      if (part.nobody !== null) throw startsNothing(schedule.id, part.nobody)
      sum.started += part.started
      sum.known += part.known
      at = part.rest
      this.#parts.lined()
    }
    return sum
  }

  /** What a backfill would do. */
  async #counted({ id, rule, policies }: Schedule, from: number, to: number): Promise<BackfillResult> {
    const inLedger = new Set<number>()
    for (let after: string | null = String(to + 1); after !== null; ) {
      const page: Page<Tick> = await this.#parts.reader.ticks(id, Number(after), limits.pageRowsMax)
      for (const { at } of page.items) inLedger.add(at)
      after = (page.items.at(-1)?.at ?? 0) < from ? null : page.next
    }
    const sum = { started: 0, known: 0 }
    const moments = momentsOf(rule, policies)
    for (let at = moments.next(from - 1); at !== null && at <= to; at = moments.next(at)) sum[inLedger.has(at) ? "known" : "started"]++
    return sum
  }

  #check(app: string, input: ScheduleInput, at: string, now: number): CheckedSchedule {
    return checkSchedule(app, input, at, now, (name) => this.#function(app, name))
  }

  async #put(checked: readonly CheckedSchedule[]): Promise<UpsertResult> {
    const result = await this.#parts.store.upsertSchedules(checked)
    if (!("kind" in result)) {
      this.#parts.changed()
      return result
    }
    if (result.kind === "owned") throw owned(result.id, result.appId)
    throw new FanfareError(
      "invalid_option",
      `the schedule "${result.id}" has its one moment in the past: ${new Date(result.at).toISOString()}`,
      {
        field: "at",
        hint: "Send the event, or trigger the function, to start something now.",
      },
    )
  }

  #function(app: string, name: string): string | null {
    const { definitions } = this.#parts.registry
    if (definitions.has(`${app}-${name}`)) return `${app}-${name}`
    return definitions.has(name) ? name : null
  }

  /** What an id may mean: of the app itself first, then in full, then of any app. */
  #ids(id: string, app: string | undefined): string[] {
    return [...(app === undefined ? [] : [`${app}-${id}`]), id, ...(app === undefined ? this.#apps().map((each) => `${each}-${id}`) : [])]
  }

  #apps(): string[] {
    return [...new Set(Array.from(this.#parts.registry.definitions.values(), ({ appId }) => appId))].toSorted()
  }

  #found<T>(id: string, value: T | null): T {
    if (value === null) throw new FanfareError("not_found", `the schedule "${id}" is not there any more`, { field: "id" })
    return value
  }

  #chance(): [number, number] {
    const { random } = this.#parts
    return [random.next(), random.next()]
  }
}

function startsNothing(id: string, why: string): FanfareError {
  return new FanfareError("not_found", `the schedule "${id}" starts nothing: ${why}`, {
    field: "id",
    hint: "Start the app that has the function, or let the function go on; then ask again.",
  })
}

function owned(id: string, appId: string): FanfareError {
  return new FanfareError("invalid_option", `the schedule "${id}" belongs to a cron trigger in the code of the app "${appId}"`, {
    field: "id",
    hint: "Change it there; or pause it.",
  })
}

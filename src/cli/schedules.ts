import { readCron } from "../core/cron.ts"
import { momentsOf, readPolicies, type Schedule, type ScheduleRule } from "../core/schedule.ts"
import { upcoming } from "../core/schedule-input.ts"
import type { BackfillOptions, UpcomingMoment } from "../core/schedules.ts"
import { call } from "./api.ts"
import type { Globals } from "./globals.ts"
import { count, print, printJson, span, table } from "./output.ts"

export async function listSchedules(
  options: Globals & { readonly tag?: string; readonly app?: string; readonly after?: string; readonly limit?: string },
): Promise<void> {
  const { tag, app, after, limit } = options
  const page = await call(options, "schedules", { query: { tag, app, after, limit } })
  if (options.json) {
    printJson(page)
    return
  }
  const rows = page.items.map((schedule) => [
    schedule.id,
    when(schedule.rule),
    schedule.rule.kind === "cron" ? schedule.rule.timezone : "",
    schedule.event === null ? `function ${schedule.functionId ?? ""}` : `event ${schedule.event}`,
    time(schedule.nextTickAt),
    time(schedule.lastTickAt),
    state(schedule),
  ])
  print(rows.length === 0 ? "no schedules" : table(["SCHEDULE", "WHEN", "ZONE", "STARTS", "NEXT", "LAST", ""], rows))
  if (page.next !== null) print(`next page: fanfare schedules list --after ${page.next}`)
}

export async function showSchedule(id: string, options: Globals & { readonly ticks: string }): Promise<void> {
  const schedule = await call(options, "schedule", { params: { id } })
  const ticks = await call(options, "scheduleTicks", { params: { id: schedule.id }, query: { limit: options.ticks } })
  if (options.json) {
    printJson({ ...schedule, ticks: ticks.items })
    return
  }
  const { rule, policies } = schedule
  const { take, withinMs, cap } = policies.missed
  const within = withinMs === null ? "" : ` of the last ${span(withinMs)}`
  const zone = rule.kind === "cron" ? `  ${rule.timezone}  gap ${rule.dst.gap}, repeat ${rule.dst.repeat}` : ""
  const lines = [
    `${schedule.id}  ${state(schedule)}`.trimEnd(),
    `  when     ${when(rule)}${zone}`,
    `  starts   ${schedule.event === null ? `the function ${schedule.functionId ?? ""}` : `the event ${schedule.event}`}`,
    `  overlap  ${policies.overlap}   missed ${take}${within}${take === "all" ? `, at most ${cap}` : ""}   jitter ${span(policies.jitterMs)}`,
    `  next     ${time(schedule.nextTickAt) || "never"}   last ${time(schedule.lastTickAt) || "none yet"}`,
  ]
  if (schedule.waitingAt !== null) lines.push(`  waits    ${time(schedule.waitingAt)} for the one before to end`)
  if (schedule.data !== null) lines.push(`  data     ${schedule.data.slice(0, 200)}`)
  if (schedule.tag !== null) lines.push(`  tag      ${schedule.tag}`)
  print(lines.join("\n"))
  if (ticks.items.length === 0) return
  print(
    `\n${table(
      ["MOMENT", "OUTCOME", "RUN", "WHY"],
      ticks.items.map((tick) => [time(tick.at), tick.outcome, tick.runId ?? "", tick.reason ?? ""]),
    )}`,
  )
}

export async function nextMoments(id: string, options: Globals & { readonly count: string; readonly tz?: string }): Promise<void> {
  const isLine = /\s|^@/.test(id)
  const items = isLine
    ? preview(id, options.tz, Number(options.count))
    : (await call(options, "scheduleNext", { params: { id }, query: { n: options.count } })).items
  if (options.json) {
    printJson({ items })
    return
  }
  const rows = items.map(({ at, local, firesAt, note }) => [local, time(at), firesAt === at ? "" : `+${span(firesAt - at)}`, note ?? ""])
  print(rows.length === 0 ? "no moments to come" : table(["LOCAL", "UTC", "JITTER", ""], rows))
}

function preview(cron: string, timezone: string | undefined, n: number): UpcomingMoment[] {
  const rule = { kind: "cron", ...readCron({ cron, ...(timezone === undefined ? {} : { timezone }) }, "line") } as const
  const policies = readPolicies({}, "line")
  const now = Date.now()
  return upcoming({ id: "line", rule, policies, nextTickAt: momentsOf(rule, policies).next(now) }, now, n)
}

export async function pauseSchedule(id: string, options: Globals & { readonly note?: string }): Promise<void> {
  const { note } = options
  tell(await call(options, "schedulePause", { params: { id }, body: note === undefined ? {} : { note } }), options)
}

export async function resumeSchedule(id: string, globals: Globals): Promise<void> {
  tell(await call(globals, "scheduleResume", { params: { id }, body: {} }), globals)
}

function tell(schedule: Schedule, globals: Globals): void {
  if (globals.json) printJson(schedule)
  else print(`${schedule.id}  ${state(schedule) || `next ${time(schedule.nextTickAt) || "never"}`}`)
}

export async function runSchedule(id: string, globals: Globals): Promise<void> {
  const result = await call(globals, "scheduleRun", { params: { id }, body: {} })
  if (globals.json) printJson(result)
  else for (const runId of result.runIds) print(`▶ ${runId}`)
}

export async function backfillSchedule(
  id: string,
  options: Globals & { readonly from: string; readonly to: string; readonly overlap?: BackfillOptions["overlap"] },
): Promise<void> {
  const { from, to, overlap } = options
  const body = { from, to, ...(overlap === undefined ? {} : { overlap }) }
  const result = await call(options, "scheduleBackfill", { params: { id }, body })
  if (options.json) printJson(result)
  else print(`${count(result.started)} moments started, ${count(result.known)} were in the ledger before`)
}

function when(rule: ScheduleRule): string {
  switch (rule.kind) {
    case "cron":
      return rule.cron
    case "every":
      return `every ${span(rule.everyMs)}`
    case "at":
      return `once, ${time(rule.at)}`
    default:
      return rule satisfies never
  }
}

function state({ pausedAt, note, nextAt }: Schedule): string {
  if (pausedAt !== null) return `paused since ${time(pausedAt)}${note === null ? "" : `: ${note}`}`
  return nextAt === null ? "ended" : ""
}

function time(at: number | null): string {
  return at === null ? "" : `${new Date(at).toISOString().slice(0, 19)}Z`
}

import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import type { SendResult } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import type { FanoutPlan } from "../core/fanouts.ts"
import type { FanOutRules } from "../core/gate.ts"
import { limits } from "../core/limits.ts"
import { paths, type TriggerResult } from "../protocol/api.ts"
import { printable } from "../server/console.ts"
import { call } from "./api.ts"
import { fanoutsOf, followFanout, followRun } from "./follow.ts"
import type { Globals } from "./globals.ts"
import { count, parseJson, print, printJson, say } from "./output.ts"

/** How the runs of several events are let loose, as options. */
export interface RuleOptions {
  readonly canary?: string
  readonly breaker?: string
  readonly breakerMin?: string
  readonly spread?: string
  readonly rate?: string
}

export async function send(
  name: string,
  options: Globals &
    RuleOptions & {
      readonly data?: string
      readonly file?: string
      readonly id?: string
      readonly watch?: boolean
      readonly dryRun?: boolean
    },
): Promise<void> {
  if (options.data !== undefined && options.file !== undefined) {
    throw new FanfareError("invalid_option", "give --data or --file, not both", { field: "data" })
  }
  const events = options.file === undefined ? [one(name, options.data, options.id)] : await fromFile(name, options.file)
  const rules = rulesOf(options)
  if (options.dryRun === true) {
    await plan(events, options)
    return
  }
  const body = Object.keys(rules).length === 0 ? events : { events, rules }
  const result = await call<SendResult>(options, paths.events, { body })
  if (options.json) printJson(result)
  else if (result.fanoutId === null) print(`✓ ${result.ids[0] ?? "nothing"}  ${name}`)
  else print(`✓ ${result.fanoutId}  ${count(events.length)} events   follow: fanfare runs watch ${result.fanoutId}`)
  if (options.watch === true && result.fanoutId !== null) {
    const fanout = await followFanout(result.fanoutId, options)
    if (fanout.failed > 0 || fanout.state !== "ended") process.exitCode = 1
  }
}

async function plan(events: readonly EventInput[], globals: Globals): Promise<void> {
  const planned = await call<FanoutPlan>(globals, paths.fanoutPlan, { body: events })
  if (globals.json) {
    printJson(planned)
    return
  }
  print(`${count(planned.events)} events would start ${count(planned.runs)} runs; nothing was sent`)
  for (const { functionId, runs } of planned.functions) print(`  ${count(runs)} of ${functionId}`)
  if (planned.duplicates > 0)
    print(`  ${count(planned.duplicates)} would be skipped: their ids were sent within the last 24 h, or come twice`)
  for (const event of planned.sample) print(`  ${printable(JSON.stringify(event))}`)
}

/** What looks like a number is one. */
function rulesOf({ canary, breaker, breakerMin, spread, rate }: RuleOptions): FanOutRules {
  const number = (text: string): number => (/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : (text as unknown as number))
  if (breaker === undefined && breakerMin !== undefined) {
    throw new FanfareError("invalid_option", "--breaker-min goes with --breaker", { field: "breaker-min" })
  }
  return {
    ...(canary === undefined ? {} : { canary: number(canary) }),
    ...(breaker === undefined
      ? {}
      : { breaker: { failures: number(breaker), ...(breakerMin === undefined ? {} : { min: number(breakerMin) }) } }),
    ...(spread === undefined ? {} : { spread }),
    ...(rate === undefined ? {} : { rate: number(rate) }),
  }
}

export async function trigger(id: string, options: Globals & { readonly data?: string; readonly watch?: boolean }): Promise<void> {
  const body = options.data === undefined ? {} : { data: parseJson(options.data, "--data") }
  const { runId } = await call<TriggerResult>(options, paths.trigger, { params: { id }, body })
  if (options.json) printJson({ runId })
  else print(`▶ ${runId}  ${id}   follow: fanfare runs watch ${runId}`)
  if (options.watch !== true) return
  const run = await followRun(runId, options)
  if (run.state !== "completed") {
    say(`✗ ${runId} ${run.state}${run.error === null ? "" : `: ${run.error.name}: ${run.error.message}`}`)
    process.exitCode = 1
  }
  for (const fanout of await fanoutsOf(runId, options)) {
    const ended = await followFanout(fanout.id, options)
    if (ended.failed > 0 || ended.state !== "ended") process.exitCode = 1
  }
}

function one(name: string, data: string | undefined, id: string | undefined): EventInput {
  return { name, ...(data === undefined ? {} : { data: parseJson(data, "--data") }), ...(id === undefined ? {} : { id }) }
}

async function fromFile(name: string, file: string): Promise<EventInput[]> {
  const events: EventInput[] = []
  try {
    for await (const line of createInterface({ input: createReadStream(file) })) {
      if (line.trim() === "") continue
      const value = parseJson(line, `${file}:${events.length + 1}`)
      events.push(isEvent(value) ? { ...value, name: value.name ?? name } : { name, data: value })
      if (events.length > limits.eventsPerSend) {
        throw new FanfareError("too_many", `${file} has more than ${limits.eventsPerSend} lines`, {
          field: "file",
          bound: limits.eventsPerSend,
        })
      }
    }
  } catch (cause) {
    if (cause instanceof FanfareError) throw cause
    throw new FanfareError("invalid_option", `--file: ${cause instanceof Error ? cause.message : String(cause)}`, { field: "file", cause })
  }
  return events
}

/** A line that is a whole event has `data`, and nothing else than an event may have. */
function isEvent(value: unknown): value is EventInput {
  if (typeof value !== "object" || value === null || !("data" in value)) return false
  return Object.keys(value).every((field) => ["name", "data", "id", "ts"].includes(field))
}

import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import type { FanOutRules } from "../core/gate.ts"
import { limits } from "../core/limits.ts"
import { patternsOf } from "../core/match.ts"
import type { RunSummary } from "../core/views.ts"
import { printable } from "../server/console.ts"
import { call } from "./api.ts"
import { fanoutsOf, followFanout, followRun } from "./follow.ts"
import type { Globals } from "./globals.ts"
import { count, firstLine, parseJson, print, printJson, say } from "./output.ts"

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
  const result = await call(options, "events", { body })
  const { fanoutId } = result
  if (options.json) printJson(result)
  else if (fanoutId !== null) print(`✓ ${fanoutId}  ${count(events.length)} events   follow: fanfare runs watch ${fanoutId}`)
  const started = fanoutId === null ? await startedBy(result.ids[0], options) : []
  if (fanoutId === null && !options.json) print(`✓ ${result.ids[0] ?? "nothing"}  ${name}${started.map(({ id }) => `  ${id}`).join("")}`)
  if (!options.json) await tellUnheard(new Set(events.map((event) => event.name)), options)
  if (options.watch !== true) return
  if (fanoutId === null) await watchRuns(started, options)
  else {
    const fanout = await followFanout(fanoutId, options)
    if (fanout.failed > 0 || fanout.state !== "ended") process.exitCode = 1
  }
}

/** The runs that an event started. */
async function startedBy(eventId: string | undefined, globals: Globals): Promise<readonly RunSummary[]> {
  return eventId === undefined ? [] : (await call(globals, "runs", { query: { event: eventId } })).items
}

async function watchRuns(runs: readonly RunSummary[], globals: Globals): Promise<void> {
  for (const { id, functionId } of runs) {
    const run = await followRun(id, globals)
    if (globals.json) printJson(run)
    else say(`${id}  ${functionId}  ${run.state}${run.error === null ? "" : `: ${run.error.name}: ${firstLine(run.error.message)}`}`)
    if (run.state !== "completed") process.exitCode = 1
  }
}

/** A name that no function listens to is no error, and often a typing error. */
async function tellUnheard(names: ReadonlySet<string>, globals: Globals): Promise<void> {
  const { items } = await call(globals, "functions")
  const heard = new Set(
    items.filter(({ active }) => active).flatMap(({ triggers }) => triggers.flatMap((each) => ("event" in each ? [each.event] : []))),
  )
  const unheard = [...names].filter((name) => !patternsOf(name).some((pattern) => heard.has(pattern)))
  if (unheard.length === 0) return
  say(`! no function has ${unheard.slice(0, 3).join(", ")} as a trigger, so none was started`)
  if (heard.size > 0) say(`  There are: ${[...heard].slice(0, 10).join(", ")}.`)
}

async function plan(events: readonly EventInput[], globals: Globals): Promise<void> {
  const planned = await call(globals, "fanoutPlan", { body: events })
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
  const { runId } = await call(options, "trigger", { params: { id }, body })
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

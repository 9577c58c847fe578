import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import type { SendResult } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import { limits } from "../core/limits.ts"
import { paths, type TriggerResult } from "../protocol/api.ts"
import { call } from "./api.ts"
import { fanoutsOf, followFanout, followRun } from "./follow.ts"
import type { Globals } from "./globals.ts"
import { count, print, printJson, say } from "./output.ts"

export async function send(
  name: string,
  options: Globals & { readonly data?: string; readonly file?: string; readonly id?: string; readonly watch?: boolean },
): Promise<void> {
  if (options.data !== undefined && options.file !== undefined) {
    throw new FanfareError("invalid_option", "give --data or --file, not both", { field: "data" })
  }
  const events = options.file === undefined ? [one(name, options.data, options.id)] : await fromFile(name, options.file)
  const result = await call<SendResult>(options, paths.events, { body: events })
  if (options.json) printJson(result)
  else if (result.fanoutId === null) print(`✓ ${result.ids[0] ?? "nothing"}  ${name}`)
  else print(`✓ ${result.fanoutId}  ${count(events.length)} events   follow: fanfare runs watch ${result.fanoutId}`)
  if (options.watch === true && result.fanoutId !== null) {
    const fanout = await followFanout(result.fanoutId, options)
    if (fanout.failed > 0) process.exitCode = 1
  }
}

export async function trigger(id: string, options: Globals & { readonly data?: string; readonly watch?: boolean }): Promise<void> {
  const body = options.data === undefined ? {} : { data: parse(options.data, "--data") }
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
    if (ended.failed > 0) process.exitCode = 1
  }
}

function one(name: string, data: string | undefined, id: string | undefined): EventInput {
  return { name, ...(data === undefined ? {} : { data: parse(data, "--data") }), ...(id === undefined ? {} : { id }) }
}

async function fromFile(name: string, file: string): Promise<EventInput[]> {
  const events: EventInput[] = []
  try {
    for await (const line of createInterface({ input: createReadStream(file) })) {
      if (line.trim() === "") continue
      const value = parse(line, `${file}:${events.length + 1}`)
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

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new FanfareError("not_json", `${where} is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      field: where,
      cause,
    })
  }
}

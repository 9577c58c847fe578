import { setTimeout as delay } from "node:timers/promises"
import type { Operation } from "../core/fanouts.ts"
import type { FanoutState } from "../core/progress.ts"
import { call } from "./api.ts"
import { wayOut } from "./follow.ts"
import type { Globals } from "./globals.ts"
import { clock, count, fanoutLine, parseJson, print, printJson, say, table } from "./output.ts"

const pollMs = 200
const marks: Readonly<Record<FanoutState, string>> = { running: "◐", paused: "‖", cancelling: "–", ended: "✓" }

export async function listFanouts(options: Globals & { readonly after?: string; readonly limit?: string }): Promise<void> {
  const { after, limit } = options
  const page = await call(options, "fanouts", { query: { after, limit } })
  if (options.json) {
    printJson(page)
    return
  }
  const rows = page.items.map((f) => [
    `${marks[f.state]} ${f.state}`,
    f.id,
    f.name,
    clock(f.createdAt),
    count(f.total),
    count(f.completed),
    count(f.failed),
    count(f.running),
    count(f.queued),
    f.runId ?? "",
  ])
  print(
    rows.length === 0
      ? "no fan-outs"
      : table(["STATE", "FAN-OUT", "EVENTS", "CREATED", "RUNS", "OK", "FAILED", "RUNNING", "QUEUED", "SENT BY"], rows),
  )
  if (page.next !== null) print(`next page: fanfare fanouts list --after ${page.next}`)
}

export async function showFanout(id: string, globals: Globals): Promise<void> {
  const fanout = await call(globals, "fanout", { params: { id } })
  const failures = await call(globals, "fanoutFailures", { params: { id } })
  if (globals.json) {
    printJson({ ...fanout, failures: failures.items })
    return
  }
  print(`${id}  ${fanout.name}${fanout.runId === null ? "" : `  sent by ${fanout.runId}`}`)
  print(`  ${fanoutLine(fanout)}`)
  if (fanout.reason !== null) print(`  ${fanout.state}: ${fanout.reason}`)
  if (fanout.state === "paused") print(`\n${wayOut(id)}`)
  if (failures.items.length === 0) return
  print("")
  print(
    table(
      ["FAILED", "LAST", "CAUSE", "FOR EXAMPLE"],
      failures.items.map((g) => [count(g.count), clock(g.lastAt), g.fingerprint, g.runId]),
    ),
  )
  if (fanout.state !== "paused") print(`\nretry all: fanfare fanouts retry ${id}`)
  if (failures.items.length > 1) print(`retry one cause: fanfare fanouts retry ${id} --group "…"`)
}

export async function retryFanout(
  id: string,
  options: Globals & { readonly group?: string; readonly run?: string; readonly data?: string },
): Promise<void> {
  const body = {
    ...(options.group === undefined ? {} : { fingerprint: options.group }),
    ...(options.run === undefined ? {} : { runId: options.run }),
    ...(options.data === undefined ? {} : { data: parseJson(options.data, "--data") }),
  }
  await follow(await call(options, "fanoutRetry", { params: { id }, body }), options, "set going again")
}

export async function cancelFanout(id: string, globals: Globals): Promise<void> {
  await follow(await call(globals, "fanoutCancel", { params: { id }, body: {} }), globals, "cancelled")
}

export async function pauseFanout(id: string, globals: Globals): Promise<void> {
  const fanout = await call(globals, "fanoutPause", { params: { id }, body: {} })
  if (globals.json) printJson(fanout)
  else print(`${id} stands still, what has begun goes on: ${fanoutLine(fanout)}`)
}

export async function resumeFanout(id: string, globals: Globals): Promise<void> {
  const fanout = await call(globals, "fanoutResume", { params: { id }, body: {} })
  if (globals.json) printJson(fanout)
  else print(`${id} goes on: ${fanoutLine(fanout)}`)
}

/** Waits until the server has done it; it goes on there also when nobody waits. */
export async function follow(begun: Operation, globals: Globals, done: string): Promise<void> {
  let operation = begun
  let said = 0
  while (operation.state === "running") {
    await delay(pollMs)
    operation = await call(globals, "operation", { params: { id: begun.id } })
    if (!globals.json && operation.affected !== said) say(`${count(operation.affected)} runs …`)
    said = operation.affected
  }
  if (globals.json) printJson(operation)
  else print(`${count(operation.affected)} runs ${done}`)
}

import { setTimeout as delay } from "node:timers/promises"
import type { FailureGroup, Operation } from "../core/fanouts.ts"
import type { FanoutSummary, Page } from "../core/views.ts"
import { paths } from "../protocol/api.ts"
import { call } from "./api.ts"
import type { Globals } from "./globals.ts"
import { clock, count, fanoutLine, print, printJson, say, table } from "./output.ts"

const pollMs = 200

export async function listFanouts(options: Globals & { readonly after?: string; readonly limit?: string }): Promise<void> {
  const { after, limit } = options
  const page = await call<Page<FanoutSummary>>(options, paths.fanouts, { query: { after, limit } })
  if (options.json) {
    printJson(page)
    return
  }
  const rows = page.items.map((f) => [
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
      : table(["FAN-OUT", "EVENTS", "CREATED", "RUNS", "OK", "FAILED", "RUNNING", "QUEUED", "SENT BY"], rows),
  )
  if (page.next !== null) print(`next page: fanfare fanouts list --after ${page.next}`)
}

export async function showFanout(id: string, globals: Globals): Promise<void> {
  const fanout = await call<FanoutSummary>(globals, paths.fanout, { params: { id } })
  const failures = await call<{ items: FailureGroup[] }>(globals, paths.fanoutFailures, { params: { id } })
  if (globals.json) {
    printJson({ ...fanout, failures: failures.items })
    return
  }
  print(`${id}  ${fanout.name}${fanout.runId === null ? "" : `  sent by ${fanout.runId}`}`)
  print(`  ${fanoutLine(fanout, Date.now())}`)
  if (failures.items.length === 0) return
  print("")
  print(
    table(
      ["FAILED", "LAST", "CAUSE", "FOR EXAMPLE"],
      failures.items.map((g) => [count(g.count), clock(g.lastAt), g.fingerprint, g.runId]),
    ),
  )
  print(`\nretry all: fanfare fanouts retry ${id}`)
  if (failures.items.length > 1) print(`retry one cause: fanfare fanouts retry ${id} --group "…"`)
}

export async function retryFanout(id: string, options: Globals & { readonly group?: string }): Promise<void> {
  const body = options.group === undefined ? {} : { fingerprint: options.group }
  await follow(await call<Operation>(options, paths.fanoutRetry, { params: { id }, body }), options, "set going again")
}

export async function cancelFanout(id: string, globals: Globals): Promise<void> {
  await follow(await call<Operation>(globals, paths.fanoutCancel, { params: { id }, body: {} }), globals, "cancelled")
}

/** Waits until the server has done it; it goes on there also when nobody waits. */
export async function follow(begun: Operation, globals: Globals, done: string): Promise<void> {
  let operation = begun
  let said = 0
  while (operation.state === "running") {
    await delay(pollMs)
    operation = await call<Operation>(globals, paths.operation, { params: { id: begun.id } })
    if (!globals.json && operation.affected !== said) say(`${count(operation.affected)} runs …`)
    said = operation.affected
  }
  if (globals.json) printJson(operation)
  else print(`${count(operation.affected)} runs ${done}`)
}

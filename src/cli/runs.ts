import { styleText } from "node:util"
import type { FunctionSummary, RunDetail, RunSummary } from "../core/views.ts"
import { printable } from "../server/console.ts"
import { call } from "./api.ts"
import { followFanout, followRun } from "./follow.ts"
import type { Globals } from "./globals.ts"
import { clock, firstLine, print, printJson, span, table } from "./output.ts"

const marks: Readonly<Record<RunSummary["state"], string>> = {
  scheduled: "◷",
  ready: "○",
  running: "◐",
  waiting: "…",
  completed: "✓",
  failed: "✗",
  cancelled: "–",
  skipped: "–",
}

export async function listRuns(
  options: Globals & {
    readonly state?: string
    readonly function?: string
    readonly fanout?: string
    readonly after?: string
    readonly limit?: string
  },
): Promise<void> {
  const { state, function: functionId, fanout, after, limit } = options
  const page = await call(options, "runs", { query: { state, function: functionId, fanout, after, limit } })
  if (options.json) {
    printJson(page)
    return
  }
  if (page.items.length === 0) {
    print("no runs")
    return
  }
  const rows = page.items.map((run) => [
    `${marks[run.state]} ${run.state}`,
    run.id,
    run.functionId,
    String(run.attempt),
    clock(run.createdAt),
    run.endedAt === null ? "" : span(run.endedAt - run.createdAt),
    run.error === null ? (run.reason ?? "") : `${run.error.name}: ${firstLine(run.error.message)}`,
  ])
  print(table(["STATE", "RUN", "FUNCTION", "ATTEMPT", "CREATED", "TOOK", ""], rows))
  if (page.next !== null) print(`next page: fanfare runs list --after ${page.next}`)
}

export async function showRun(id: string, globals: Globals): Promise<void> {
  const run = await call(globals, "run", { params: { id } })
  if (globals.json) printJson(run)
  else print(describeRun(run))
}

export async function watch(id: string, globals: Globals): Promise<void> {
  if (id.startsWith("fan_")) {
    const fanout = await followFanout(id, globals)
    if (fanout.failed > 0 || fanout.state !== "ended") process.exitCode = 1
    return
  }
  const run = await followRun(id, globals)
  if (globals.json) printJson(run)
  else print(describeRun(run))
  if (run.state !== "completed") process.exitCode = 1
}

export async function listFunctions(globals: Globals): Promise<void> {
  const page = await call(globals, "functions")
  if (globals.json) {
    printJson(page)
    return
  }
  const rows = page.items
    .filter(({ active }) => active)
    .map((each) => [
      each.localId,
      each.appId,
      each.triggers
        .map((trigger) => ("cron" in trigger ? `cron ${trigger.cron} (${trigger.timezone})` : `event ${trigger.event}`))
        .join(", ") || "by hand",
      each.schedules.map(({ nextAt }) => (nextAt === null ? "" : new Date(nextAt).toISOString())).join(", "),
      `${each.retries} retries${rulesOf(each)}${each.paused === undefined ? "" : `, paused: new runs are ${each.paused === "keep" ? "kept in line" : "skipped"}`}`,
    ])
  print(rows.length === 0 ? "no functions" : table(["FUNCTION", "APP", "TRIGGERS", "NEXT", ""], rows))
}

/** The rules that say when its runs may start, in a word or two each. */
function rulesOf({ flow }: FunctionSummary): string {
  if (flow === null) return ""
  const { concurrency, ...rest } = flow
  const limits = concurrency.map(({ limit, key }) => `concurrency ${limit}${key === null ? "" : ` per ${key}`}`)
  const others = Object.entries(rest).flatMap(([name, rule]) => (rule === null ? [] : [name]))
  return [...limits, ...others].map((rule) => `, ${rule}`).join("")
}

export async function listNodes(globals: Globals): Promise<void> {
  const page = await call(globals, "nodes")
  if (globals.json) {
    printJson(page)
    return
  }
  const rows = page.items.map((node) => [
    node.alive ? "● alive" : "○ gone",
    node.id,
    `${node.host}:${node.pid}`,
    clock(node.startedAt),
    clock(node.seenAt),
    String(node.leased),
    `${node.functionIds.length}`,
  ])
  print(rows.length === 0 ? "no nodes" : table(["NODE", "ID", "PROCESS", "SINCE", "SEEN", "RUNS", "FUNCTIONS"], rows))
}

function describeRun(run: RunDetail): string {
  const lines = [
    `${marks[run.state]} ${run.id}  ${run.functionId}  ${run.state}${run.reason === null ? "" : ` (${run.reason})`}  attempt ${run.attempt}`,
    `  event    ${run.eventName} ${run.eventId}${run.fanoutId === null ? "" : `  of ${run.fanoutId}`}${run.parentId === null ? "" : `  sent by ${run.parentId}`}`,
    `  data     ${preview(run.data)}`,
  ]
  if (run.traceId !== null) lines.push(`  trace    ${run.traceId}`)
  if (run.dueAt !== null) lines.push(`  due      ${new Date(run.dueAt).toISOString()}`)
  for (const { attempt, endedAt, startedAt, failure } of run.attempts) {
    lines.push(`  attempt ${attempt}  ${clock(startedAt)}  ${span(endedAt - startedAt)}  ${failure.name}: ${firstLine(failure.message)}`)
  }
  for (const step of run.steps) {
    lines.push(`  step     ${step.state.padEnd(9)} ${step.key}  ${preview(step.output ?? step.failure?.message ?? "")}`)
  }
  for (const { at, level, message, fields } of run.logs) {
    lines.push(
      `  log      ${clock(at)} ${level.padEnd(5)} ${firstLine(message)}${fields === null ? "" : ` ${styleText("gray", preview(fields))}`}`,
    )
  }
  if (run.failure !== null)
    lines.push(
      `  ${styleText("red", printable(run.failure.stack ?? `${run.failure.name}: ${run.failure.message}`)).replaceAll("\n", "\n  ")}`,
    )
  if (run.output !== null) lines.push(`  output   ${preview(run.output)}`)
  return lines.join("\n")
}

function preview(text: string): string {
  return printable(text.length <= 200 ? text : `${text.slice(0, 200)}… (${text.length} characters)`)
}

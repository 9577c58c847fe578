import { styleText } from "node:util"
import type { Fact, Listener } from "../engine/telemetry.ts"

export type LogFormat = "pretty" | "json" | "none"

/** Writes what people should see to standard output: log lines of runs, failures, trouble. */
export function consoleListener(format: LogFormat = process.stdout.isTTY ? "pretty" : "json"): Listener | null {
  if (format === "none") return null
  return (fact) => {
    const entry = describe(fact)
    if (entry === null) return
    process.stdout.write(format === "json" ? `${JSON.stringify(entry)}\n` : pretty(entry))
  }
}

interface Entry {
  readonly time: string
  readonly level: "debug" | "info" | "warn" | "error"
  readonly event: string
  readonly message: string
  readonly [field: string]: unknown
}

/** The fact as a log entry; null for what would only be noise: a run that went well needs no line. */
function describe(fact: Fact): Entry | null {
  const time = new Date().toISOString()
  switch (fact.name) {
    case "run.log": {
      const { runId, functionId, line } = fact
      const fields: unknown = line.fields === null ? {} : JSON.parse(line.fields)
      return {
        ...(fields as object),
        time: new Date(line.at).toISOString(),
        level: line.level,
        event: fact.name,
        message: line.message,
        runId,
        functionId,
      }
    }
    case "run.ended": {
      if (fact.state === "completed") return null
      const { runId, functionId, attempt, failure } = fact
      const message = `${functionId} failed for good: ${failure?.name ?? "Error"}: ${failure?.message ?? ""}`
      return { time, level: "error", event: "run.failed", message, runId, functionId, attempt }
    }
    case "run.retrying": {
      const { runId, functionId, attempt, failure } = fact
      const message = `${functionId} will be retried: ${failure.name}: ${failure.message}`
      return { time, level: "warn", event: fact.name, message, runId, functionId, attempt, retryAt: new Date(fact.dueAt).toISOString() }
    }
    case "run.cancelled": {
      const { runId, functionId, reason } = fact
      return { time, level: "warn", event: fact.name, message: `${functionId} was cancelled: ${reason}`, runId, functionId }
    }
    case "agent.failed":
      return {
        time,
        level: "error",
        event: fact.name,
        message: `the ${fact.agent} met an error and tries again: ${String(fact.error)}`,
        agent: fact.agent,
      }
    case "loop.blocked":
      return { time, level: "warn", event: fact.name, message: blocked(fact), ms: fact.ms }
    case "worker.connected":
      return { time, level: "info", event: fact.name, message: `a worker of ${fact.apps.join(", ")} has connected`, apps: fact.apps }
    case "worker.left":
      return { time, level: "info", event: fact.name, message: `a worker of ${fact.apps.join(", ")} is gone`, apps: fact.apps }
    case "worker.refused":
      return { time, level: "warn", event: fact.name, message: `a worker was not let in: ${fact.reason}` }
    case "turn.taken":
    case "tick.decided":
    case "engine.started":
    case "engine.stopped":
    case "events.accepted":
    case "run.superseded":
      return null
    default:
      return fact satisfies never
  }
}

function blocked({ ms, functionIds }: { readonly ms: number; readonly functionIds: readonly string[] }): string {
  return `the event loop was blocked for ${ms} ms; functions under way: ${functionIds.join(", ") || "none"}`
}

const colors = { debug: "gray", info: "cyan", warn: "yellow", error: "red" } as const
const shown = new Set(["time", "level", "event", "message", "runId", "functionId", "apps"])

function pretty(entry: Entry): string {
  const fields = Object.entries(entry).filter(([field]) => !shown.has(field))
  const rest =
    fields.length === 0 ? "" : ` ${styleText("gray", fields.map(([field, value]) => `${field}=${JSON.stringify(value)}`).join(" "))}`
  const run = typeof entry["runId"] === "string" ? ` ${styleText("gray", entry["runId"])}` : ""
  return `${styleText("gray", entry.time.slice(11, 23))} ${styleText(colors[entry.level], entry.level.padEnd(5))} ${printable(entry.message)}${rest}${run}\n`
}

/** Text that comes from anywhere, without the control characters that must not reach a terminal. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are exactly what is removed
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "�")
}

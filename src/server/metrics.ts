import type { Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Backlog } from "../core/views.ts"
import type { Engine } from "../engine/engine.ts"
import type { Reader } from "../store/store.ts"
import type { Identity } from "./identity.ts"
import { type Meters, type SecondsHistogram, secondsBounds } from "./meters.ts"
import { spaced } from "./spaced.ts"
import { version } from "./version.ts"

export interface MetricsParts {
  readonly engine: Pick<Engine, "running" | "nodeId">
  readonly reader: Pick<Reader, "backlog" | "placing">
  readonly meters: Meters
  readonly clock: Pick<Clock, "now">
  /** Live streams that are open. */
  readonly streams: () => number
}

/** What is measured, in the text format of Prometheus, for who may look. */
export function metricsRoute(api: Hono, parts: MetricsParts, identity: Identity): void {
  const backlog = spaced(() => parts.reader.backlog(), parts.clock)
  const orphans = orphanCount(parts.reader)
  api.get(metricsPath, async (c) => {
    if ((await identity.of(c)) === null)
      throw new FanfareError("not_allowed", "metrics are shown to who has a key", { field: "authorization" })
    const text = render(parts, await backlog(), await orphans())
    return c.body(text, 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" })
  })
}

export const metricsPath = "/metrics"

/**
 * Counts runs that do not stand in exactly one place, a part of them at a time: the newest at each look, and all others in turns. What
 * was found stays counted until the next turn has come round.
 */
function orphanCount(reader: MetricsParts["reader"]): () => Promise<{ readonly found: number; readonly looked: number }> {
  let cursor: string | null = null
  let [found, before, looked] = [0, 0, 0]
  return async () => {
    const newest = await reader.placing(null, limits.placingRuns)
    let older = 0
    looked += newest.looked
    cursor ??= newest.next
    if (cursor !== null) {
      const part = await reader.placing(cursor, limits.placingRuns)
      found += part.orphans
      looked += part.looked
      older = found
      cursor = part.next
    }
    const count = newest.orphans + Math.max(older, before)
    if (cursor === null) [before, found] = [found, 0]
    return { found: count, looked }
  }
}

type Labels = Readonly<Record<string, string>>
type Sample = readonly [labels: Labels, value: number]

function render({ engine, meters, streams }: MetricsParts, backlog: Backlog, orphans: { found: number; looked: number }): string {
  const { totals } = meters
  const { counts, functions, timerLateMs, scheduleLateMs } = backlog
  const lateMs = Math.max(timerLateMs, scheduleLateMs, ...functions.map((each) => each.lateMs))
  const byFunction = (value: (each: Backlog["functions"][number]) => number): Sample[] =>
    functions.map((each) => [{ function: each.functionId }, value(each)])
  const named = (label: string, map: ReadonlyMap<string, number>): Sample[] => Array.from(map, ([name, n]) => [{ [label]: name }, n])
  const ended = Array.from(meters.ended, ([id, states]) => Object.entries(states).map(([state, n]): Sample => [{ function: id, state }, n]))
  return [
    metric("fanfare_info", "gauge", "This node.", [[{ version, node: engine.nodeId }, 1]]),
    metric("fanfare_nodes", "gauge", "Nodes that live.", [[{}, backlog.nodes]]),
    metric(
      "fanfare_runs",
      "gauge",
      "Live runs of all nodes by where they stand, each counted up to 10000.",
      Object.entries(counts).map(([state, n]) => [{ state }, n]),
    ),
    metric(
      "fanfare_ready_runs",
      "gauge",
      "Runs in line, counted up to 10000 for each function.",
      byFunction((each) => each.ready),
    ),
    metric(
      "fanfare_ready_oldest_seconds",
      "gauge",
      "How late the run is that has waited longest.",
      byFunction((each) => each.lateMs / 1_000),
    ),
    metric("fanfare_lateness_seconds", "gauge", "How late the latest of all is that is due: runs in line, timers, schedules.", [
      [{}, lateMs / 1_000],
    ]),
    metric("fanfare_orphan_runs", "gauge", "Runs that stand nowhere or in two places. Not 0: run fanfare doctor.", [[{}, orphans.found]]),
    metric("fanfare_orphan_runs_looked_total", "counter", "Runs looked at for this: the newest each time, all others in turns.", [
      [{}, orphans.looked],
    ]),
    metric("fanfare_attempts_running", "gauge", "Attempts under way on this node.", [[{}, engine.running]]),
    metric("fanfare_streams", "gauge", "Live streams open on this node.", [[{}, streams()]]),
    metric("fanfare_events_accepted_total", "counter", "Events accepted by this node.", [[{}, totals.events]]),
    metric("fanfare_runs_claimed_total", "counter", "Runs claimed by this node.", [[{}, totals.claimed]]),
    metric("fanfare_runs_ended_total", "counter", "Runs that ended on this node.", ended.flat()),
    metric("fanfare_retries_total", "counter", "Attempts that failed on this node and are tried again.", named("function", meters.retries)),
    metric("fanfare_attempts_superseded_total", "counter", "Attempts whose claim was taken away.", [[{}, totals.superseded]]),
    metric("fanfare_ticks_total", "counter", "Moments of schedules that this node decided.", named("outcome", meters.ticks)),
    metric(
      "fanfare_agent_failures_total",
      "counter",
      "Errors that an agent of this node met; it tries again.",
      named("agent", meters.agentFailures),
    ),
    metric("fanfare_event_loop_blocked_total", "counter", "Times that code blocked the event loop for a second or more.", [
      [{}, totals.blocked],
    ]),
    ofProcess(meters),
  ].join("")
}

/** How long things took, and how this process is. */
function ofProcess(meters: MetricsParts["meters"]): string {
  const loop = meters.loopDelay()
  const memory = process.memoryUsage()
  const cpu = process.cpuUsage()
  return [
    histogram("fanfare_run_duration_seconds", "How long the last attempts of runs took.", meters.duration),
    histogram("fanfare_start_delay_seconds", "From when runs were due to their first attempt.", meters.delay),
    histogram("fanfare_commit_seconds", "Transactions of this node, with their way to the store's thread and back.", meters.commit),
    metric("fanfare_event_loop_delay_seconds", "gauge", "How late the event loop was since the last look.", [
      [{ quantile: "0.5" }, loop.p50],
      [{ quantile: "0.99" }, loop.p99],
      [{ quantile: "1" }, loop.max],
    ]),
    metric("process_resident_memory_bytes", "gauge", "Memory of this process.", [[{}, memory.rss]]),
    metric("process_cpu_seconds_total", "counter", "Time that this process has computed.", [[{}, (cpu.user + cpu.system) / 1e6]]),
  ].join("")
}

function metric(name: string, type: "gauge" | "counter", help: string, samples: readonly Sample[]): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples.map(([labels, value]) => `${name}${labelled(labels)} ${value}\n`).join("")}`
}

function histogram(name: string, help: string, { counts, sum }: SecondsHistogram): string {
  let below = 0
  const lines = counts.map((n, i) => `${name}_bucket${labelled({ le: String(secondsBounds[i] ?? "+Inf") })} ${(below += n)}\n`)
  return `# HELP ${name} ${help}\n# TYPE ${name} histogram\n${lines.join("")}${name}_sum ${sum}\n${name}_count ${below}\n`
}

function labelled(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`)
  return parts.length === 0 ? "" : `{${parts.join(",")}}`
}

import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Backlog } from "../core/views.ts"
import type { Engine } from "../engine/engine.ts"
import { observe, type Observed, recorder } from "../otel/meter.ts"
import type { Reader } from "../store/store.ts"
import { createMeters, type Meters, type SecondsHistogram, secondsBounds } from "./meters.ts"
import { spaced } from "./spaced.ts"
import { version } from "./version.ts"

export interface MeasuringParts {
  readonly engine: Pick<Engine, "running" | "nodeId" | "telemetry">
  readonly reader: Pick<Reader, "backlog" | "placing">
  readonly clock: Pick<Clock, "now">
}

/** All that metrics are read from, as it was at one moment. */
export interface Look {
  readonly nodeId: string
  readonly running: number
  readonly streams: number
  readonly backlog: Backlog
  readonly orphans: { readonly found: number; readonly looked: number }
  readonly meters: Meters
  readonly loop: ReturnType<Meters["loopDelay"]>
}

/** What is measured here, for Prometheus and for OpenTelemetry. */
export class Measuring {
  readonly meters: Meters
  /** Says how many live streams are open. */
  streams: () => number = () => 0
  readonly #parts: MeasuringParts
  readonly #backlog: () => Promise<Backlog>
  readonly #orphans: () => Promise<Look["orphans"]>
  readonly #stop: () => void

  constructor(parts: MeasuringParts) {
    this.#parts = parts
    this.meters = createMeters(parts.engine.telemetry)
    this.#backlog = spaced(() => parts.reader.backlog(), parts.clock)
    this.#orphans = orphanCount(parts.reader)
    for (const { name, help, of } of histograms) of(this.meters).also = recorder(name, help, secondsBounds)
    // What a process is in itself, OpenTelemetry has instrumentation for.
    const ours = metrics.filter(({ name }) => name.startsWith("fanfare_"))
    this.#stop = observe(ours, () => this.look())
  }

  async look(): Promise<Look> {
    const { engine } = this.#parts
    const [backlog, orphans] = [await this.#backlog(), await this.#orphans()]
    const { meters } = this
    return { nodeId: engine.nodeId, running: engine.running, streams: this.streams(), backlog, orphans, meters, loop: meters.loopDelay() }
  }

  /** OpenTelemetry is told no more. */
  close(): void {
    this.#stop()
  }
}

/**
 * Counts runs that do not stand in exactly one place, a part of them at a time: the newest at each look, and all others in turns. What
 * was found stays counted until the next turn has come round.
 */
function orphanCount(reader: MeasuringParts["reader"]): () => Promise<Look["orphans"]> {
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

type Samples = ReturnType<Metric["read"]>
type Metric = Observed<Look>

function metric(name: string, kind: Metric["kind"], help: string, read: Metric["read"] | ((look: Look) => number)): Metric {
  return {
    name,
    kind,
    help,
    read: (look) => {
      const value = read(look)
      return typeof value === "number" ? [[{}, value]] : value
    },
  }
}

function* byFunction({ backlog }: Look, value: (each: Backlog["functions"][number]) => number): Samples {
  for (const each of backlog.functions) yield [{ function: each.functionId }, value(each)]
}

function* named(label: string, counts: Iterable<readonly [string, number]>): Samples {
  for (const [name, n] of counts) yield [{ [label]: name }, n]
}

function* ended({ meters }: Look): Samples {
  for (const [id, states] of meters.ended) for (const [state, n] of Object.entries(states)) yield [{ function: id, state }, n]
}

function latestMs({ backlog: { timerLateMs, scheduleLateMs, functions } }: Look): number {
  return Math.max(timerLateMs, scheduleLateMs, ...functions.map(({ lateMs }) => lateMs))
}

/** Every gauge and counter, in the order in which they are given. */
export const metrics: readonly Metric[] = [
  metric("fanfare_info", "gauge", "This node.", ({ nodeId }) => [[{ version, node: nodeId }, 1]]),
  metric("fanfare_nodes", "gauge", "Nodes that live.", ({ backlog }) => backlog.nodes),
  metric("fanfare_runs", "gauge", "Live runs of all nodes by where they stand, each counted up to 10000.", ({ backlog }) =>
    named("state", Object.entries(backlog.counts)),
  ),
  metric("fanfare_ready_runs", "gauge", "Runs in line, counted up to 10000 for each function.", (look) =>
    byFunction(look, ({ ready }) => ready),
  ),
  metric("fanfare_ready_oldest_seconds", "gauge", "How late the run is that has waited longest.", (look) =>
    byFunction(look, ({ lateMs }) => lateMs / 1_000),
  ),
  metric(
    "fanfare_lateness_seconds",
    "gauge",
    "How late the latest of all is that is due: runs in line, timers, schedules.",
    (look) => latestMs(look) / 1_000,
  ),
  metric(
    "fanfare_orphan_runs",
    "gauge",
    "Runs that stand nowhere or in two places. Not 0: run fanfare doctor.",
    ({ orphans }) => orphans.found,
  ),
  metric(
    "fanfare_orphan_runs_looked_total",
    "counter",
    "Runs looked at for this: the newest each time, all others in turns.",
    ({ orphans }) => orphans.looked,
  ),
  metric("fanfare_attempts_running", "gauge", "Attempts under way on this node.", ({ running }) => running),
  metric("fanfare_streams", "gauge", "Live streams open on this node.", ({ streams }) => streams),
  metric("fanfare_events_accepted_total", "counter", "Events accepted by this node.", ({ meters }) => meters.totals.events),
  metric("fanfare_runs_claimed_total", "counter", "Runs claimed by this node.", ({ meters }) => meters.totals.claimed),
  metric("fanfare_runs_ended_total", "counter", "Runs that ended on this node.", ended),
  metric("fanfare_retries_total", "counter", "Attempts that failed on this node and are tried again.", ({ meters }) =>
    named("function", meters.retries),
  ),
  metric("fanfare_attempts_superseded_total", "counter", "Attempts whose claim was taken away.", ({ meters }) => meters.totals.superseded),
  metric("fanfare_ticks_total", "counter", "Moments of schedules that this node decided.", ({ meters }) => named("outcome", meters.ticks)),
  metric("fanfare_agent_failures_total", "counter", "Errors that an agent of this node met; it tries again.", ({ meters }) =>
    named("agent", meters.agentFailures),
  ),
  metric(
    "fanfare_event_loop_blocked_total",
    "counter",
    "Times that code blocked the event loop for a second or more.",
    ({ meters }) => meters.totals.blocked,
  ),
  metric("fanfare_event_loop_delay_seconds", "gauge", "How late the event loop was since the last look.", ({ loop }) => [
    [{ quantile: "0.5" }, loop.p50],
    [{ quantile: "0.99" }, loop.p99],
    [{ quantile: "1" }, loop.max],
  ]),
  metric("process_resident_memory_bytes", "gauge", "Memory of this process.", () => process.memoryUsage().rss),
  metric("process_cpu_seconds_total", "counter", "Time that this process has computed.", () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  }),
]

/** How long things took. */
export const histograms: readonly { readonly name: string; readonly help: string; of(meters: Meters): SecondsHistogram }[] = [
  { name: "fanfare_run_duration_seconds", help: "How long the last attempts of runs took.", of: ({ duration }) => duration },
  { name: "fanfare_start_delay_seconds", help: "From when runs were due to their first attempt.", of: ({ delay }) => delay },
  {
    name: "fanfare_commit_seconds",
    help: "Transactions of this node, with their way to the store's thread and back.",
    of: ({ commit }) => commit,
  },
]

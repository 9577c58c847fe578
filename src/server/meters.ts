import { monitorEventLoopDelay } from "node:perf_hooks"
import type { Fact, Telemetry } from "../engine/telemetry.ts"

/** How many took at most so long: of durations in seconds. */
export interface SecondsHistogram {
  /** One count per bound of `secondsBounds`, and one more for what took longer. */
  readonly counts: number[]
  sum: number
  /** Is told of each as well. */
  also: ((seconds: number) => void) | null
}

export const secondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800] as const

interface Ends {
  completed: number
  failed: number
  cancelled: number
}

/** What this node has done since it started, counted from its facts: metrics of any kind are made from it when they are asked for. */
interface Counts {
  /** By function and state. */
  readonly ended: Map<string, Ends>
  /** By function. */
  readonly retries: Map<string, number>
  /** By outcome. */
  readonly ticks: Map<string, number>
  /** By agent. */
  readonly agentFailures: Map<string, number>
  readonly totals: {
    completed: number
    failed: number
    retried: number
    events: number
    claimed: number
    superseded: number
    blocked: number
  }
  readonly duration: SecondsHistogram
  readonly delay: SecondsHistogram
  readonly commit: SecondsHistogram
}

export interface Meters extends Counts {
  /** Seconds by which the event loop was late since the last look. */
  loopDelay(): { readonly p50: number; readonly p99: number; readonly max: number }
}

export function createMeters(telemetry: Telemetry): Meters {
  const counts: Counts = {
    ended: new Map(),
    retries: new Map(),
    ticks: new Map(),
    agentFailures: new Map(),
    totals: { completed: 0, failed: 0, retried: 0, events: 0, claimed: 0, superseded: 0, blocked: 0 },
    duration: emptyHistogram(),
    delay: emptyHistogram(),
    commit: emptyHistogram(),
  }
  telemetry.listen((fact) => count(counts, fact))
  let monitor: ReturnType<typeof monitorEventLoopDelay> | null = null
  return {
    ...counts,
    loopDelay() {
      // It costs a little, so it begins when somebody looks for the first time.
      if (monitor === null) {
        monitor = monitorEventLoopDelay({ resolution: loopResolutionMs })
        monitor.enable()
        return { p50: 0, p99: 0, max: 0 }
      }
      // It measures the time between its own ticks.
      const late = (ns: number): number => Math.max(0, ns / 1e9 - loopResolutionMs / 1e3)
      const delay = { p50: late(monitor.percentile(50)), p99: late(monitor.percentile(99)), max: late(monitor.max) }
      monitor.reset()
      return delay
    },
  }
}

const loopResolutionMs = 20

function count({ totals, ...counts }: Counts, fact: Fact): void {
  switch (fact.name) {
    case "run.ended":
      totals[fact.state]++
      endedOf(counts, fact.functionId)[fact.state]++
      observe(counts.duration, fact.ms)
      if (fact.delayMs !== null) observe(counts.delay, fact.delayMs)
      return
    case "run.cancelled":
      endedOf(counts, fact.functionId).cancelled++
      return
    case "run.retrying":
      totals.retried++
      add(counts.retries, fact.functionId)
      return
    case "run.superseded":
      totals.superseded++
      return
    case "events.accepted":
      totals.events += fact.events
      return
    case "turn.taken":
      totals.claimed += fact.claimed
      if (fact.units > 0) observe(counts.commit, fact.ms)
      return
    case "tick.decided":
      add(counts.ticks, fact.outcome)
      return
    case "agent.failed":
      add(counts.agentFailures, fact.agent)
      return
    case "loop.blocked":
      totals.blocked++
      return
    case "engine.started":
    case "engine.stopped":
    case "run.log":
    case "worker.connected":
    case "worker.left":
    case "worker.refused":
      return
    default:
      fact satisfies never
  }
}

function endedOf({ ended }: Pick<Counts, "ended">, functionId: string): Ends {
  const known = ended.get(functionId)
  if (known !== undefined) return known
  const none = { completed: 0, failed: 0, cancelled: 0 }
  ended.set(functionId, none)
  return none
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}

function emptyHistogram(): SecondsHistogram {
  return { counts: Array.from({ length: secondsBounds.length + 1 }, () => 0), sum: 0, also: null }
}

function observe(histogram: SecondsHistogram, ms: number): void {
  const seconds = ms / 1_000
  histogram.sum += seconds
  histogram.also?.(seconds)
  let place = 0
  while (place < secondsBounds.length && seconds > (secondsBounds[place] ?? 0)) place++
  histogram.counts[place] = (histogram.counts[place] ?? 0) + 1
}

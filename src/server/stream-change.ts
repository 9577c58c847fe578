import { limits } from "../core/limits.ts"
import type { Standing } from "../core/views.ts"
import type { Fact } from "../engine/telemetry.ts"
import type { ChangedIds, StreamChange } from "../protocol/api.ts"

export const nothing: StreamChange = {
  counts: null,
  runs: false,
  functions: [],
  fanouts: [],
  schedules: [],
  registry: false,
  nodes: false,
}

/** For those who may have missed anything. */
export const everything: StreamChange = {
  counts: null,
  runs: true,
  functions: "all",
  fanouts: "all",
  schedules: "all",
  registry: true,
  nodes: true,
}

export function isNothing({ counts, runs, functions, fanouts, schedules, registry, nodes }: StreamChange): boolean {
  return counts === null && !runs && !registry && !nodes && functions.length + fanouts.length + schedules.length === 0
}

/** Two events as one. */
export function merge(earlier: StreamChange, later: StreamChange): StreamChange {
  return {
    counts: later.counts ?? earlier.counts,
    runs: earlier.runs || later.runs,
    functions: both(earlier.functions, later.functions),
    fanouts: both(earlier.fanouts, later.fanouts),
    schedules: both(earlier.schedules, later.schedules),
    registry: earlier.registry || later.registry,
    nodes: earlier.nodes || later.nodes,
  }
}

function both(a: ChangedIds, b: ChangedIds): ChangedIds {
  if (a === "all" || b === "all") return "all"
  return bounded(new Set([...a, ...b]))
}

function bounded(ids: ReadonlySet<string>): ChangedIds {
  return ids.size > limits.streamIds ? "all" : [...ids]
}

/** What is to be told next: thousands of facts a second go into a few sets. */
export class Gathering {
  #runs = false
  #rest = nothing
  readonly #functions = new Set<string>()
  readonly #fanouts = new Set<string>()
  readonly #schedules = new Set<string>()

  /** Whether the fact is about something that people look at. */
  hear(fact: Fact): boolean {
    switch (fact.name) {
      case "run.ended":
      case "run.cancelled":
        add(this.#functions, fact.functionId)
        if (fact.fanoutId !== null) add(this.#fanouts, fact.fanoutId)
        break
      case "run.retrying":
        add(this.#functions, fact.functionId)
        break
      case "events.accepted":
        if (fact.fanoutId !== null) add(this.#fanouts, fact.fanoutId)
        break
      case "tick.decided":
        add(this.#schedules, fact.scheduleId)
        break
      case "turn.taken":
      case "run.log":
      case "run.superseded":
      case "agent.failed":
      case "engine.started":
      case "engine.stopped":
      case "loop.blocked":
      case "worker.connected":
      case "worker.left":
      case "worker.refused":
        return false
      default:
        return fact satisfies never
    }
    this.#runs = true
    return true
  }

  add(change: StreamChange): void {
    this.#rest = merge(this.#rest, change)
  }

  take(): StreamChange {
    const heard = { functions: bounded(this.#functions), fanouts: bounded(this.#fanouts), schedules: bounded(this.#schedules) }
    const taken = merge({ ...nothing, ...heard, runs: this.#runs }, this.#rest)
    for (const ids of [this.#functions, this.#fanouts, this.#schedules]) ids.clear()
    this.#runs = false
    this.#rest = nothing
    return taken
  }
}

/** Beyond the bound only that there are more. */
function add(ids: Set<string>, id: string): void {
  if (ids.size <= limits.streamIds) ids.add(id)
}

/** What has moved between two looks at the store, whichever node moved it. */
export function moved(before: Standing, now: Standing): StreamChange {
  const fanouts = Object.entries(now.fanouts).flatMap(([id, course]) => (before.fanouts[id] === course ? [] : [id]))
  const counts = Object.entries(now.counts).some(([name, n]) => before.counts[name as keyof Standing["counts"]] !== n)
  const runs = counts || now.newestRun !== before.newestRun || now.ended !== before.ended
  return {
    counts: counts ? now.counts : null,
    runs,
    functions: now.ended === before.ended ? [] : "all",
    fanouts: bounded(new Set(fanouts)),
    schedules: now.newestTickAt === before.newestTickAt ? [] : "all",
    registry: now.registry !== before.registry,
    nodes: now.nodes !== before.nodes,
  }
}

import type { Tally } from "../core/activity.ts"
import { bucketOf } from "../core/histogram.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Committer } from "./committer.ts"
import type { Agent } from "./loop.ts"
import type { Fact, Telemetry } from "./telemetry.ts"

const minute = 60_000

interface Counting {
  readonly functionId: string
  readonly at: number
  completed: number
  failed: number
  retried: number
  readonly durations: Record<string, number>
  readonly delays: Record<string, number>
}

export interface TallierParts {
  readonly committer: Pick<Committer, "submit">
  readonly telemetry: Telemetry
  readonly clock: Pick<Clock, "now">
  readonly nodeId: string
  readonly restMs: number
}

/**
 * Counts in memory what ends on this node, and writes the counts of the minute every few seconds, each node its own rows: the runs'
 * own commits pay nothing for it, and no node waits for another.
 */
export function createTallier({ committer, telemetry, clock, nodeId, restMs }: TallierParts): Agent {
  const counting = new Map<string, Counting>()
  const changed = new Set<string>()
  telemetry.listen((fact) => {
    if (fact.name !== "run.ended" && fact.name !== "run.retrying") return
    const at = Math.floor(clock.now() / minute) * minute
    for (const functionId of ["", fact.functionId]) {
      const key = `${at} ${functionId}`
      count(place(counting, key, functionId, at), fact)
      changed.add(key)
    }
  })
  return {
    name: "tallier",
    async tick() {
      const keys = [...changed].slice(0, limits.sweepBatch)
      if (keys.length > 0) {
        const tallies = keys.flatMap((key): Tally[] => {
          const counted = counting.get(key)
          return counted === undefined ? [] : [{ ...counted, durations: { ...counted.durations }, delays: { ...counted.delays }, nodeId }]
        })
        for (const key of keys) changed.delete(key)
        try {
          await committer.submit({ changes: [{ kind: "tally.put", tallies }], guard: null, registry: null })
        } catch (error) {
          for (const key of keys) changed.add(key)
          throw error
        }
      }
      const now = Math.floor(clock.now() / minute) * minute
      for (const [key, { at }] of counting) if (at < now && !changed.has(key)) counting.delete(key)
      return changed.size > 0 ? 0 : restMs
    },
  }
}

function place(counting: Map<string, Counting>, key: string, functionId: string, at: number): Counting {
  const known = counting.get(key)
  if (known !== undefined) return known
  const counts: Counting = { functionId, at, completed: 0, failed: 0, retried: 0, durations: {}, delays: {} }
  counting.set(key, counts)
  return counts
}

function count(counts: Counting, fact: Extract<Fact, { name: "run.ended" | "run.retrying" }>): void {
  if (fact.name === "run.retrying") {
    counts.retried++
    return
  }
  counts[fact.state]++
  add(counts.durations, fact.ms)
  if (fact.delayMs !== null) add(counts.delays, fact.delayMs)
}

function add(histogram: Record<string, number>, ms: number): void {
  const bucket = bucketOf(ms)
  histogram[bucket] = (histogram[bucket] ?? 0) + 1
}

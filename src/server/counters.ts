import type { Telemetry } from "../engine/telemetry.ts"

export interface Counters {
  readonly counts: { completed: number; failed: number; retried: number }
}

/** Counts what ends on this node, from its facts. */
export function createCounters(telemetry: Telemetry): Counters {
  const counts = { completed: 0, failed: 0, retried: 0 }
  telemetry.listen((fact) => {
    if (fact.name === "run.ended") counts[fact.state]++
    else if (fact.name === "run.retrying") counts.retried++
  })
  return { counts }
}

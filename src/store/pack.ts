import type { Change, NewEvent } from "../core/change.ts"
import type { NewRun } from "../core/run.ts"
import { eventValues, runValues, tracedValues } from "./commit-admit.ts"
import { firstLimit, linesOf, newQueueRow, queueValues } from "./queue.ts"

/**
 * Writes out the rows of many new events and runs at once, as far as nothing about them is left to decide: events without a sender's
 * id, and runs that are due. The store's thread then passes texts on instead of taking apart a hundred thousand objects.
 */
export function pack(changes: readonly Change[], now: number): Change[] {
  if (changes.some((change) => change.kind === "event.add" && change.event.key !== null)) return [...changes]
  const rest: Change[] = []
  const events: NewEvent[] = []
  const runs: NewRun[] = []
  for (const change of changes) {
    if (change.kind === "event.add") events.push(change.event)
    else if (change.kind === "run.add" && change.run.dueAt <= now && change.run.entries === undefined) runs.push(change.run)
    else rest.push(change)
  }
  const traced = events.some(({ trace }) => trace != null)
  const free = runs.filter((run) => firstLimit(run) === null)
  const limited = runs.filter((run) => firstLimit(run) !== null)
  if (events.length === 0) return rest
  rest.push({
    kind: "rows.add",
    events: rows(events, traced ? tracedValues : eventValues),
    traced,
    runs: rows(runs, runValues),
    ready: rows(free, (run) => queueValues(newQueueRow(run))),
    limited: rows(limited, (run) => queueValues(newQueueRow(run))),
    lines: [...linesOf(free.map(newQueueRow))],
  })
  return rest
}

function rows<T>(items: readonly T[], values: (item: T) => readonly unknown[]): string {
  return JSON.stringify(items.map(values))
}

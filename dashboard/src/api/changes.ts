import type { ChangedIds, StreamChange } from "../../../src/protocol/api.ts"
import { queryClient } from "./ask.ts"
import type { Route } from "./client.ts"

type Asked = Route | "fanoutCells"

/** What each kind of change may have made old. */
const touched: Readonly<Record<"runs" | "fanouts" | "schedules" | "registry" | "nodes", readonly Asked[]>> = {
  runs: [
    "status",
    "runs",
    "run",
    "runFanouts",
    "runFamily",
    "limits",
    "operations",
    "activity",
    "functionActivity",
    "failures",
    "eventList",
  ],
  fanouts: ["fanouts", "fanout", "fanoutFailures", "fanoutFailureTimes", "fanoutCells"],
  schedules: ["schedules", "schedule", "scheduleTicks", "scheduleNext", "scheduleLoad"],
  registry: ["functions", "limits", "runs"],
  nodes: ["nodes"],
}
/** Answers that cost more, or follow what happens at a distance: asked for less often, and once more when it is quiet. */
const slow: ReadonlySet<Asked> = new Set<Asked>([
  "fanoutFailureTimes",
  "scheduleLoad",
  "runFamily",
  "activity",
  "functionActivity",
  "failures",
  "eventList",
  "fanoutCells",
])
const [gapMs, slowGapMs, afterMs] = [500, 2_000, 3_000]

const waiting = new Map<Asked, ChangedIds>()
const askedAt = new Map<Asked, number>()
let timer: ReturnType<typeof setTimeout> | undefined
let after: ReturnType<typeof setTimeout> | undefined

/** Asks again for what is shown and has changed: each question a few times a second at most, however much changes. */
export function applyChange({ counts, runs, fanouts, schedules, registry, nodes }: StreamChange): void {
  if (runs || counts !== null) for (const route of touched.runs) add(route, "all")
  for (const route of touched.fanouts) add(route, fanouts)
  for (const route of touched.schedules) add(route, schedules)
  if (registry) for (const route of touched.registry) add(route, "all")
  if (nodes) for (const route of touched.nodes) add(route, "all")
  ask()
}

function add(route: Asked, ids: ChangedIds): void {
  if (ids.length === 0) return
  const before = waiting.get(route) ?? []
  waiting.set(route, before === "all" || ids === "all" ? "all" : [...new Set([...before, ...ids])])
}

function ask(): void {
  clearTimeout(timer)
  const now = performance.now()
  let next = Number.POSITIVE_INFINITY
  for (const [route, ids] of waiting) {
    const rest = (askedAt.get(route) ?? Number.NEGATIVE_INFINITY) + (slow.has(route) ? slowGapMs : gapMs) - now
    if (rest > 0) next = Math.min(next, rest)
    else {
      waiting.delete(route)
      askedAt.set(route, now)
      refresh(route, ids)
      if (slow.has(route)) onceMore()
    }
  }
  if (next < Number.POSITIVE_INFINITY) timer = setTimeout(ask, next)
}

/** Counts of minutes are written a little after what they count. */
function onceMore(): void {
  clearTimeout(after)
  after = setTimeout(() => {
    for (const route of slow) refresh(route, "all")
  }, afterMs)
}

function refresh(route: Asked, ids: ChangedIds): void {
  void queryClient.invalidateQueries(
    {
      predicate: ({ queryKey: [asked, which] }) =>
        asked === route && !(route === "runs" && which === "pages") && (ids === "all" || isOneOf(which, ids)),
    },
    // What is on its way is on its way: who changes all the time would never get an answer.
    { cancelRefetch: false },
  )
}

function isOneOf(which: unknown, ids: readonly string[]): boolean {
  const id =
    typeof which === "object" && which !== null && "id" in which
      ? which.id
      : typeof which === "string" && which !== "pages"
        ? which
        : undefined
  return typeof id !== "string" || ids.includes(id)
}

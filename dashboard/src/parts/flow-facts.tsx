import type { ReactNode } from "react"
import type { FunctionSummary } from "../../../src/protocol/views.ts"
import { count, span } from "../format.ts"
import { AtATime } from "./at-a-time.tsx"

type Flow = NonNullable<FunctionSummary["flow"]>
type Told = readonly [name: string, value: ReactNode]

/** By which rules runs of a function start, and how long they may take: those that it has. */
export function flowFacts({ flow, startTimeoutMs, finishTimeoutMs }: FunctionSummary): readonly Told[] {
  const named = (name: string, value: ReactNode): Told[] => (value === null ? [] : [[name, value]])
  return [
    ["At a time", <AtATime key="at a time" rules={flow?.concurrency ?? []} none="no limit of its own" />],
    ...(flow === null ? [] : ruleFacts(flow, named)),
    ...named("Cancelled if it has not begun after", startTimeoutMs === null ? null : length(startTimeoutMs)),
    ...named("Cancelled if it has not ended after", finishTimeoutMs === null ? null : length(finishTimeoutMs)),
  ]
}

function ruleFacts(flow: Flow, named: (name: string, value: ReactNode) => Told[]): readonly Told[] {
  const { throttle, rateLimit, debounce, batch, priority, singleton, idempotency } = flow
  return [
    ...named("Throttle", throttle && by(throttle.key, `${count(throttle.limit)} per ${length(throttle.periodMs)}${burst(throttle.burst)}`)),
    ...named(
      "Rate limit",
      rateLimit && by(rateLimit.key, `${count(rateLimit.limit)} per ${length(rateLimit.periodMs)}, others are skipped`),
    ),
    ...named("Debounce", debounce && by(debounce.key, `${length(debounce.periodMs)} of quiet${most(debounce.timeoutMs)}`)),
    ...named("Batch", batch && by(batch.key, `up to ${count(batch.maxSize)} events or ${length(batch.timeoutMs)}`)),
    ...named("Singleton", singleton && by(singleton.key, singleton.mode === "skip" ? "others are skipped" : "the one before is cancelled")),
    ...named("Priority", priority && <code>{priority}</code>),
    ...named("Once in 24 h", idempotency && by(idempotency, "")),
  ]
}

/** Rules are written in whole seconds. */
const length = (ms: number): string => span(ms).replace(/\.0 s$/, " s")
const burst = (more: number): string => (more === 0 ? "" : `, ${count(more)} more at once`)
const most = (ms: number | null): string => (ms === null ? "" : `, ${length(ms)} at most`)

function by(key: string | null, words: string): ReactNode {
  return (
    <>
      {words}
      {key === null ? null : (
        <span className="faint">
          {words === "" ? "" : " "}per <code>{key}</code>
        </span>
      )}
    </>
  )
}

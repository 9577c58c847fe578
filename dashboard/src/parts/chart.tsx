import type { ReactNode } from "react"
import type { Activity } from "../../../src/protocol/views.ts"
import { absolute, compact, count, shortTime } from "../format.ts"

const width = 1_000
const height = 150
const bottom = 22
const top = 14

/** Runs by how they ended, a bar for each step of time. */
export function OutcomeChart({ activity, now }: { readonly activity: Activity; readonly now: number }): ReactNode {
  const { buckets, stepMs, completed, failed } = activity
  const most = Math.max(1, ...buckets.map((bucket) => bucket.completed + bucket.failed))
  const step = width / buckets.length
  const tall = height - bottom - top
  const y = (n: number): number => (n / most) * tall
  const peak = buckets.find((bucket) => bucket.completed + bucket.failed === most)
  const finding = `${count(completed)} runs completed and ${count(failed)} failed${
    peak === undefined ? "" : `; the most, ${count(most)}, at ${shortTime(peak.at, now)}`
  }.`
  return (
    <svg className="chart" viewBox={`0 0 ${width} ${height}`} role="img" aria-label={finding} preserveAspectRatio="none">
      {buckets.map((bucket, i) => {
        const x = i * step + step * 0.08
        const bad = bucket.failed === 0 ? 0 : Math.max(1.5, y(bucket.failed))
        const good = bucket.completed === 0 ? 0 : Math.max(1.5, y(bucket.completed))
        return (
          <g key={bucket.at}>
            <rect className="fill-failed" x={x} y={top + tall - bad} width={step * 0.84} height={bad} />
            <rect className="fill-completed" x={x} y={top + tall - bad - good} width={step * 0.84} height={good} />
            <rect className="hover" x={i * step} y={top} width={step} height={tall}>
              <title>
                {`${absolute(bucket.at)}, ${stepMs / 60_000} min\n${count(bucket.completed)} completed, ${count(bucket.failed)} failed, ${count(bucket.retried)} retried`}
              </title>
            </rect>
          </g>
        )
      })}
      <line className="axis" x1={0} x2={width} y1={top + tall + 0.5} y2={top + tall + 0.5} />
    </svg>
  )
}

/** The words of a chart stand beside it, so that they are not stretched with it. */
export function ChartFrame({
  activity,
  now,
  children,
}: {
  readonly activity: Activity
  readonly now: number
  readonly children: ReactNode
}): ReactNode {
  const most = Math.max(1, ...activity.buckets.map((bucket) => bucket.completed + bucket.failed))
  const { from, to, completed, failed } = activity
  return (
    <div className="chart-frame">
      {completed + failed === 0 ? <p className="chart-none">No run has ended in this time.</p> : null}
      <span className="chart-most" aria-hidden="true">
        {compact(most)}
      </span>
      <span className="chart-zero" aria-hidden="true">
        0
      </span>
      {children}
      <div className="chart-times" aria-hidden="true">
        <span>{shortTime(from, now)}</span>
        <span>{shortTime((from + to) / 2, now)}</span>
        <span>{shortTime(to, now)}</span>
      </div>
    </div>
  )
}

/** A few bars without words. */
export function Spark({
  counts,
  label,
  bad = false,
}: {
  readonly counts: readonly number[]
  readonly label: string
  readonly bad?: boolean
}): ReactNode {
  const most = Math.max(1, ...counts)
  return (
    <svg className="spark" viewBox={`0 0 ${counts.length * 4} 20`} role="img" aria-label={label} preserveAspectRatio="none">
      {counts.map((n, i) => {
        const tall = n === 0 ? 0.75 : Math.max(2, (n / most) * 20)
        // oxlint-disable-next-line react/no-array-index-key -- a bar is its place
        return (
          <rect
            key={i}
            className={n === 0 ? "fill-queued" : bad ? "fill-failed" : "fill-count"}
            x={i * 4}
            y={20 - tall}
            width={3}
            height={tall}
          />
        )
      })}
    </svg>
  )
}

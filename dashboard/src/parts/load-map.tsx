import type { ReactNode } from "react"
import type { ScheduleLoad } from "../../../src/protocol/views.ts"
import { seldom, useAsk } from "../api/ask.ts"
import { useNow } from "../clock.ts"
import { absolute, compact, count, minuteTime, plural, shortTime } from "../format.ts"
import { zone } from "../settings.ts"

const [width, height] = [960, 90]

/** How many moments of all schedules come in each quarter of the next 24 hours: what is piled up is seen before it hurts. */
export function LoadMap(): ReactNode {
  const load = useAsk("scheduleLoad", {}, { every: seldom })
  zone.use()
  if (load.data === undefined || load.data.next.length === 0) return null
  return (
    <section className="card" aria-label="Next 24 hours">
      <div className="card-head">
        <h2>Next 24 hours</h2>
        <Most load={load.data} />
      </div>
      <Bars load={load.data} />
    </section>
  )
}

function mostOf({ buckets }: ScheduleLoad): ScheduleLoad["buckets"][number] | undefined {
  return buckets.toSorted((a, b) => b.ticks - a.ticks)[0]
}

function Most({ load }: { readonly load: ScheduleLoad }): ReactNode {
  const now = useNow()
  const [sum, most] = [load.buckets.reduce((all, { ticks }) => all + ticks, 0), mostOf(load)]
  const about = load.exact ? "" : "about "
  return (
    <span className="faint">
      {about}
      {plural(sum, "moment")}
      {most === undefined || most.ticks === 0 ? "" : ` · the most, ${about}${count(most.ticks)}, from ${shortTime(most.at, now)}`}
    </span>
  )
}

function Bars({ load }: { readonly load: ScheduleLoad }): ReactNode {
  const now = useNow()
  const { buckets, stepMs, exact } = load
  const most = Math.max(1, mostOf(load)?.ticks ?? 0)
  const step = width / buckets.length
  const about = exact ? "" : "about "
  const finding = buckets
    .filter(({ ticks }) => ticks === most)
    .slice(0, 3)
    .map(({ at }) => shortTime(at, now))
  return (
    <div className="load">
      <span className="load-most faint" aria-hidden="true">
        {compact(most)}
      </span>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        preserveAspectRatio="none"
        aria-label={`Moments by the quarter of an hour; the most, ${about}${count(most)}, from ${finding.join(", ")}.`}
      >
        {buckets.map(({ at, ticks, schedules }, i) => {
          const tall = ticks === 0 ? 1 : Math.max(3, (ticks / most) * height)
          return (
            <g key={at}>
              <rect className={ticks === 0 ? "fill-queued" : "fill-next"} x={i * step} y={height - tall} width={step * 0.8} height={tall} />
              <rect className="hover" x={i * step} y={0} width={step} height={height}>
                <title>{`${absolute(at)}, ${stepMs / 60_000} min\n${about}${plural(ticks, "moment")}${namesOf(schedules, ticks)}`}</title>
              </rect>
            </g>
          )
        })}
      </svg>
      <div className="load-times faint" aria-hidden="true">
        {[0, 24, 48, 72, 95].map((i) => (
          <span key={i}>{minuteTime((buckets[i]?.at ?? 0) + (i === 95 ? stepMs : 0))}</span>
        ))}
      </div>
    </div>
  )
}

function namesOf(schedules: readonly string[], ticks: number): string {
  if (schedules.length === 0) return ""
  return `\n${schedules.join("\n")}${ticks > schedules.length ? "\n…" : ""}`
}

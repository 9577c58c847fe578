import { getRouteApi, Link } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { Schedule, Tick } from "../../../src/protocol/views.ts"
import { often, seldom, useAsk } from "../api/ask.ts"
import { Refused } from "../api/client.ts"
import { useNow } from "../clock.ts"
import { absolute, momentTime, relative, span } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { Copy, Empty } from "../parts/copy.tsx"
import { EventLink, RunLink } from "../parts/links.tsx"
import { Answered } from "../parts/problem.tsx"
import { ScheduleActions } from "../parts/schedule-actions.tsx"
import { NextFire, Rule, Starts, zoneOf } from "../parts/schedule-words.tsx"
import { outcomeWords, Strip, StripLegend } from "../parts/strip.tsx"
import { useZone } from "../parts/time.tsx"
import { Act } from "../parts/act.tsx"
import { type Column, Table } from "../parts/table.tsx"

const route = getRouteApi("/schedules/$id")
const ticksShown = 100

/** One schedule: its rule, the moments to come, and what became of those before. */
export function SchedulePage(): ReactNode {
  const { id } = route.useParams()
  const schedule = useAsk("schedule", { params: { id } }, { every: often })
  const data = schedule.data
  return (
    <Page
      title={id}
      above={{ to: "/schedules", name: "Schedules" }}
      aside={
        <>
          <Copy text={id} label="Copy the schedule's id" />
          {data === undefined || data.pausedAt === null ? null : <span className="badge badge-wait">paused</span>}
        </>
      }
      actions={
        data === undefined ? null : (
          <Act>
            <ScheduleActions schedule={data} />
          </Act>
        )
      }
    >
      {data === undefined && schedule.error instanceof Refused && schedule.error.status === 404 ? (
        <Empty title="There is no such schedule.">
          <p>
            <Link to="/schedules">All schedules</Link>
          </p>
        </Empty>
      ) : (
        <Answered answer={schedule}>{(found) => <Found schedule={found} />}</Answered>
      )}
    </Page>
  )
}

function Found({ schedule }: { readonly schedule: Schedule }): ReactNode {
  return (
    <>
      <Facts schedule={schedule} />
      <div className="columns">
        <Ledger schedule={schedule} />
        <Upcoming schedule={schedule} />
      </div>
    </>
  )
}

function Facts({ schedule }: { readonly schedule: Schedule }): ReactNode {
  const { policies, tag, appId } = schedule
  const facts: readonly (readonly [name: string, value: ReactNode])[] = [
    ["When", <Rule key="rule" schedule={schedule} />],
    ["Starts", <Starts key="starts" schedule={schedule} />],
    ["Next", <NextFire key="next" schedule={schedule} />],
    ["When the one before is not over", overlapWords[policies.overlap]],
    ["Missed moments", missedWords(schedule)],
    ...(policies.jitterMs > 0 ? [["Spread over", span(policies.jitterMs)] as const] : []),
    ...(tag === null ? [] : [["Tag", tag] as const]),
    ["Made", appId === null ? "at run time" : "by a cron trigger"],
  ]
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

const overlapWords: Readonly<Record<Schedule["policies"]["overlap"], string>> = {
  allow: "another starts beside it",
  skip: "the moment passes",
  queue: "one waits",
  cancel: "it is cancelled",
}

function missedWords({ policies: { missed } }: Schedule): string {
  if (missed.take === "none") return "none is caught up"
  if (missed.take === "latest") return "the latest is caught up"
  return `caught up, ${missed.withinMs === null ? "" : `those of the last ${span(missed.withinMs)}, `}at most ${missed.cap}`
}

const columns: readonly Column[] = [["Moment"], ["What became of it", "grow"], ["Decided", "right"], ["Run", "right"]]

function Ledger({ schedule }: { readonly schedule: Schedule }): ReactNode {
  const ticks = useAsk("scheduleTicks", { params: { id: schedule.id }, query: { limit: ticksShown } }, { every: often })
  return (
    <section className="card" aria-label="Past ticks">
      <h2>Past ticks</h2>
      <Answered answer={ticks}>
        {({ items, next }) =>
          items.length === 0 ? (
            <p className="faint">It has had no moment yet.</p>
          ) : (
            <>
              <Strip ticks={items.slice(0, 60)} nextAt={schedule.nextTickAt} />
              <StripLegend />
              <div className="scroll-x">
                <Table columns={columns}>
                  {items.map((tick) => (
                    <TickRow key={tick.at} tick={tick} own={zoneOf(schedule)} />
                  ))}
                </Table>
              </div>
              {next === null ? null : <p className="faint">The newest {ticksShown}; older ones by the API.</p>}
            </>
          )
        }
      </Answered>
    </section>
  )
}

function TickRow({ tick, own }: { readonly tick: Tick; readonly own: string | undefined }): ReactNode {
  const late = tick.decidedAt - tick.at
  const zone = useZone(own)
  return (
    <tr>
      <td className="nowrap" title={absolute(tick.at, zone)}>
        {momentTime(tick.at, zone)}
      </td>
      <td className="grow">
        <span className={`tick tick-${tick.outcome}`} aria-hidden="true" /> {outcomeWords[tick.outcome]}
        {tick.reason === null ? null : <span className="faint"> · {tick.reason}</span>}
      </td>
      <td className="right nowrap">{late < 0 ? "before" : `+${span(late)}`}</td>
      <td className="right nowrap">
        {tick.runId !== null ? (
          <RunLink id={tick.runId} short />
        ) : tick.eventId !== null ? (
          <EventLink id={tick.eventId} />
        ) : (
          <span className="faint">–</span>
        )}
      </td>
    </tr>
  )
}

function Upcoming({ schedule }: { readonly schedule: Schedule }): ReactNode {
  const next = useAsk("scheduleNext", { params: { id: schedule.id }, query: { n: 10 } }, { every: seldom })
  const [own, now] = [zoneOf(schedule), useNow()]
  const zone = useZone(own)
  return (
    <section className="card" aria-label="Next moments">
      <h2>Next moments</h2>
      <Answered answer={next}>
        {({ items }) =>
          items.length === 0 ? (
            <p className="faint">None.</p>
          ) : (
            <ul className="plain">
              {items.map(({ at, firesAt, local, note }) => (
                <li key={at} className="moment">
                  <time dateTime={new Date(firesAt).toISOString()} title={absolute(firesAt, zone)}>
                    {momentTime(firesAt, zone)}
                  </time>
                  <span className="faint">{relative(firesAt, now)}</span>
                  {own === undefined ? null : (
                    <span className="mono faint" title={`On the clocks of ${own}`}>
                      {local}
                    </span>
                  )}
                  {note === null ? null : <span className="state-waiting">{note}</span>}
                </li>
              ))}
            </ul>
          )
        }
      </Answered>
    </section>
  )
}

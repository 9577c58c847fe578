import { useNavigate } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { Schedule } from "../../../src/protocol/views.ts"
import { seldom, useAsk } from "../api/ask.ts"
import { usePages } from "../api/pages.ts"
import { Page } from "../frame/page.tsx"
import { Empty, Sample } from "../parts/copy.tsx"
import { useCursor } from "../parts/cursor.ts"
import { ScheduleLink } from "../parts/links.tsx"
import { LoadMap } from "../parts/load-map.tsx"
import { Paged } from "../parts/paged.tsx"
import { NextFire, Rule } from "../parts/schedule-words.tsx"
import { ScheduleActions } from "../parts/schedule-actions.tsx"
import { Strip, StripLegend } from "../parts/strip.tsx"
import { Act } from "../parts/act.tsx"
import { type Column, Table } from "../parts/table.tsx"

const sample = `fanfare.createFunction(
  { id: "nightly", triggers: [{ cron: "0 3 * * *", timezone: "Europe/Paris" }] },
  async () => { /* … */ },
)`

/** When what fires next, and whether it did. */
export function SchedulesPage(): ReactNode {
  const schedules = usePages("schedules", seldom)
  return (
    <Page title="Schedules">
      <LoadMap />
      <Paged
        pages={schedules}
        empty={
          <Empty title="No schedules yet.">
            <p>
              A function with a cron trigger has one; others are made at run time with <code>fanfare.schedules.upsert()</code>.
            </p>
            <Sample code={sample} label="A function with a cron trigger" />
          </Empty>
        }
      >
        {(items) => <ScheduleRows items={items} />}
      </Paged>
    </Page>
  )
}

const columns: readonly Column[] = [
  ["Schedule"],
  ["When", "wide-only"],
  ["Next"],
  ["Last ticks, newest right", "wide-only"],
  ["Actions", "right wide-only", "heard"],
]

function ScheduleRows({ items }: { readonly items: readonly Schedule[] }): ReactNode {
  const navigate = useNavigate()
  const cursor = useCursor(items.length, "schedule", (row) => void navigate({ to: "/schedules/$id", params: { id: items[row]?.id ?? "" } }))
  return (
    <>
      <Table columns={columns}>
        {items.map((schedule, i) => (
          <Row key={schedule.id} schedule={schedule} marked={i === cursor} />
        ))}
      </Table>
      <StripLegend />
    </>
  )
}

function Row({ schedule, marked }: { readonly schedule: Schedule; readonly marked: boolean }): ReactNode {
  const paused = schedule.pausedAt !== null
  return (
    <tr className={`${marked ? "marked" : ""} ${paused ? "dimmed" : ""}`}>
      <td className="name">
        <ScheduleLink id={schedule.id} />
        {paused ? <span className="badge badge-wait">paused</span> : null}
        <span className="narrow-only">
          <Rule schedule={schedule} />
        </span>
        <span className="narrow-only">
          <RowStrip schedule={schedule} shown={18} />
        </span>
      </td>
      <td className="wide-only">
        <Rule schedule={schedule} />
      </td>
      <td>
        <NextFire schedule={schedule} />
      </td>
      <td className="wide-only">
        <RowStrip schedule={schedule} shown={ticksAsked} />
      </td>
      <td className="right nowrap wide-only">
        <Act>
          <ScheduleActions schedule={schedule} compact />
        </Act>
      </td>
    </tr>
  )
}

const ticksAsked = 36

function RowStrip({ schedule, shown }: { readonly schedule: Schedule; readonly shown: number }): ReactNode {
  const ticks = useAsk("scheduleTicks", { params: { id: schedule.id }, query: { limit: ticksAsked } }, { every: seldom })
  return <Strip ticks={ticks.data?.items.slice(0, shown) ?? []} nextAt={schedule.nextTickAt} />
}

import { useNavigate } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { FunctionActivity, FunctionSummary } from "../../../src/protocol/views.ts"
import { often, seldom, useAsk } from "../api/ask.ts"
import { count, percent, span } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { AtATime } from "../parts/at-a-time.tsx"
import { Spark } from "../parts/chart.tsx"
import { Empty, Sample } from "../parts/copy.tsx"
import { useCursor } from "../parts/cursor.ts"
import { smallestFunction } from "../parts/first-steps.tsx"
import { FunctionLink } from "../parts/links.tsx"
import { Answered } from "../parts/problem.tsx"
import { Triggers } from "../parts/triggers.tsx"
import { type Column, Table } from "../parts/table.tsx"

export function FunctionsPage(): ReactNode {
  const functions = useAsk("functions", {}, { every: seldom })
  const activity = useAsk("functionActivity", {}, { every: often })
  const nodes = useAsk("nodes", {}, { every: seldom })
  const hosted = new Set(nodes.data?.items.filter(({ alive }) => alive).flatMap(({ functionIds }) => functionIds))
  return (
    <Page title="Functions">
      <Answered answer={functions}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="No functions yet.">
              <p>
                Write one into a file and run it with <code>npx fanfare dev app.ts</code>.
              </p>
              <Sample code={smallestFunction} label="The smallest function" />
            </Empty>
          ) : (
            <section className="card">
              <div className="scroll-x">
                <FunctionRows items={items} activity={activity.data?.items ?? []} hosted={nodes.data === undefined ? null : hosted} />
              </div>
            </section>
          )
        }
      </Answered>
    </Page>
  )
}

interface FunctionRowsProps {
  readonly items: readonly FunctionSummary[]
  readonly activity: readonly FunctionActivity[]
  /** Functions whose code a living node has; null while that is not known. */
  readonly hosted: ReadonlySet<string> | null
}

const columns: readonly Column[] = [
  ["Function"],
  ["Triggers", "wide-only triggers"],
  ["Last hour", "wide-only"],
  ["Ended", "right"],
  ["Succeeded", "right"],
  ["p50", "right roomy-only"],
  ["p95", "right"],
  ["At a time", "right roomy-only"],
  ["Retries", "right roomy-only"],
]

function FunctionRows({ items, activity, hosted }: FunctionRowsProps): ReactNode {
  const navigate = useNavigate()
  const byId = new Map(activity.map((each) => [each.functionId, each]))
  const rows = items.toSorted((a, b) => Number(b.active) - Number(a.active))
  const cursor = useCursor(rows.length, "function", (row) => void navigate({ to: "/functions/$id", params: { id: rows[row]?.id ?? "" } }))
  return (
    <Table columns={columns}>
      {rows.map((each, i) => (
        <Row
          key={each.id}
          each={each}
          activity={byId.get(each.id)}
          parked={each.active && hosted !== null && !hosted.has(each.id)}
          marked={i === cursor}
        />
      ))}
    </Table>
  )
}

function Row({
  each,
  activity,
  parked,
  marked,
}: {
  readonly each: FunctionSummary
  readonly activity: FunctionActivity | undefined
  readonly parked: boolean
  readonly marked: boolean
}): ReactNode {
  const ended = activity === undefined ? 0 : activity.completed + activity.failed
  const ms = (value: number | null | undefined): string => (value === null || value === undefined ? "–" : span(value))
  return (
    <tr className={`${marked ? "marked" : ""} ${each.active ? "" : "dimmed"}`}>
      <td className="name">
        <FunctionLink id={each.id} />
        {each.active ? null : <span className="badge">retired</span>}
        {each.paused === undefined ? null : <span className="badge badge-wait">paused</span>}
        {parked ? <span className="badge badge-bad">no node has its code</span> : null}
      </td>
      <td className="wide-only">
        <Triggers each={each} />
      </td>
      <td className="wide-only">
        <Spark counts={activity?.ended ?? Array.from({ length: 30 }, () => 0)} label={`${count(ended)} runs ended in the last hour`} />
      </td>
      <td className="right">{count(ended)}</td>
      <td className="right nowrap">
        {activity === undefined ? (
          "–"
        ) : (
          <span className={activity.failed > 0 ? "state-failed" : ""}>{percent(activity.completed, ended)}</span>
        )}
      </td>
      <td className="right nowrap roomy-only">{ms(activity?.duration.p50)}</td>
      <td className="right nowrap">{ms(activity?.duration.p95)}</td>
      <td className="right roomy-only">
        <AtATime rules={each.flow?.concurrency ?? []} none={<span className="faint">no limit</span>} />
      </td>
      <td className="right roomy-only">{each.retries}</td>
    </tr>
  )
}

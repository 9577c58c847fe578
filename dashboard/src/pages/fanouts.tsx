import { useNavigate } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { FanoutSummary } from "../../../src/protocol/views.ts"
import { often } from "../api/ask.ts"
import { usePages } from "../api/pages.ts"
import { count } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { Bar, endedOf, isOver } from "../parts/bar.tsx"
import { Empty, Sample } from "../parts/copy.tsx"
import { useCursor } from "../parts/cursor.ts"
import { FanoutLink, RunLink } from "../parts/links.tsx"
import { Paged } from "../parts/paged.tsx"
import { Ago } from "../parts/time.tsx"
import { type Column, Table } from "../parts/table.tsx"

const sample = `await fanfare.send(
  users.map((user) => ({ name: "shop/digest.due", data: { user } })),
)`

export function FanoutsPage(): ReactNode {
  const fanouts = usePages("fanouts", often)
  return (
    <Page title="Fan-outs">
      <Paged
        pages={fanouts}
        empty={
          <Empty title="No fan-outs yet.">
            <p>Every send of several events is one: its runs are counted, repaired and cancelled together.</p>
            <Sample code={sample} label="A send of many events" />
          </Empty>
        }
      >
        {(items) => <FanoutTable items={items} />}
      </Paged>
    </Page>
  )
}

/** What a fan-out is up to. */
export function standing(fanout: FanoutSummary): string {
  if (fanout.state === "paused" || fanout.state === "cancelling") return fanout.state
  if (!fanout.sealed) return "still being sent"
  if (!isOver(fanout)) return "under way"
  if (fanout.failed > 0) return "ended with failures"
  return fanout.cancelled > 0 ? "ended, some cancelled" : "completed"
}

const columns: readonly Column[] = [
  ["Events"],
  ["Standing", "wide-only"],
  ["Progress", "grow"],
  ["Ended", "right wide-only"],
  ["Failed", "right wide-only"],
  ["Sent by", "wide-only"],
  ["Started", "right wide-only"],
]

function FanoutTable({ items }: { readonly items: readonly FanoutSummary[] }): ReactNode {
  const navigate = useNavigate()
  const cursor = useCursor(items.length, "fan-out", (row) => void navigate({ to: "/fan-outs/$id", params: { id: items[row]?.id ?? "" } }))
  return (
    <Table columns={columns}>
      {items.map((fanout, i) => (
        <Row key={fanout.id} fanout={fanout} marked={i === cursor} />
      ))}
    </Table>
  )
}

function Row({ fanout, marked }: { readonly fanout: FanoutSummary; readonly marked: boolean }): ReactNode {
  return (
    <tr className={marked ? "marked" : ""}>
      <td className="clip">
        <FanoutLink id={fanout.id} name={fanout.name} />
      </td>
      <td className="wide-only nowrap">{standing(fanout)}</td>
      <td className="grow">
        <Bar fanout={fanout} />
        <span className="narrow-only faint">
          {count(endedOf(fanout))} of {count(fanout.total)}
          {fanout.failed === 0 ? null : <span className="state-failed"> · {count(fanout.failed)} failed</span>}
        </span>
      </td>
      <td className="right nowrap wide-only">
        {count(endedOf(fanout))} / {count(fanout.total)}
      </td>
      <td className="right wide-only">
        {fanout.failed > 0 ? <span className="state-failed">{count(fanout.failed)}</span> : <span className="faint">0</span>}
      </td>
      <td className="wide-only nowrap">
        {fanout.runId === null ? <span className="faint">outside</span> : <RunLink id={fanout.runId} short />}
      </td>
      <td className="right nowrap wide-only">
        <Ago at={fanout.createdAt} />
      </td>
    </tr>
  )
}

import { useNavigate } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { EventSummary } from "../../../src/protocol/views.ts"
import { often } from "../api/ask.ts"
import { usePages } from "../api/pages.ts"
import { Page } from "../frame/page.tsx"
import { Empty, Sample } from "../parts/copy.tsx"
import { useCursor } from "../parts/cursor.ts"
import { EventLink, FanoutLink, RunLink } from "../parts/links.tsx"
import { Paged } from "../parts/paged.tsx"
import { SendEvent } from "../parts/send-event.tsx"
import { Ago } from "../parts/time.tsx"
import { Act } from "../parts/act.tsx"
import { type Column, Table } from "../parts/table.tsx"

const columns: readonly Column[] = [
  ["Event", "grow"],
  ["Id"],
  ["Sender's id", "wide-only"],
  ["Part of", "wide-only"],
  ["Sent by", "wide-only"],
  ["Received", "right"],
]

export function EventsPage(): ReactNode {
  const events = usePages("eventList", often)
  return (
    <Page
      title="Events"
      actions={
        <Act>
          <SendEvent />
        </Act>
      }
    >
      <Paged
        pages={events}
        empty={
          <Empty title="No events yet.">
            <p>Send one from code, from the command line, or with the button above.</p>
            <Sample code={'await fanfare.send({ name: "app/hello", data: { to: "you" } })'} label="A send from code" />
            <Sample code={`npx fanfare send app/hello --data '{"to":"you"}'`} label="A send from the command line" />
          </Empty>
        }
      >
        {(items) => <EventRows items={items} />}
      </Paged>
    </Page>
  )
}

function EventRows({ items }: { readonly items: readonly EventSummary[] }): ReactNode {
  const navigate = useNavigate()
  const cursor = useCursor(items.length, "event", (row) => void navigate({ to: "/events/$id", params: { id: items[row]?.id ?? "" } }))
  return (
    <Table columns={columns}>
      {items.map((event, i) => (
        <Row key={event.id} event={event} marked={i === cursor} />
      ))}
    </Table>
  )
}

function Row({ event, marked }: { readonly event: EventSummary; readonly marked: boolean }): ReactNode {
  return (
    <tr className={marked ? "marked" : ""}>
      <td className="clip grow">
        <EventLink id={event.id} name={event.name} />
      </td>
      <td>
        <EventLink id={event.id} />
      </td>
      <td className="wide-only clip mono" title={event.key ?? ""}>
        {event.key ?? <span className="faint">–</span>}
      </td>
      <td className="wide-only">{event.fanoutId === null ? <span className="faint">–</span> : <FanoutLink id={event.fanoutId} />}</td>
      <td className="wide-only">
        {event.sourceRunId === null ? <span className="faint">outside</span> : <RunLink id={event.sourceRunId} short />}
      </td>
      <td className="right nowrap">
        <Ago at={event.receivedAt} />
      </td>
    </tr>
  )
}

import { getRouteApi, Link } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { EventDetail } from "../../../src/protocol/views.ts"
import { often, useAsk } from "../api/ask.ts"
import { getExact, Refused } from "../api/client.ts"
import { absolute } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { Copy, Empty } from "../parts/copy.tsx"
import { JsonView } from "../parts/json-view.tsx"
import { FanoutLink, RunLink } from "../parts/links.tsx"
import { Answered } from "../parts/problem.tsx"
import { RunRows } from "../parts/run-rows.tsx"
import { Ago } from "../parts/time.tsx"

const route = getRouteApi("/events/$id")
const previewChars = 65_536

/** One event: what it says, and what it started. */
export function EventPage(): ReactNode {
  const { id } = route.useParams()
  const event = useAsk("event", { params: { id }, query: { preview: previewChars } })
  return (
    <Page title={event.data?.name ?? id} above={{ to: "/events", name: "Events" }} aside={<Copy text={id} label="Copy the event's id" />}>
      {event.data === undefined && event.error instanceof Refused && event.error.status === 404 ? (
        <Empty title="There is no such event.">
          <p>
            It may be past its retention. <Link to="/events">Newest events</Link>
          </p>
        </Empty>
      ) : (
        <Answered answer={event}>{(found) => <Found event={found} />}</Answered>
      )}
    </Page>
  )
}

function Found({ event }: { readonly event: EventDetail }): ReactNode {
  return (
    <>
      <dl className="facts">
        <div>
          <dt>Id</dt>
          <dd className="mono">{event.id}</dd>
        </div>
        {event.key === null ? null : (
          <div>
            <dt>Sender's id</dt>
            <dd className="mono">{event.key}</dd>
          </div>
        )}
        <div>
          <dt>Received</dt>
          <dd>
            <Ago at={event.receivedAt} />
          </dd>
        </div>
        {event.ts > event.receivedAt ? (
          <div>
            <dt>Due</dt>
            <dd>{absolute(event.ts)}</dd>
          </div>
        ) : null}
        {event.fanoutId === null ? null : (
          <div>
            <dt>Part of</dt>
            <dd>
              <FanoutLink id={event.fanoutId} />
            </dd>
          </div>
        )}
        <div>
          <dt>Sent by</dt>
          <dd>{event.sourceRunId === null ? "outside of any run" : <RunLink id={event.sourceRunId} short />}</dd>
        </div>
      </dl>
      <div className="columns">
        <section className="card" aria-label="Data">
          <h2>Data</h2>
          <JsonView
            text={event.data}
            chars={event.dataChars}
            label="Data"
            whole={async () => (await getExact("event", { params: { id: event.id } })).data}
          />
        </section>
        <Started id={event.id} />
      </div>
    </>
  )
}

function Started({ id }: { readonly id: string }): ReactNode {
  const runs = useAsk("runs", { query: { event: id } }, { every: often })
  return (
    <section className="card" aria-label="What it started">
      <div className="card-head">
        <h2>What it started</h2>
        <Link to="/runs" search={{ event: id }} className="link">
          As a list
        </Link>
      </div>
      <Answered answer={runs}>
        {({ items }) =>
          items.length === 0 ? (
            <p className="faint">No function hears it, or the condition of its trigger did not hold.</p>
          ) : (
            <RunRows items={items} />
          )
        }
      </Answered>
    </section>
  )
}

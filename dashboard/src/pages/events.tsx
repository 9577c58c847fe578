import { getRouteApi } from "@tanstack/react-router"
import { type ReactNode, useState } from "react"
import { lookAgain, often, seldom, useAsk } from "../api/ask.ts"
import { post } from "../api/client.ts"
import { usePages } from "../api/pages.ts"
import { useShortcuts } from "../frame/keys.ts"
import { Page } from "../frame/page.tsx"
import { notify } from "../notices.ts"
import { Empty, Sample } from "../parts/copy.tsx"
import { Dialog } from "../parts/dialog.tsx"
import { JsonField, problemOf } from "../parts/json-field.tsx"
import { EventLink, FanoutLink, RunLink } from "../parts/links.tsx"
import { Paged } from "../parts/paged.tsx"
import { Ago } from "../parts/time.tsx"

const route = getRouteApi("/events")

export function EventsPage(): ReactNode {
  const events = usePages("events", often)
  return (
    <Page title="Events" actions={<SendEvent />}>
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
        {(items) => (
          <table>
            <thead>
              <tr>
                <th className="grow">Event</th>
                <th>Id</th>
                <th className="wide-only">Sender's id</th>
                <th className="wide-only">Part of</th>
                <th className="wide-only">Sent by</th>
                <th className="right">Received</th>
              </tr>
            </thead>
            <tbody>
              {items.map((event) => (
                <tr key={event.id}>
                  <td className="clip grow">
                    <EventLink id={event.id} name={event.name} />
                  </td>
                  <td>
                    <EventLink id={event.id} />
                  </td>
                  <td className="wide-only clip mono" title={event.key ?? ""}>
                    {event.key ?? <span className="faint">–</span>}
                  </td>
                  <td className="wide-only">
                    {event.fanoutId === null ? <span className="faint">–</span> : <FanoutLink id={event.fanoutId} />}
                  </td>
                  <td className="wide-only">
                    {event.sourceRunId === null ? <span className="faint">outside</span> : <RunLink id={event.sourceRunId} short />}
                  </td>
                  <td className="right nowrap">
                    <Ago at={event.receivedAt} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Paged>
    </Page>
  )
}

function SendEvent(): ReactNode {
  const [open, setOpen] = useState(false)
  useShortcuts([{ keys: "n", does: "send a test event", act: () => setOpen(true) }])
  return (
    <>
      <button type="button" className="button button-main" onClick={() => setOpen(true)}>
        Send an event …
      </button>
      {open ? <SendDialog close={() => setOpen(false)} /> : null}
    </>
  )
}

function SendDialog({ close }: { readonly close: () => void }): ReactNode {
  const navigate = route.useNavigate()
  const functions = useAsk("functions", {}, { every: seldom })
  const [name, setName] = useState("")
  const [text, setText] = useState("{}")
  const heard = [
    ...new Set(functions.data?.items.flatMap(({ triggers }) => triggers.flatMap((trigger) => ("event" in trigger ? [trigger.event] : [])))),
  ]
  const send = async (): Promise<void> => {
    try {
      const { ids } = await post("events", {}, [{ name, data: JSON.parse(text) as unknown }])
      close()
      notify("done", `Sent ${name}.`)
      lookAgain()
      const id = ids[0]
      if (id !== undefined && id.startsWith("evt_")) await navigate({ to: "/events/$id", params: { id } })
    } catch (error) {
      notify("failed", error instanceof Error ? error.message : String(error))
    }
  }
  return (
    <Dialog title="Send an event" close={close}>
      <label className="field">
        Name
        <input list="heard" value={name} placeholder="app/hello" autoComplete="off" onChange={(event) => setName(event.target.value)} />
      </label>
      <datalist id="heard">
        {heard.map((each) => (
          <option key={each} value={each} />
        ))}
      </datalist>
      <JsonField label="Data, a JSON object" text={text} change={setText} />
      <div className="buttons">
        <button type="button" className="button" onClick={close}>
          Leave it
        </button>
        <button type="button" className="button button-main" disabled={name === "" || problemOf(text) !== ""} onClick={() => void send()}>
          Send
        </button>
      </div>
    </Dialog>
  )
}

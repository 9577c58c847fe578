import { useNavigate } from "@tanstack/react-router"
import { type ReactNode, useState } from "react"
import { lookAgain, seldom, useAsk } from "../api/ask.ts"
import { getExact, post } from "../api/client.ts"
import { useShortcuts } from "../frame/keys.ts"
import { notify } from "../notices.ts"
import { Decide, Dialog } from "./dialog.tsx"
import { JsonField, problemOf } from "./json-field.tsx"

/** Events among which one of the same name is looked for, and how much data a field takes. */
const [looked, fieldChars] = [200, 65_536]

/** Sends an event, for a test or by hand. */
export function SendEvent(): ReactNode {
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
  const navigate = useNavigate()
  const functions = useAsk("functions", {}, { every: seldom })
  const [name, setName] = useState("")
  const [text, setText] = useState("{}")
  const heard = [
    ...new Set(functions.data?.items.flatMap(({ triggers }) => triggers.flatMap((trigger) => ("event" in trigger ? [trigger.event] : [])))),
  ]
  const newest = useAsk("eventList", { query: { limit: looked } })
  const before = newest.data?.items.find((event) => event.name === name)
  const take = async (id: string): Promise<void> => {
    const { data } = await getExact("event", { params: { id } })
    if (data.length <= fieldChars) setText(data)
  }
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
      {before === undefined ? null : (
        <p>
          <button type="button" className="link" onClick={() => void take(before.id)}>
            Take the data of the last one
          </button>
        </p>
      )}
      <JsonField label="Data, a JSON object" text={text} change={setText} />
      <Decide act="Send" perform={() => void send()} close={close} possible={name !== "" && problemOf(text) === ""} />
    </Dialog>
  )
}

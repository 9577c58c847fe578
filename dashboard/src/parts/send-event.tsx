import { useNavigate } from "@tanstack/react-router"
import { type ReactNode, useEffect, useState } from "react"
import { lookAgain, seldom, useAsk } from "../api/ask.ts"
import { getExact, post } from "../api/client.ts"
import { useShortcuts } from "../frame/keys.ts"
import { notify } from "../notices.ts"
import { Decide, Dialog } from "./dialog.tsx"
import { JsonField, problemOf } from "./json-field.tsx"
import { type Field, fieldsOf, filledOf, problemsOf, type Schema, type Texts, typedOf } from "./schema-fields.ts"
import { SchemaForm } from "./schema-form.tsx"

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
  const [name, setName] = useState("")
  const heard = useHeard()
  const known = useKnown(name, heard.includes(name))
  const send = async (text: string): Promise<void> => {
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
      {/* What was typed for one name is not for another that has its own data. */}
      <Data key={known === null ? "" : known.name} name={name} known={known} close={close} send={send} />
    </Dialog>
  )
}

function useHeard(): readonly string[] {
  const functions = useAsk("functions", {}, { every: seldom })
  const triggers = functions.data?.items.flatMap((each) => each.triggers) ?? []
  return [...new Set(triggers.flatMap((trigger) => ("event" in trigger ? [trigger.event] : [])))]
}

/** What is known of the data of an event of this name. */
interface Known {
  readonly name: string
  readonly schema: Schema | null
  /** JSON of the last one's data; null when there was none lately. */
  readonly last: string | null
}

/** Asked exactly: what is shown of a schema or of data is sent back. Null until it is known. */
function useKnown(name: string, heard: boolean): Known | null {
  const newest = useAsk("eventList", { query: { limit: looked } })
  const before = newest.data?.items.find((event) => event.name === name)?.id
  const [known, setKnown] = useState<Known | null>(null)
  const wanted = name !== "" && (heard || before !== undefined)
  useEffect(() => {
    if (!wanted) return undefined
    let dropped = false
    const find = async (): Promise<void> => {
      const [{ schema }, last] = await Promise.all([
        getExact("eventSchema", { query: { name } }),
        before === undefined ? null : getExact("event", { params: { id: before } }),
      ])
      const data = last === null || last.data.length > fieldChars ? null : last.data
      if (!dropped) setKnown({ name, schema, last: data })
    }
    find().catch(() => undefined)
    return () => {
      dropped = true
    }
  }, [wanted, name, before])
  return wanted && known?.name === name ? known : null
}

interface DataProps {
  readonly name: string
  readonly known: Known | null
  readonly close: () => void
  readonly send: (text: string) => Promise<void>
}

/** The data: field by field where a schema says what it looks like, else as JSON; it begins as the last one was. */
function Data({ name, known, close, send }: DataProps): ReactNode {
  const { schema, last } = known ?? { schema: null, last: null }
  const fields = schema === null ? [] : fieldsOf(schema)
  const [asJson, setAsJson] = useState(fields.length === 0)
  const [text, setText] = useState(last ?? "{}")
  const form = useForm(schema, fields, last)
  const turn = (): void => {
    if (!asJson) setText(JSON.stringify(form.filled.data, null, 2))
    else if (problemOf(text) === "") form.fill(JSON.parse(text) as Schema)
    setAsJson(!asJson)
  }
  const submit = async (): Promise<void> => {
    if (asJson) await send(text)
    else if (await form.check()) await send(JSON.stringify(form.filled.data))
  }
  return (
    <>
      {asJson ? (
        <JsonField label="Data, a JSON object" text={text} change={setText} />
      ) : (
        <SchemaForm fields={fields} texts={form.texts} problems={form.problems} change={form.change} />
      )}
      {fields.length === 0 ? null : (
        <p>
          <button type="button" className="link" onClick={turn} disabled={asJson && problemOf(text) !== ""}>
            {asJson ? "Field by field" : "As JSON"}
          </button>
        </p>
      )}
      <Decide act="Send" perform={() => void submit()} close={close} possible={name !== "" && (!asJson || problemOf(text) === "")} />
    </>
  )
}

interface Form {
  readonly texts: Texts
  readonly problems: Texts
  readonly filled: ReturnType<typeof filledOf>
  change(name: string, text: string): void
  fill(data: Schema): void
  /** Whether the schema finds nothing wrong; shows what it does. */
  check(): Promise<boolean>
}

function useForm(schema: Schema | null, fields: readonly Field[], last: string | null): Form {
  const begin = (data: Schema): Texts => typedOf(fields, data)
  const [texts, setTexts] = useState(() => begin(last === null ? {} : (JSON.parse(last) as Schema)))
  const [problems, setProblems] = useState<Texts>(new Map())
  const filled = filledOf(fields, texts)
  return {
    texts,
    problems,
    filled,
    change(name, text) {
      setTexts(new Map([...texts, [name, text]]))
      // What is being put right is looked at again when it is sent.
      setProblems(new Map([...problems, [name, ""]]))
    },
    fill: (data) => setTexts(begin(data)),
    async check() {
      const found = filled.problems.size > 0 || schema === null ? filled.problems : await wrongIn(schema, filled.data, fields)
      setProblems(found)
      return found.size === 0
    },
  }
}

/** What checks data is loaded when there is something to check. */
async function wrongIn(schema: Schema, data: Schema, fields: readonly Field[]): Promise<Texts> {
  const { Validator } = await import("@cfworker/json-schema")
  try {
    return problemsOf(new Validator(schema, "2020-12", false).validate(data).errors, fields)
  } catch {
    // A schema that it cannot follow: the function says what is wrong.
    return new Map()
  }
}

import { useNavigate } from "@tanstack/react-router"
import { type ReactNode, useState } from "react"
import type { RunDetail } from "../../../src/protocol/views.ts"
import { address, post } from "../api/client.ts"
import { useShortcuts } from "../frame/keys.ts"
import { perform } from "../operations.ts"
import { Confirm, Decide, Dialog } from "./dialog.tsx"
import { JsonField, problemOf } from "./json-field.tsx"

/** What can be done to a run. */
export function RunActions({ run }: { readonly run: RunDetail }): ReactNode {
  const [open, setOpen] = useState<"cancel" | "replay" | null>(null)
  const { id, state, endedAt } = run
  const again = state === "failed" || state === "cancelled"
  const retry = (): void => {
    if (!again) return
    void perform(
      () => post("runRetry", { id }, {}),
      () => "It goes on where it stopped.",
    )
  }
  const cancel = (): void => {
    if (endedAt === null) setOpen("cancel")
  }
  useShortcuts([
    { keys: "r", does: "retry the run where it stopped", act: retry },
    { keys: "e", does: "run it again, perhaps with other data", act: () => setOpen("replay") },
    { keys: "c", does: "cancel the run", act: cancel },
  ])
  return (
    <>
      {endedAt === null ? (
        <button type="button" className="button" onClick={cancel}>
          Cancel …
        </button>
      ) : null}
      {again ? (
        <button type="button" className="button button-main" onClick={retry}>
          Retry
        </button>
      ) : null}
      <button type="button" className={again ? "button" : "button button-main"} onClick={() => setOpen("replay")}>
        Run again …
      </button>
      <a className="button wide-only" href={address("run", { params: { id } })}>
        JSON
      </a>
      {open === "cancel" ? (
        <Confirm
          title="Cancel this run?"
          text="No step of it begins any more. Code that is running hears of it by its signal."
          act="Cancel it"
          perform={() =>
            void perform(
              () => post("runCancel", { id }, {}),
              ({ cancelled }) => (cancelled ? "Cancelled." : "It had ended before."),
            )
          }
          close={() => setOpen(null)}
        />
      ) : null}
      {open === "replay" ? <Replay run={run} close={() => setOpen(null)} /> : null}
    </>
  )
}

function Replay({ run, close }: { readonly run: RunDetail; readonly close: () => void }): ReactNode {
  const navigate = useNavigate()
  const whole = run.data.length === run.dataChars
  const [text, setText] = useState(whole ? run.data : "{}")
  const [other, setOther] = useState(false)
  const [fromStep, setFromStep] = useState("")
  const done = run.steps.filter(({ state }) => state === "completed" || state === "failed").map(({ key }) => key)
  const replay = async (): Promise<void> => {
    close()
    const body = { ...(other ? { data: JSON.parse(text) as unknown } : {}), ...(fromStep === "" ? {} : { fromStep }) }
    const started = await perform(
      () => post("runReplay", { id: run.id }, body),
      () => "Started a new run.",
    )
    if (started !== null) await navigate({ to: "/runs/$id", params: { id: started.runId } })
  }
  return (
    <Dialog title="Run it again" close={close}>
      <p>A new run of the same function; this one stays as it is.</p>
      {done.length === 0 ? null : (
        <label className="field">
          Begin at
          <select value={fromStep} onChange={(event) => setFromStep(event.target.value)}>
            <option value="">the beginning: every step is done anew</option>
            {done.map((key) => (
              <option key={key} value={key}>
                {`${key}: results of the steps before are kept`}
              </option>
            ))}
          </select>
        </label>
      )}
      <label>
        <input type="checkbox" checked={other} onChange={(event) => setOther(event.target.checked)} /> With other data
      </label>
      {other ? <JsonField label="Data of the event, a JSON object" text={text} change={setText} /> : null}
      <Decide act="Run again" perform={() => void replay()} close={close} possible={!other || problemOf(text) === ""} />
    </Dialog>
  )
}

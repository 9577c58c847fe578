import { useNavigate } from "@tanstack/react-router"
import { type ReactNode, useState } from "react"
import type { FunctionSummary } from "../../../src/protocol/views.ts"
import { post } from "../api/client.ts"
import { useShortcuts } from "../frame/keys.ts"
import { perform, runNow } from "../operations.ts"
import { Decide, Dialog } from "./dialog.tsx"
import { JsonField, problemOf } from "./json-field.tsx"

/** What can be done to a function: start it, hold it, let it go on. */
export function FunctionActions({ each }: { readonly each: FunctionSummary }): ReactNode {
  const { id, paused, active } = each
  const [open, setOpen] = useState<"run" | "pause" | null>(null)
  const resume = (): Promise<unknown> =>
    perform(
      () => post("functionResume", { id }, {}),
      () => `${id} goes on.`,
    )
  const hold = (): void => {
    if (paused === undefined) setOpen("pause")
    else void resume()
  }
  useShortcuts([
    { keys: "n", does: "run it now", act: () => active && setOpen("run") },
    { keys: "p", does: "pause it, or let it go on", act: hold },
  ])
  const close = (): void => setOpen(null)
  return (
    <>
      <button type="button" className="button" onClick={hold}>
        {paused === undefined ? "Pause …" : "Resume"}
      </button>
      {active ? (
        <button type="button" className="button button-main" onClick={() => setOpen("run")}>
          Run now …
        </button>
      ) : null}
      {open === "run" ? <RunNow each={each} close={close} /> : null}
      {open === "pause" ? <Pause id={id} close={close} /> : null}
    </>
  )
}

function RunNow({ each, close }: { readonly each: FunctionSummary; readonly close: () => void }): ReactNode {
  const navigate = useNavigate()
  const [text, setText] = useState("{}")
  const start = async (): Promise<void> => {
    close()
    const id = await runNow(each.id, JSON.parse(text))
    if (id !== null) await navigate({ to: "/runs/$id", params: { id } })
  }
  return (
    <Dialog title={`Run ${each.id} now`} close={close}>
      <JsonField label="Data of its event, a JSON object" text={text} change={setText} />
      <Decide act="Run" perform={() => void start()} close={close} possible={problemOf(text) === ""} />
    </Dialog>
  )
}

const policies = [
  ["keep", "wait in line, and start when it goes on"],
  ["skip", "are recorded as skipped"],
] as const

function Pause({ id, close }: { readonly id: string; readonly close: () => void }): ReactNode {
  const [newRuns, setNewRuns] = useState<"keep" | "skip">("keep")
  const pause = async (): Promise<void> => {
    close()
    await perform(
      () => post("functionPause", { id }, { newRuns }),
      () => `${id} is paused.`,
    )
  }
  return (
    <Dialog title={`Pause ${id}?`} close={close}>
      <p>Its runs that have not started stay where they are until somebody resumes it. What is running goes on.</p>
      <fieldset className="choices choices-down">
        <legend>New runs, meanwhile</legend>
        {policies.map(([policy, words]) => (
          <label key={policy}>
            <input type="radio" name="new-runs" checked={newRuns === policy} onChange={() => setNewRuns(policy)} /> {words}
          </label>
        ))}
      </fieldset>
      <Decide act="Pause" perform={() => void pause()} close={close} />
    </Dialog>
  )
}

import { type ReactNode, useState } from "react"
import type { Schedule } from "../../../src/protocol/views.ts"
import { post } from "../api/client.ts"
import { plural, visible } from "../format.ts"
import { perform } from "../operations.ts"
import { Backfill } from "./backfill.tsx"
import { Decide, Dialog } from "./dialog.tsx"

/** What can be done to a schedule. */
export function ScheduleActions({ schedule, compact = false }: { readonly schedule: Schedule; readonly compact?: boolean }): ReactNode {
  const [open, setOpen] = useState<"pause" | "backfill" | null>(null)
  const { id, pausedAt } = schedule
  const name = visible(id)
  const resume = (): Promise<unknown> =>
    perform(
      () => post("scheduleResume", { id }, {}),
      () => `${name} goes on.`,
    )
  const run = (): Promise<unknown> =>
    perform(
      () => post("scheduleRun", { id }, {}),
      ({ runIds }) => `Started ${plural(runIds.length, "run")}.`,
    )
  return (
    <span className="actions">
      <button type="button" className="button" aria-label={`Run now: ${name}`} onClick={() => void run()}>
        Run now
      </button>
      {pausedAt === null ? (
        <button type="button" className="button" aria-label={`Pause ${name}`} onClick={() => setOpen("pause")}>
          Pause …
        </button>
      ) : (
        <button type="button" className="button" aria-label={`Resume ${name}`} onClick={() => void resume()}>
          Resume
        </button>
      )}
      {compact ? null : (
        <button type="button" className="button" onClick={() => setOpen("backfill")}>
          Backfill …
        </button>
      )}
      {open === "pause" ? <Pause id={id} close={() => setOpen(null)} /> : null}
      {open === "backfill" ? <Backfill id={id} close={() => setOpen(null)} /> : null}
    </span>
  )
}

interface ActionProps {
  readonly id: string
  readonly close: () => void
}

function Pause({ id, close }: ActionProps): ReactNode {
  const [note, setNote] = useState("")
  const pause = async (): Promise<void> => {
    close()
    await perform(
      () => post("schedulePause", { id }, note === "" ? {} : { note }),
      () => `${visible(id)} is paused.`,
    )
  }
  return (
    <Dialog title={`Pause ${visible(id)}?`} close={close}>
      <p>Its moments pass and are recorded as paused until somebody resumes it.</p>
      <label className="field">
        Why, for whoever finds it paused
        <input value={note} maxLength={256} onChange={(event) => setNote(event.target.value)} />
      </label>
      <Decide act="Pause" perform={() => void pause()} close={close} />
    </Dialog>
  )
}

import { type ReactNode, useState } from "react"
import type { BackfillResult } from "../../../src/protocol/views.ts"
import { post } from "../api/client.ts"
import { now } from "../clock.ts"
import { plural, visible } from "../format.ts"
import { perform } from "../operations.ts"
import { Decide, Dialog } from "./dialog.tsx"

const day = 86_400_000

/** A stretch of time, as its two fields have it; they know no zone: ours is UTC. */
interface Stretch {
  readonly from: string
  readonly to: string
}

/** Starts past moments of a schedule, after it was said how many they are. */
export function Backfill({ id, close }: { readonly id: string; readonly close: () => void }): ReactNode {
  const [stretch, setStretch] = useState<Stretch>(() => ({ from: fieldOf(now() - day), to: fieldOf(now()) }))
  const [queue, setQueue] = useState(true)
  const [counted, setCounted] = useState<BackfillResult | null>(null)
  const [problem, setProblem] = useState("")
  const [from, to] = [Date.parse(`${stretch.from}Z`), Date.parse(`${stretch.to}Z`)]
  const body = { from, to, overlap: queue ? "queue" : "allow" } as const
  const count = async (): Promise<void> => {
    try {
      setCounted(await post("scheduleBackfill", { id }, { ...body, dryRun: true }))
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    }
  }
  const backfill = async (): Promise<void> => {
    close()
    await perform(
      () => post("scheduleBackfill", { id }, body),
      ({ started, known }) => `${plural(started, "moment")} started; ${plural(known, "moment")} in the ledger before.`,
    )
  }
  const change = (next: Stretch): void => {
    setStretch(next)
    setCounted(null)
    setProblem("")
  }
  return (
    <Dialog title={`Backfill ${visible(id)}`} close={close}>
      <p>Starts the moments of a stretch of time that are not in the ledger. Those that are there are left as they are.</p>
      <Fields stretch={stretch} change={change} />
      <label>
        <input type="checkbox" checked={queue} onChange={(event) => setQueue(event.target.checked)} /> One after the other
      </label>
      <p role="status" className={problem === "" ? "" : "field-problem"}>
        {problem}
        {counted === null ? null : <Counted counted={counted} />}
      </p>
      <Decide
        act={counted === null ? "Count the moments" : `Start ${plural(counted.started, "moment")}`}
        perform={() => void (counted === null ? count() : backfill())}
        close={close}
        possible={counted === null ? from < to : counted.started > 0}
      />
    </Dialog>
  )
}

function Fields({ stretch, change }: { readonly stretch: Stretch; readonly change: (stretch: Stretch) => void }): ReactNode {
  return (
    <>
      <label className="field">
        From (UTC)
        <input type="datetime-local" value={stretch.from} onChange={(event) => change({ ...stretch, from: event.target.value })} />
      </label>
      <label className="field">
        To (UTC)
        <input type="datetime-local" value={stretch.to} onChange={(event) => change({ ...stretch, to: event.target.value })} />
      </label>
    </>
  )
}

function Counted({ counted: { started, known } }: { readonly counted: BackfillResult }): ReactNode {
  return (
    <>
      <strong>{plural(started, "moment")}</strong> would start
      {known === 0 ? "" : `; ${plural(known, "moment is", "moments are")} in the ledger already`}.
    </>
  )
}

function fieldOf(at: number): string {
  return new Date(at).toISOString().slice(0, 16)
}

import { type ReactNode, useEffect, useState } from "react"
import type { BulkFilter, FailureCause } from "../../../src/protocol/views.ts"
import { post } from "../api/client.ts"
import { count, plural, visible } from "../format.ts"
import { bulk } from "../operations.ts"
import { Decide, Dialog } from "./dialog.tsx"
import { readFingerprint } from "./failure-rows.tsx"

/** Retries what has failed of one cause, of one function or, where others fail alike, of all; says first how many runs that is. */
export function RetryCause({ cause, alike }: { readonly cause: FailureCause; readonly alike: number }): ReactNode {
  const [open, setOpen] = useState(false)
  const { name } = readFingerprint(visible(cause.fingerprint))
  return (
    <>
      <button type="button" className="button" aria-label={`Retry ${name} of ${cause.functionId}`} onClick={() => setOpen(true)}>
        Retry …
      </button>
      {open ? (
        <Retry
          title={`Retry what failed with ${name}`}
          filter={{ state: "failed", fingerprint: cause.fingerprint }}
          functionId={cause.functionId}
          others={alike - 1}
          close={() => setOpen(false)}
        />
      ) : null}
    </>
  )
}

/** Retries all that has failed. */
export function RetryAll(): ReactNode {
  const [open, setOpen] = useState(false)
  return (
    <>
      <button type="button" className="button" onClick={() => setOpen(true)}>
        Retry all …
      </button>
      {open ? <Retry title="Retry all that has failed" filter={{ state: "failed" }} others={0} close={() => setOpen(false)} /> : null}
    </>
  )
}

interface RetryProps {
  readonly title: string
  readonly filter: BulkFilter
  /** Only of this one, unless all are wanted. */
  readonly functionId?: string
  /** Other functions in which runs failed alike. */
  readonly others: number
  readonly close: () => void
}

function Retry({ title, filter: given, functionId, others, close }: RetryProps): ReactNode {
  const [everywhere, setEverywhere] = useState(false)
  const filter: BulkFilter = everywhere || functionId === undefined ? given : { ...given, functionId }
  const asked = JSON.stringify(filter)
  const [counted, setCounted] = useState<{ readonly asked: string; readonly runs: number } | null>(null)
  const [problem, setProblem] = useState("")
  useEffect(() => {
    post("runsCount", {}, JSON.parse(asked)).then(
      ({ count: runs }) => setCounted({ asked, runs }),
      (error: unknown) => setProblem(error instanceof Error ? error.message : String(error)),
    )
  }, [asked])
  const runs = counted?.asked === asked ? counted.runs : null
  return (
    <Dialog title={title} close={close}>
      <p>
        {functionId === undefined || everywhere ? "In all functions" : <>In {functionId}</>}, as it stands when you say so: what fails after
        that is left alone. Finished steps are kept, failed ones are done anew.
      </p>
      {others > 0 ? (
        <label>
          <input type="checkbox" checked={everywhere} onChange={(event) => setEverywhere(event.target.checked)} /> Also in{" "}
          {plural(others, "other function")} where runs failed alike
        </label>
      ) : null}
      <p role="status" className={problem === "" ? "" : "field-problem"}>
        {problem === "" ? runs === null ? "Counting …" : <strong>{plural(runs, "failed run")}</strong> : problem}
      </p>
      <Decide
        act={`Retry ${runs === null ? "" : count(runs)}`}
        perform={() => {
          close()
          void bulk("retry", filter, runs ?? 0)
        }}
        close={close}
        possible={runs !== null && runs > 0}
      />
    </Dialog>
  )
}

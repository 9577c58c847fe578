import { type ReactNode, useState } from "react"
import type { BulkFilter, BulkKind } from "../../../src/protocol/views.ts"
import { post } from "../api/client.ts"
import { count, plural } from "../format.ts"
import { notify } from "../notices.ts"
import { bulk } from "../operations.ts"
import type { RunSearch } from "../search.ts"
import { Confirm } from "./dialog.tsx"

const words: Readonly<Record<BulkKind, { readonly act: string; readonly all: string; readonly text: string }>> = {
  retry: { act: "Retry", all: "Retry all", text: "They run again: finished steps are kept, failed ones are done anew." },
  cancel: { act: "Cancel", all: "Cancel all", text: "They are cancelled for good, wherever they stand." },
  replay: { act: "Run again", all: "Run all again", text: "Each is started anew as a new run; these stay as they are." },
}

/** What can be done to all runs of a state at once. */
function kindsOf(state: RunSearch["state"]): readonly BulkKind[] {
  if (state === undefined) return []
  if (state === "failed" || state === "cancelled") return ["retry", "replay"]
  return state === "completed" || state === "skipped" ? ["replay"] : ["cancel"]
}

interface Asked {
  readonly kind: BulkKind
  readonly filter: BulkFilter
  readonly runs: number
}

/**
 * Does something to all runs that the filter means, after it has said how many that are. The server takes them as they are when it is
 * told: what comes later is not touched.
 */
export function Bulk({ search }: { readonly search: RunSearch }): ReactNode {
  const [asked, setAsked] = useState<Asked | null>(null)
  // The API means runs by function, fan-out and state.
  const kinds = search.event === undefined ? kindsOf(search.state) : []
  const ask = async (kind: BulkKind): Promise<void> => {
    const { state, function: functionId, fanout: fanoutId } = search
    const filter = {
      ...(state === undefined ? {} : { state }),
      ...(functionId === undefined ? {} : { functionId }),
      ...(fanoutId === undefined ? {} : { fanoutId }),
    }
    try {
      setAsked({ kind, filter, runs: (await post("runsCount", {}, filter)).count })
    } catch (error) {
      notify("failed", error instanceof Error ? error.message : String(error))
    }
  }
  return (
    <>
      {kinds.map((kind) => (
        <button key={kind} type="button" className="button" onClick={() => void ask(kind)}>
          {words[kind].all} …
        </button>
      ))}
      {asked === null ? null : (
        <Confirm
          title={`${words[asked.kind].act} ${plural(asked.runs, `${search.state ?? ""} run`)}?`}
          text={words[asked.kind].text}
          act={`${words[asked.kind].act} ${count(asked.runs)}`}
          perform={() => void bulk(asked.kind, asked.filter, asked.runs)}
          close={() => setAsked(null)}
        />
      )}
    </>
  )
}

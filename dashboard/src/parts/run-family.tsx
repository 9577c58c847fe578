import { Link, useNavigate } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { RunDetail, RunFamily, RunSummary, Siblings } from "../../../src/protocol/views.ts"
import { often, seldom, useAsk } from "../api/ask.ts"
import { get } from "../api/client.ts"
import { useShortcuts } from "../frame/keys.ts"
import { FanoutLink } from "./links.tsx"
import { RunRows } from "./run-rows.tsx"

function useFamily(run: RunDetail): RunFamily | undefined {
  return useAsk("runFamily", { params: { id: run.id } }, { every: run.endedAt === null ? often : seldom }).data
}

/** The fan-out of a run, and the way to its neighbours there: from one that has failed to the others that have. */
export function PartOf({ run, fanoutId }: { readonly run: RunDetail; readonly fanoutId: string }): ReactNode {
  const navigate = useNavigate()
  const siblings = useFamily(run)?.siblings
  const failed = run.state === "failed"
  const [before, after] = failed ? (["previousFailed", "nextFailed"] as const) : (["previous", "next"] as const)
  const kind = failed ? "failed run" : "run"
  // A key that is pressed before the neighbours are known waits for them.
  const go = async (which: keyof Siblings): Promise<void> => {
    const known = siblings ?? (await get("runFamily", { params: { id: run.id } })).siblings
    const id = known?.[which]
    if (typeof id === "string") await navigate({ to: "/runs/$id", params: { id } })
  }
  const act = (which: keyof Siblings): void => void go(which).catch(() => undefined)
  useShortcuts([
    { keys: "[", does: `previous ${kind} of the fan-out`, act: () => act(before) },
    { keys: "]", does: `next ${kind} of the fan-out`, act: () => act(after) },
  ])
  return (
    <span className="part-of">
      <Neighbour id={siblings?.[before]} label={`Previous ${kind} of the fan-out`} keys="[" shape="‹" />
      <FanoutLink id={fanoutId} />
      <Neighbour id={siblings?.[after]} label={`Next ${kind} of the fan-out`} keys="]" shape="›" />
    </span>
  )
}

interface NeighbourProps {
  readonly id: string | null | undefined
  readonly label: string
  readonly keys: string
  readonly shape: string
}

function Neighbour({ id, label, keys, shape }: NeighbourProps): ReactNode {
  if (typeof id !== "string") {
    return (
      <span className="neighbour faint" aria-hidden="true">
        {shape}
      </span>
    )
  }
  return (
    <Link to="/runs/$id" params={{ id }} className="neighbour" aria-label={label} title={`${label}  ( ${keys} )`}>
      {shape}
    </Link>
  )
}

/** What led to a run, and what it started one by one. */
export function Family({ run }: { readonly run: RunDetail }): ReactNode {
  const family = useFamily(run)
  if (family === undefined) return null
  const { causes, children, more } = family
  return (
    <>
      {causes.length === 0 ? null : (
        <section className="card" aria-label="What led to it">
          <h2>What led to it</h2>
          <Runs items={causes.toReversed()} />
        </section>
      )}
      {children.length === 0 ? null : (
        <section className="card" aria-label="Runs it started">
          <h2>Runs it started</h2>
          <Runs items={children} />
          {more ? <p className="faint">The first {children.length}; it started more.</p> : null}
        </section>
      )}
    </>
  )
}

function Runs({ items }: { readonly items: readonly RunSummary[] }): ReactNode {
  return <RunRows items={items} below={({ eventName }) => <div className="faint clip">by {eventName}</div>} />
}

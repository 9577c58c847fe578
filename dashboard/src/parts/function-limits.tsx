import type { ReactNode } from "react"
import type { FunctionSummary } from "../../../src/protocol/views.ts"
import { often, useAsk } from "../api/ask.ts"
import { named, unused } from "./limit-names.tsx"
import { LimitRows } from "./limit-rows.tsx"
import { Answered } from "./problem.tsx"

const shown = 50

/** The limits of one function as they stand. */
export function FunctionLimits({ each }: { readonly each: FunctionSummary }): ReactNode {
  const limits = useAsk("limits", { query: { function: each.id, limit: shown } }, { every: often })
  const { flow } = each
  if (flow === null || (flow.concurrency.length === 0 && flow.throttle === null)) return null
  const byId = new Map([[each.id, each]])
  const shared = flow.concurrency.some(({ scope }) => scope !== "fn")
  return (
    <section className="card" aria-label="Limits">
      <h2>Limits</h2>
      <Answered answer={limits}>
        {({ items, next }) => {
          const all = [...unused(each, items), ...items]
          return (
            <>
              {all.length === 0 ? (
                <p className="faint">Nothing counts against its limits now.</p>
              ) : (
                <div className="scroll-x">
                  <LimitRows items={all.map((limit) => named(limit, byId, false))} />
                </div>
              )}
              {next === null ? null : <p className="faint">The first {shown}; there are more keys.</p>}
              {shared ? <p className="faint">Limits that it shares with other functions are on the page of the nodes.</p> : null}
            </>
          )
        }}
      </Answered>
    </section>
  )
}

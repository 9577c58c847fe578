import { Link, useNavigate } from "@tanstack/react-router"
import { useVirtualizer, type Virtualizer } from "@tanstack/react-virtual"
import { memo, type ReactNode, type RefObject, useEffect, useRef, useState } from "react"
import type { RunSummary } from "../../../src/protocol/views.ts"
import { useShortcuts } from "../frame/keys.ts"
import { shortId } from "./links.tsx"
import { State } from "./state.tsx"
import { Ago, Took } from "./time.tsx"

/** As the style sheet has it, and the height of a row in both. */
const narrow = matchMedia("(max-width: 760px)")
/** Rows before the end of what is loaded: more is asked for before one gets there, however fast one scrolls. */
const ahead = 300

interface RunListProps {
  readonly items: readonly RunSummary[]
  readonly since: ReadonlyMap<string, RunSummary>
  readonly more: boolean
  readonly loadMore: () => void
  readonly showFunction: boolean
}

/** Any number of runs: only the rows that can be seen are there. */
export function RunList({ items, since, more, loadMore, showFunction }: RunListProps): ReactNode {
  const list = useRef<HTMLDivElement>(null)
  const navigate = useNavigate()
  const [cursor, setCursor] = useState(-1)
  const rows = useRows(list, items.length)
  const shown = rows.getVirtualItems()
  const last = shown.at(-1)?.index ?? 0
  useEffect(() => {
    if (more && last >= items.length - ahead) loadMore()
  }, [more, last, items.length, loadMore])

  const move = (by: number): void => {
    const next = Math.max(0, Math.min(items.length - 1, cursor + by))
    setCursor(next)
    rows.scrollToIndex(next)
  }
  const open = (): void => {
    const run = items[cursor]
    if (run !== undefined) void navigate({ to: "/runs/$id", params: { id: run.id } })
  }
  useShortcuts([
    { keys: "j", does: "next run", act: () => move(1) },
    { keys: "k", does: "previous run", act: () => move(-1) },
    { keys: "Enter", does: "open the run", act: open },
  ])
  return (
    <div
      className={showFunction ? "run-list" : "run-list run-list-one"}
      role="table"
      aria-label="Runs"
      aria-rowcount={more ? -1 : items.length + 1}
    >
      <Head showFunction={showFunction} />
      <div role="rowgroup" ref={list} className="run-rows" style={{ height: `${rows.getTotalSize()}px` }}>
        {shown.map(({ index, start }) => {
          const run = items[index]
          return run === undefined ? null : (
            <Row
              key={run.id}
              run={since.get(run.id) ?? run}
              index={index}
              top={start - rows.options.scrollMargin}
              marked={index === cursor}
              showFunction={showFunction}
            />
          )
        })}
      </div>
      {more ? <p className="faint run-more">Loading more …</p> : null}
    </div>
  )
}

/** The rows that can be seen, all of one height. */
function useRows(list: RefObject<HTMLDivElement | null>, count: number): Virtualizer<HTMLElement, Element> {
  // The height is asked for each row whenever rows are added.
  const height = narrow.matches ? 54 : 36
  const rows = useVirtualizer<HTMLElement, Element>({
    count,
    getScrollElement: () => list.current?.closest("main") ?? null,
    estimateSize: () => height,
    overscan: 10,
    scrollMargin: list.current?.offsetTop ?? 0,
  })
  useEffect(() => {
    const measure = (): void => rows.measure()
    narrow.addEventListener("change", measure)
    return () => narrow.removeEventListener("change", measure)
  }, [rows])
  return rows
}

function Head({ showFunction }: { readonly showFunction: boolean }): ReactNode {
  return (
    <div role="rowgroup">
      <div role="row" className="run-row run-head" aria-rowindex={1}>
        <span role="columnheader">State</span>
        <span role="columnheader">Run</span>
        {showFunction ? <span role="columnheader">Function</span> : null}
        <span role="columnheader" className="run-why">
          Why
        </span>
        <span role="columnheader" className="right run-attempt">
          Attempt
        </span>
        <span role="columnheader" className="right run-took">
          Took
        </span>
        <span role="columnheader" className="right">
          Created
        </span>
      </div>
    </div>
  )
}

interface RowProps {
  readonly run: RunSummary
  readonly index: number
  readonly top: number
  readonly marked: boolean
  readonly showFunction: boolean
}

const Row = memo(function Row({ run, index, top, marked, showFunction }: RowProps): ReactNode {
  const why = run.error === null ? (run.reason ?? "") : `${run.error.name}: ${run.error.message.split("\n")[0] ?? ""}`
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      className={marked ? "run-row run-marked" : "run-row"}
      style={{ transform: `translateY(${top}px)` }}
    >
      <span role="cell">
        <State state={run.state} attempt={run.attempt} />
      </span>
      <span role="cell" className="run-id">
        <Link to="/runs/$id" params={{ id: run.id }} className="mono link-id" title={run.id}>
          {shortId(run.id)}
        </Link>
      </span>
      {showFunction ? (
        <span role="cell" className="clip run-function" title={run.functionId}>
          {run.functionId}
        </span>
      ) : null}
      <span role="cell" className="clip faint run-why" title={why}>
        {why}
      </span>
      <span role="cell" className="right run-attempt">
        {run.attempt === 0 ? <span className="faint">–</span> : run.attempt}
      </span>
      <span role="cell" className="right run-took">
        {run.state === "running" || run.endedAt !== null ? (
          <Took from={run.startedAt} to={run.endedAt} />
        ) : (
          <span className="faint">–</span>
        )}
      </span>
      <span role="cell" className="right nowrap run-created">
        <Ago at={run.createdAt} />
      </span>
    </div>
  )
})

import { Link } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { Tick, TickOutcome } from "../../../src/protocol/views.ts"
import { absolute } from "../format.ts"

/** What became of a moment, in words. */
export const outcomeWords: Readonly<Record<TickOutcome, string>> = {
  fired: "fired",
  caught_up: "caught up late",
  backfilled: "backfilled",
  skipped_overlap: "skipped, the one before was not over",
  skipped_late: "missed",
  paused: "passed while paused",
}

/** The last moments of a schedule and what became of each, the newest on the right; then the next one. */
export function Strip({ ticks, nextAt }: { readonly ticks: readonly Tick[]; readonly nextAt: number | null }): ReactNode {
  return (
    <span className="strip">
      {ticks.toReversed().map((tick) => (
        <Cell key={tick.at} tick={tick} />
      ))}
      {nextAt === null ? null : <span className="tick tick-next" title={`next: ${absolute(nextAt)}`} />}
      {ticks.length === 0 && nextAt === null ? <span className="faint">none</span> : null}
    </span>
  )
}

function Cell({ tick }: { readonly tick: Tick }): ReactNode {
  const title = `${absolute(tick.at)}: ${outcomeWords[tick.outcome]}${tick.reason === null ? "" : ` (${tick.reason})`}`
  const className = `tick tick-${tick.outcome}`
  if (tick.runId === null) return <span className={className} title={title} />
  return (
    <Link to="/runs/$id" params={{ id: tick.runId }} className={className} title={title} tabIndex={-1}>
      <span className="off-screen">{title}</span>
    </Link>
  )
}

export function StripLegend(): ReactNode {
  const shown: readonly (readonly [className: string, words: string])[] = [
    ["fired", "fired"],
    ["caught_up", "caught up late"],
    ["backfilled", "backfilled"],
    ["skipped_late", "missed"],
    ["skipped_overlap", "skipped: overlap"],
    ["paused", "paused"],
    ["next", "next"],
  ]
  return (
    <p className="legend strip-legend wide-only">
      {shown.map(([name, words]) => (
        <span key={name}>
          <span className={`tick tick-${name}`} aria-hidden="true" /> {words}
        </span>
      ))}
    </p>
  )
}

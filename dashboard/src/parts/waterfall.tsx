import { type ReactNode, useState } from "react"
import type { RunDetail } from "../../../src/protocol/views.ts"
import { useNow } from "../clock.ts"
import { count, span } from "../format.ts"
import { shapes } from "./state.tsx"
import { scaleOf, type Span, spansOf, timesOf } from "./timeline.ts"

const firstRows = 200

/** What happened to a run and how long it took: waiting is hatched, executing is solid. */
export function Waterfall({ run }: { readonly run: RunDetail }): ReactNode {
  const second = useNow(run.endedAt === null)
  const now = run.endedAt ?? second
  const [collapse, setCollapse] = useState(true)
  const [all, setAll] = useState(false)
  const spans = spansOf(run, now)
  const scale = scaleOf(spans, collapse)
  const times = timesOf(spans)
  const shown = all ? spans : spans.slice(0, firstRows)
  return (
    <section className="card" aria-label="Timeline">
      <div className="card-head">
        <h2>Timeline</h2>
        <span className="faint timeline-times">
          in line {span(times.queued)} · executed {span(times.ran)}
        </span>
        {scale.gaps.length > 0 || !collapse ? (
          <button type="button" className="link" onClick={() => setCollapse(!collapse)}>
            {collapse ? "Idle time is drawn short · show it whole" : "Draw idle time short"}
          </button>
        ) : null}
      </div>
      <ol className="waterfall">
        {shown.map((each) => (
          <Row key={each.key} span={each} from={scale.place(each.from)} to={scale.place(each.to)} />
        ))}
      </ol>
      {spans.length > firstRows ? (
        <button type="button" className="link" onClick={() => setAll(!all)}>
          {all ? "Show less" : `Show all ${count(spans.length)} rows`}
        </button>
      ) : null}
    </section>
  )
}

function Row({ span: each, from, to }: { readonly span: Span; readonly from: number; readonly to: number }): ReactNode {
  const { kind, state, label, note } = each
  return (
    <li className={`row-${kind}`}>
      <span className="waterfall-label" title={label}>
        {kind === "step" ? (
          <span className={`state-${state}`} aria-hidden="true">
            {shapes[state]}{" "}
          </span>
        ) : null}
        {label}
        {kind === "step" ? <span className="off-screen"> step, {state}</span> : null}
      </span>
      <span className="waterfall-track" aria-hidden="true">
        <span
          className={kind === "wait" ? "hatched" : `ground-${state === "waiting" || state === "scheduled" ? "waiting" : state}`}
          style={{ left: `${from * 100}%`, width: `max(3px, ${(to - from) * 100}%)` }}
        />
      </span>
      <span className="waterfall-took">
        {span(each.to - each.from)}
        {note === "" ? null : <span className="waterfall-note"> · {note}</span>}
      </span>
    </li>
  )
}

import type { ReactNode } from "react"
import { useNow } from "../clock.ts"
import { absolute, clockTime, relative, shortTime, span } from "../format.ts"

const iso = (at: number): string => new Date(at).toISOString()

/** How long ago, or in how long; the whole moment on hover. */
export function Ago({ at }: { readonly at: number | null }): ReactNode {
  const now = useNow()
  if (at === null) return <span className="faint">–</span>
  return (
    <time dateTime={iso(at)} title={absolute(at)}>
      {relative(at, now)}
    </time>
  )
}

/** The time of day, to the millisecond. */
export function Clock({ at }: { readonly at: number }): ReactNode {
  return (
    <time dateTime={iso(at)} title={absolute(at)}>
      {clockTime(at)}
    </time>
  )
}

/** A moment that is to come: when, and in how long. */
export function Coming({ at }: { readonly at: number }): ReactNode {
  const now = useNow()
  return (
    <time dateTime={iso(at)} title={absolute(at)}>
      {shortTime(at, now)}, {relative(at, now)}
    </time>
  )
}

/** How long something took, or has been taking so far. */
export function Took({ from, to }: { readonly from: number | null; readonly to: number | null }): ReactNode {
  const now = useNow()
  if (from === null) return <span className="faint">–</span>
  return <span>{span((to ?? Math.max(now, from)) - from)}</span>
}

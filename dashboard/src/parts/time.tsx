import type { ReactNode } from "react"
import { now, useNow, useText } from "../clock.ts"
import { absolute, clockTime, relative, shortTime, span } from "../format.ts"
import { absoluteTimes, zone } from "../settings.ts"

const iso = (at: number): string => new Date(at).toISOString()

/** How long ago, or in how long; the whole moment on hover. Or the other way round, as the settings have it. */
export function Ago({ at }: { readonly at: number | null }): ReactNode {
  const whole = absoluteTimes.use()
  const words = useText((now) => (at === null ? "" : relative(at, now)))
  if (at === null) return <span className="faint">–</span>
  const moment = absolute(at)
  return (
    <time dateTime={iso(at)} title={whole ? `${words}: ${moment}` : moment}>
      {whole ? shortTime(at, now()) : words}
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

/**
 * A moment that is to come: when, and in how long.
 * @param own the zone of its schedule
 */
export function Coming({ at, own }: { readonly at: number; readonly own?: string | undefined }): ReactNode {
  const now = useNow()
  const shown = useZone(own)
  return (
    <time dateTime={iso(at)} title={absolute(at, shown)}>
      {shortTime(at, now, shown)}, {relative(at, now)}
    </time>
  )
}

/** The zone in which moments of a schedule are shown that has this one; undefined: that of all other times. */
export function useZone(own: string | undefined): string | undefined {
  return zone.use() === "schedule" ? own : undefined
}

/** How long something took, or has been taking so far. */
export function Took({ from, to }: { readonly from: number | null; readonly to: number | null }): ReactNode {
  const now = useNow(from !== null && to === null)
  if (from === null) return <span className="faint">–</span>
  return <span>{span((to ?? Math.max(now, from)) - from)}</span>
}

import type { ReactNode } from "react"
import type { ActivityRange } from "../../../src/protocol/views.ts"
import { ranges } from "../search.ts"

export const rangeNames: Readonly<Record<ActivityRange, string>> = {
  "1h": "last hour",
  "6h": "last 6 hours",
  "24h": "last 24 hours",
  "7d": "last 7 days",
}

export function RangeChoice({
  range,
  choose,
}: {
  readonly range: ActivityRange
  readonly choose: (range: ActivityRange) => void
}): ReactNode {
  return (
    <select className="button" aria-label="Range of time" value={range} onChange={(event) => choose(event.target.value as ActivityRange)}>
      {ranges.map((each) => (
        <option key={each} value={each}>
          {rangeNames[each].replace("last", "Last")}
        </option>
      ))}
    </select>
  )
}

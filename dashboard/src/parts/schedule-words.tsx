import type { ReactNode } from "react"
import type { Schedule } from "../../../src/protocol/views.ts"
import { absolute, span } from "../format.ts"
import { FunctionLink } from "./links.tsx"
import { Ago, Coming } from "./time.tsx"

/** When a schedule has its moments. */
export function Rule({ schedule: { rule } }: { readonly schedule: Schedule }): ReactNode {
  if (rule.kind === "cron") {
    return (
      <>
        <code>{rule.cron}</code> <span className="faint">{rule.timezone}</span>
      </>
    )
  }
  return rule.kind === "every" ? <>every {span(rule.everyMs)}</> : <>once, {absolute(rule.at)}</>
}

/** When it fires next, or why it does not. */
export function NextFire({ schedule }: { readonly schedule: Schedule }): ReactNode {
  const { pausedAt, note, nextTickAt } = schedule
  if (pausedAt !== null) {
    return (
      <>
        paused <Ago at={pausedAt} />
        {note === null || note === "" ? null : <span className="faint"> · {note}</span>}
      </>
    )
  }
  return nextTickAt === null ? <span className="faint">never again</span> : <Coming at={nextTickAt} />
}

/** What it starts. */
export function Starts({ schedule: { functionId, event } }: { readonly schedule: Schedule }): ReactNode {
  if (functionId !== null) return <FunctionLink id={functionId} />
  return (
    <>
      the event <code>{event}</code>
    </>
  )
}

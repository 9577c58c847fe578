import type { ReactNode } from "react"
import type { Schedule } from "../../../src/protocol/views.ts"
import { absolute, span } from "../format.ts"
import { CronWords } from "./cron-words.tsx"
import { FunctionLink } from "./links.tsx"
import { Ago, Coming } from "./time.tsx"

/** The zone of its line; undefined for a rule that has none. */
export function zoneOf({ rule }: Pick<Schedule, "rule">): string | undefined {
  return rule.kind === "cron" ? rule.timezone : undefined
}

/** When a schedule has its moments. */
export function Rule({ schedule: { rule } }: { readonly schedule: Schedule }): ReactNode {
  if (rule.kind === "cron") return <CronLine cron={rule.cron} timezone={rule.timezone} />
  return rule.kind === "every" ? <>every {span(rule.everyMs)}</> : <>once, {absolute(rule.at)}</>
}

/** A cron line: in words, as it is written, and where. */
export function CronLine({ cron, timezone }: { readonly cron: string; readonly timezone: string }): ReactNode {
  return (
    <span className="cron">
      <CronWords cron={cron} />
      <span>
        <code>{cron}</code> <span className="faint">{timezone}</span>
      </span>
    </span>
  )
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
  return nextTickAt === null ? <span className="faint">never again</span> : <Coming at={nextTickAt} own={zoneOf(schedule)} />
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

import type { ReactNode } from "react"
import type { FunctionSummary } from "../../../src/protocol/views.ts"
import { CronLine } from "./schedule-words.tsx"

/** What starts runs of a function. */
export function Triggers({ each }: { readonly each: FunctionSummary }): ReactNode {
  if (each.triggers.length === 0) return <span className="faint">by hand only</span>
  return (
    <ul className="plain">
      {each.triggers.map((trigger) =>
        "cron" in trigger ? (
          <li key={`cron ${trigger.cron}`}>
            <CronLine cron={trigger.cron} timezone={trigger.timezone} />
          </li>
        ) : (
          <li key={`event ${trigger.event} ${trigger.if ?? ""}`}>
            <span className="faint">event</span> <code>{trigger.event}</code>
            {trigger.if === null ? null : (
              <>
                {" "}
                <span className="faint">if</span> <code>{trigger.if}</code>
              </>
            )}
          </li>
        ),
      )}
    </ul>
  )
}

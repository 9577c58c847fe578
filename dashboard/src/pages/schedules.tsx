import type { ReactNode } from "react"
import type { FunctionSummary } from "../../../src/protocol/views.ts"
import { seldom, useAsk } from "../api/ask.ts"
import { Page } from "../frame/page.tsx"
import { Empty, Sample } from "../parts/copy.tsx"
import { FunctionLink } from "../parts/links.tsx"
import { Answered } from "../parts/problem.tsx"
import { Ago, Coming } from "../parts/time.tsx"

const sample = `fanfare.createFunction(
  { id: "nightly", triggers: [{ cron: "0 3 * * *", timezone: "Europe/Paris" }] },
  async () => { /* … */ },
)`

export function SchedulesPage(): ReactNode {
  const functions = useAsk("functions", {}, { every: seldom })
  return (
    <Page title="Schedules">
      <Answered answer={functions}>{({ items }) => <Schedules functions={items.filter(({ active }) => active)} />}</Answered>
    </Page>
  )
}

function Schedules({ functions }: { readonly functions: readonly FunctionSummary[] }): ReactNode {
  const rows = functions.flatMap((each) => each.schedules.map((schedule) => ({ ...schedule, id: each.id })))
  if (rows.length === 0) {
    return (
      <Empty title="No schedules yet.">
        <p>A function with a cron trigger has one.</p>
        <Sample code={sample} label="A function with a cron trigger" />
      </Empty>
    )
  }
  return (
    <section className="card">
      <div className="scroll-x">
        <table>
          <thead>
            <tr>
              <th>Function</th>
              <th>When</th>
              <th>Next</th>
              <th className="right">Last tick</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={`${row.id} ${row.cron} ${row.timezone}`}>
                <td className="clip">
                  <FunctionLink id={row.id} />
                </td>
                <td>
                  <code>{row.cron}</code> <span className="faint">{row.timezone}</span>
                </td>
                <td className="nowrap">{row.nextAt === null ? <span className="faint">never</span> : <Coming at={row.nextAt} />}</td>
                <td className="right nowrap">
                  <Ago at={row.lastTickAt} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

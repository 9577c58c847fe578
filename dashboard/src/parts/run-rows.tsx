import type { ReactNode } from "react"
import type { RunSummary } from "../../../src/protocol/views.ts"
import { FunctionLink, RunLink } from "./links.tsx"
import { State } from "./state.tsx"

/** A few runs, beside what they belong to. @param below what stands under the function of each */
export function RunRows({
  items,
  below,
}: {
  readonly items: readonly RunSummary[]
  readonly below?: (run: RunSummary) => ReactNode
}): ReactNode {
  return (
    <table>
      <tbody>
        {items.map((run) => (
          <tr key={run.id}>
            <td className="nowrap">
              <State state={run.state} attempt={run.attempt} />
            </td>
            <td className="clip grow">
              <FunctionLink id={run.functionId} />
              {below?.(run)}
            </td>
            <td className="right nowrap">
              <RunLink id={run.id} short />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

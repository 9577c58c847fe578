import type { ReactNode } from "react"
import type { ConcurrencyRule } from "../../../src/protocol/views.ts"
import { count } from "../format.ts"

/** How many runs of a function may execute at the same time, by each of its rules. */
export function AtATime({ rules, none }: { readonly rules: readonly ConcurrencyRule[]; readonly none: ReactNode }): ReactNode {
  if (rules.length === 0) return none
  return rules.map(({ limit, key, scope }) => (
    <div key={`${key ?? ""} ${scope}`} className="at-a-time">
      {count(limit)}
      {key === null ? null : (
        <span className="faint">
          {" "}
          per <code title={scope === "fn" ? key : `${key}, shared with other functions`}>{key}</code>
          {scope === "fn" ? "" : ", shared"}
        </span>
      )}
    </div>
  ))
}

import type { ReactNode } from "react"
import type { ConcurrencyRule } from "../../../src/protocol/views.ts"
import { count } from "../format.ts"

/** How many runs of a function may execute at the same time, by each of its rules. */
export function AtATime({ rules, none }: { readonly rules: readonly ConcurrencyRule[]; readonly none: ReactNode }): ReactNode {
  if (rules.length === 0) return none
  return rules.map(({ limit, key, scope }) => (
    <div key={`${key ?? ""} ${scope}`}>
      {count(limit)}
      {key === null ? null : (
        <span className="faint">
          {" "}
          per <code>{key}</code>
        </span>
      )}
    </div>
  ))
}

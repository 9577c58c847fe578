import type { ReactNode } from "react"
import { useMayAct } from "../api/session.ts"

/** What changes something: only for those who may. */
export function Act({ children }: { readonly children: ReactNode }): ReactNode {
  return useMayAct() ? children : null
}

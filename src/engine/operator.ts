import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import type { Agent } from "./loop.ts"

/** While an operation waits for what is running. */
const someMs = 500

/** Does what was asked of many runs, a part at a time; any node goes on where another stopped. */
export function createOperator(parts: {
  readonly store: Pick<Store, "operate">
  readonly committer: Pick<Committer, "ring">
  readonly pollMs: number
  readonly ended: () => void
}): Agent {
  const { store, committer, pollMs, ended } = parts
  return {
    name: "operator",
    async tick() {
      const operated = await store.operate()
      if (operated.rest === "over") return pollMs
      committer.ring()
      if (operated.ended > 0) ended()
      return operated.rest === "none" ? 0 : someMs
    },
  }
}

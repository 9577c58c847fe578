import type { Random } from "../core/ports.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import type { Agent } from "./loop.ts"

/** Does what was asked of many runs, a part at a time; any node goes on where another stopped. */
export function createOperator(parts: {
  readonly store: Pick<Store, "operate">
  readonly committer: Pick<Committer, "ring">
  readonly pollMs: number
  readonly random: Random
  readonly ended: () => void
  readonly doomed: () => void
}): Agent {
  const { store, committer, pollMs, random, ended, doomed } = parts
  return {
    name: "operator",
    async tick() {
      const operated = await store.operate([random.next(), random.next()])
      if (operated.restMs === null) return pollMs
      committer.ring()
      if (operated.ended > 0) ended()
      if ((operated.doomed ?? 0) > 0) doomed()
      return operated.restMs
    },
  }
}

import { limits } from "../core/limits.ts"
import type { NodeRow, Store } from "./store.ts"

/** How the store's thread tells time and waits. */
export interface ThreadClock {
  now(): number
  after(ms: number, ring: () => void): () => void
}

/**
 * A store that goes on with the pulse of its node by itself, from its own thread: user code that blocks the main thread does not make
 * a node look dead. It ends when the node leaves, and when nothing was heard from the main thread for `limits.silentMaxMs`.
 */
export function keepBeating(store: Store, clock: ThreadClock): Store {
  let node: NodeRow | null = null
  let heardAt = 0
  let cancel: (() => void) | null = null

  const rest = (): void => {
    cancel = clock.after(limits.pulseMs, beat)
  }
  const beat = (): void => {
    const silentMs = clock.now() - heardAt
    cancel = null
    if (node === null || silentMs > limits.silentMaxMs) return
    // The main thread's own pulse counts as well.
    if (silentMs < limits.pulseMs) rest()
    else store.pulse(node, false).then(rest, rest)
  }
  const end = (): void => {
    node = null
    cancel?.()
    cancel = null
  }
  return {
    ...store,
    async pulse(row, alone) {
      const heard = await store.pulse(row, alone)
      heardAt = clock.now()
      node = row
      if (cancel === null) rest()
      return heard
    },
    async leave(nodeId) {
      end()
      await store.leave(nodeId)
    },
    async close() {
      end()
      await store.close()
    },
  }
}

import { closeSync, lstatSync, openSync, readdirSync, rmSync, statfsSync } from "node:fs"
import { join } from "node:path"
import { limits } from "../core/limits.ts"
import { type Lock, takeLock } from "./lock.ts"
import type { Store } from "./store.ts"

/** How nodes of one machine see of each other that one has ended, without waiting for its heartbeat. */
export interface Presence {
  /** This node is here, until `leave` or until its process has ended. */
  enter(nodeId: string): void
  /** Whether that node was here and its process has certainly ended. */
  ended(nodeId: string): boolean
  /** What it left behind is not needed any more. */
  forget(nodeId: string): void
  /** Clears some of what was left behind long ago, by nodes of stores that are gone too. */
  clear(): void
  leave(): void
}

/** Linux keeps these files in the memory of this machine: no other one sees them, also none that was cloned from the same image, and no restart leaves them. */
const memory = "/dev/shm"
const tmpfs = 0x01021994
const fileName = (nodeId: string): string => `fanfare-${nodeId}`
/** Files that one start clears: it has other things to do. */
const clearedMost = 100

/**
 * A file for each node, named after it, whose lock its process holds. The operating system gives the lock up when the process has ended,
 * however that came, and while it is only frozen it does not. What is not certain counts as alive: a file of another user, or none.
 */
export function presenceOn(folder = memory): Presence | null {
  if (!isOwnMemory(folder)) return null
  const fileOf = (nodeId: string): string => join(folder, fileName(nodeId))
  let own: { readonly nodeId: string; readonly lock: Lock } | null = null
  const ended = (nodeId: string): boolean => {
    if (!/^node_[0-9a-z]+$/.test(nodeId)) return false
    const file = fileOf(nodeId)
    const found = lstatSync(file, { throwIfNoEntry: false })
    if (found === undefined || !found.isFile() || found.uid !== process.getuid?.()) return false
    try {
      takeLock(file).release()
      return true
    } catch {
      return false
    }
  }
  return {
    enter(nodeId) {
      if (own !== null) return
      try {
        closeSync(openSync(fileOf(nodeId), "wx", 0o600))
        own = { nodeId, lock: takeLock(fileOf(nodeId)) }
      } catch {
        // Without it others wait for the heartbeat.
      }
    },
    ended,
    forget: (nodeId) => rmSync(fileOf(nodeId), { force: true }),
    clear() {
      if (own === null) return
      const before = lstatSync(fileOf(own.nodeId)).mtimeMs - limits.nodeMemoryMs
      const old = readdirSync(folder).filter((name) => {
        const found = name.startsWith(fileName("node_")) ? lstatSync(join(folder, name), { throwIfNoEntry: false }) : undefined
        return found !== undefined && found.mtimeMs < before
      })
      for (const nodeId of old.slice(0, clearedMost).map((name) => name.slice(fileName("").length))) {
        if (ended(nodeId)) rmSync(fileOf(nodeId), { force: true })
      }
    },
    leave() {
      if (own === null) return
      rmSync(fileOf(own.nodeId), { force: true })
      own.lock.release()
      own = null
    },
  }
}

function isOwnMemory(folder: string): boolean {
  try {
    return process.platform === "linux" && statfsSync(folder).type === tmpfs
  } catch {
    return false
  }
}

/** A store whose node takes over at once from those that have ended on the same machine. */
export function withPresence(store: Store, presence: Presence): Store {
  const bury = async (nodeId: string): Promise<void> => {
    const ended = (await store.others(nodeId)).filter((id) => presence.ended(id))
    if (ended.length > 0) await store.declareDead(ended)
    for (const id of ended) presence.forget(id)
  }
  let first: Promise<void> | null = null
  let entered = false
  return {
    ...store,
    async pulse(node, alone) {
      presence.enter(node.id)
      if (!entered) {
        // Beside what a start has to do: who died may be the process that this one follows.
        first = bury(node.id)
        // After it: of its own store it still needs them.
        first.then(() => presence.clear()).catch(() => undefined)
        entered = true
      }
      return store.pulse(node, alone)
    },
    async lost(nodeId, limit) {
      const look = first ?? bury(nodeId)
      first = null
      await look
      return store.lost(nodeId, limit)
    },
    async leave(nodeId) {
      await store.leave(nodeId)
      presence.leave()
    },
    async close() {
      await store.close()
      presence.leave()
    },
  }
}

import { Worker } from "node:worker_threads"
import { FanfareError } from "../core/errors.ts"
import { unpackError } from "../core/packed-error.ts"
import type { OpenStore } from "./open.ts"
import type { Reader, Store } from "./store.ts"
import { openOutbox } from "./within.ts"
import type { Answer, Bell, Call, Place, Role, ThreadData } from "./thread-protocol.ts"

/** A store and its reader, each in a thread of its own. */
export async function openThreads(place: Place): Promise<OpenStore> {
  const listeners = new Set<() => void>()
  const store = startThread<Store>({ role: "store", place }, () => {
    for (const listener of listeners) listener()
  })
  await store.opened
  // What is asked meanwhile waits: the engine need not.
  const reader = startThread<Reader>({ role: "reader", place }, () => undefined)
  return {
    store: store.methods,
    reader: reader.methods,
    outbox: openOutbox(place),
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

const script = new URL(import.meta.url.endsWith(".ts") ? "./thread.ts" : "./thread.js", import.meta.url)
const names: Readonly<Record<Role, string>> = { store: "fanfare-store", reader: "fanfare-reader" }
/**
 * What a turn leaves behind dies young where it has room: with 8 MB it outgrew the nursery, filled the old space, which took more than the
 * nursery saved, and cost a fifth of the time. Answers to people are small.
 */
const nurseryMb: Readonly<Record<Role, number>> = { store: 32, reader: 8 }

interface Thread<T> {
  /** Rejects when it cannot be opened, and the thread ends. */
  readonly opened: Promise<void>
  /** The methods of a store or a reader, each carried to its thread and back. They fail in the same way as `opened` did. */
  readonly methods: T
}

function startThread<T extends object>(data: ThreadData, rung: () => void): Thread<T> {
  const worker = new Worker(script, {
    workerData: data,
    name: names[data.role],
    // It says how the text of `node --eval` is read: a thread that is a file refuses to start with it.
    ...(process.execArgv.some((flag) => flag.startsWith("--input-type")) ? { execArgv: [] } : {}),
    resourceLimits: { maxYoungGenerationSizeMb: nurseryMb[data.role] },
  })
  const pending = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  let last = 0
  let gone: Error | null = null

  const end = (error: Error): void => {
    gone = error
    for (const { reject } of pending.values()) reject(error)
    pending.clear()
  }
  worker.on("message", (message: Answer | Bell) => {
    if ("bell" in message) {
      rung()
      return
    }
    const { id, value, error } = message
    const waiter = pending.get(id)
    pending.delete(id)
    if (error === undefined) waiter?.resolve(value)
    else waiter?.reject(unpackError(error))
  })
  worker.on("error", (cause) => end(new FanfareError("store_failed", `the store's thread broke: ${String(cause)}`, { cause })))
  worker.on("exit", () => end(new FanfareError("store_failed", "the store is closed")))

  const answer = (id: number): Promise<unknown> => new Promise((resolve, reject) => pending.set(id, { resolve, reject }))
  const opened = answer(0).then(
    () => undefined,
    async (error: Error) => {
      await worker.terminate()
      end(error)
      throw error
    },
  )
  opened.catch(() => undefined)
  const call = (method: string, args: readonly unknown[]): Promise<unknown> => {
    if (gone !== null) return Promise.reject(gone)
    const id = ++last
    worker.postMessage({ id, method, args } satisfies Call)
    return answer(id)
  }
  const methods = new Proxy({} as T, {
    get: (_, method) => (typeof method === "symbol" || method === "then" ? undefined : (...args: unknown[]) => call(method, args)),
  })
  return { opened, methods }
}

import { Worker } from "node:worker_threads"
import { FanfareError } from "../core/errors.ts"
import { unpackError } from "../core/packed-error.ts"
import type { Clock } from "../core/ports.ts"
import { openSqlite } from "./sqlite.ts"
import { openReader, openStore, type Reader, type Store } from "./store.ts"
import type { Answer, Call, Role } from "./thread-protocol.ts"

export interface OpenStore {
  readonly store: Store
  readonly reader: Reader
}

/** A store that is not open yet, as the user names it: `db: sqlite("jobs.db")`. */
export interface StoreChoice {
  /** For people, without secrets. */
  readonly name: string
  /** Whether one node at a time can have it. */
  readonly exclusive: boolean
  open(clock: Clock): Promise<OpenStore>
}

/**
 * A store in an SQLite file, made if it is not there; `":memory:"` for one that goes with the process.
 * @param file path of the file; its folder is made too
 */
export function sqlite(file: string): StoreChoice {
  if (typeof file !== "string" || file === "") throw new FanfareError("invalid_option", "sqlite(file) needs a path", { field: "db" })
  return { name: `sqlite ${file}`, exclusive: true, open: (clock) => (file === ":memory:" ? openMemory(clock) : openThreads(file)) }
}

/** In this thread, on the given clock: for tests and simulations. */
async function openMemory(clock: Clock): Promise<OpenStore> {
  const db = openSqlite({ file: ":memory:", clock })
  return { store: await openStore(db), reader: openReader(db) }
}

async function openThreads(file: string): Promise<OpenStore> {
  const store = await openThread<Store>("store", file)
  try {
    return { store, reader: await openThread<Reader>("reader", file) }
  } catch (error) {
    await store.close()
    throw error
  }
}

const script = new URL(import.meta.url.endsWith(".ts") ? "./thread.ts" : "./thread.js", import.meta.url)

/** The methods of a store or a reader, each carried to its thread and back. */
async function openThread<T extends { close(): Promise<void> }>(role: Role, file: string): Promise<T> {
  const worker = new Worker(script, {
    workerData: { role, file },
    name: `fanfare-${role}`,
    // What a turn leaves behind dies young: a small nursery keeps the process small and costs no time.
    resourceLimits: { maxYoungGenerationSizeMb: 8 },
  })
  const pending = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  let last = 0
  let gone: Error | null = null

  const end = (error: Error): void => {
    gone = error
    for (const { reject } of pending.values()) reject(error)
    pending.clear()
  }
  worker.on("message", ({ id, value, error }: Answer) => {
    const waiter = pending.get(id)
    pending.delete(id)
    if (error === undefined) waiter?.resolve(value)
    else waiter?.reject(unpackError(error))
  })
  worker.on("error", (cause) => end(new FanfareError("store_failed", `the store's thread broke: ${String(cause)}`, { cause })))
  worker.on("exit", () => end(new FanfareError("store_failed", "the store is closed")))

  const answer = (id: number): Promise<unknown> => new Promise((resolve, reject) => pending.set(id, { resolve, reject }))
  const call = (method: string, args: readonly unknown[]): Promise<unknown> => {
    if (gone !== null) return Promise.reject(gone)
    const id = ++last
    worker.postMessage({ id, method, args } satisfies Call)
    return answer(id)
  }
  try {
    await answer(0)
  } catch (error) {
    await worker.terminate()
    throw error
  }
  return new Proxy({} as T, {
    get: (_, method) => (typeof method === "symbol" || method === "then" ? undefined : (...args: unknown[]) => call(method, args)),
  })
}

import { parentPort, workerData } from "node:worker_threads"
import { packError } from "../core/packed-error.ts"
import { lockFile } from "./lock.ts"
import { openSqlite } from "./sqlite.ts"
import { openReader, openStore, type Reader, type Store } from "./store.ts"
import type { Answer, Call, Role } from "./thread-protocol.ts"

// The store's thread: user code on the main thread never delays a commit, and a commit never delays user code.
const { role, file } = workerData as { role: Role; file: string }
const clock = { now: () => Date.now() }
const port = parentPort

async function open(): Promise<Store | Reader> {
  if (role === "reader") return openReader(openSqlite({ file, clock, readOnly: true }))
  const lock = lockFile(file)
  try {
    const store = await openStore(openSqlite({ file: lock.file, clock }))
    return {
      ...store,
      close: async () => {
        await store.close()
        lock.release()
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

const opened = open()
opened.then(
  () => port?.postMessage({ id: 0 } satisfies Answer),
  (error: unknown) => port?.postMessage({ id: 0, error: packError(error, "store_failed") } satisfies Answer),
)
port?.on("message", ({ id, method, args }: Call) => {
  opened
    .then((target) => (target as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[method]?.(...args))
    .then(
      (value) => port.postMessage({ id, value } satisfies Answer),
      (error: unknown) => port.postMessage({ id, error: packError(error, "store_failed") } satisfies Answer),
    )
    .finally(() => {
      if (method === "close") port.close()
    })
})

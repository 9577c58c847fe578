import { FanfareError } from "../core/errors.ts"
import type { Clock } from "../core/ports.ts"
import type { OpenStore, StoreChoice } from "./open.ts"
import { openSqlite } from "./sqlite.ts"
import { openReader, openStore } from "./store.ts"
import { openThreads } from "./threads.ts"

/**
 * A store in an SQLite file, made if it is not there; `":memory:"` for one that goes with the process.
 * @param file path of the file; its folder is made too
 */
export function sqlite(file: string): StoreChoice {
  if (typeof file !== "string" || file === "") throw new FanfareError("invalid_option", "sqlite(file) needs a path", { field: "db" })
  return {
    name: `sqlite ${file}`,
    exclusive: true,
    open: (clock) => (file === ":memory:" ? openMemory(clock) : openThreads({ kind: "sqlite", file })),
  }
}

/** In this thread, on the given clock: for tests and simulations. */
async function openMemory(clock: Clock): Promise<OpenStore> {
  const db = openSqlite({ file: ":memory:", clock })
  return { store: await openStore(db, clock), reader: openReader(db), listen: () => () => undefined }
}

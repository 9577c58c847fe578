import { chmodSync, closeSync, existsSync, mkdirSync, openSync, realpathSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { FanfareError } from "../core/errors.ts"
import { DatabaseSync } from "./node-sqlite.ts"

/** A store file that only this process may write, until `release`. */
export interface LockedFile {
  /** The file behind all links. */
  readonly file: string
  release(): void
}

/**
 * Makes sure of a store file: its folder, its mode (readable by its owner only) and that no other engine has it. The lock is the
 * operating system's, held through an open transaction on a file beside it, so it ends with the process, however that ends.
 * @throws FanfareError `store_in_use` naming the process that has it; `store_failed` when the file cannot be made
 */
export function lockFile(path: string): LockedFile {
  const file = prepareFile(path)
  const lockPath = prepareFile(`${file}-lock`)
  let lock: Lock
  try {
    lock = takeLock(lockPath)
  } catch (cause) {
    throw new FanfareError("store_in_use", `the store file ${file} is in use by ${holderOf(file)}`, {
      field: "db",
      hint: "One engine per file: stop that process, or give this one another file.",
      cause,
    })
  }
  return { file, release: () => lock.release() }
}

/** Held until `release`, or until the process ends. */
export interface Lock {
  release(): void
}

/** Takes the lock of a file, of which nothing but the lock is used. Throws when somebody has it. */
export function takeLock(path: string): Lock {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    // No journal beside it: nothing is ever written.
    database.exec("pragma journal_mode = memory; begin immediate")
  } catch (error) {
    database.close()
    throw error
  }
  return { release: () => database.close() }
}

function prepareFile(path: string): string {
  try {
    mkdirSync(dirname(path), { recursive: true })
    if (!existsSync(path)) closeSync(openSync(path, "a", 0o600))
    const file = join(realpathSync(dirname(path)), basename(realpathSync(path)))
    chmodSync(file, 0o600)
    return file
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new FanfareError("store_failed", `the store file ${path} cannot be made: ${why}`, { field: "db", cause })
  }
}

function holderOf(file: string): string {
  try {
    const database = new DatabaseSync(file, { readOnly: true, timeout: 1_000 })
    try {
      const row = database.prepare("select pid, host, started_at from node order by seen_at desc limit 1").get()
      if (row !== undefined) {
        return `process ${String(row["pid"])} on ${String(row["host"])} (since ${new Date(Number(row["started_at"])).toISOString()})`
      }
    } finally {
      database.close()
    }
  } catch {
    // It may be starting up and have no tables yet.
  }
  return "another process"
}

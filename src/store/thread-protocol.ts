import type { PackedError } from "../core/packed-error.ts"

/** What the store's thread is opened as: the one that writes, or one that answers people's questions. */
export type Role = "store" | "reader"

export interface Call {
  readonly id: number
  readonly method: string
  readonly args: readonly unknown[]
}

/** Answer 0 says that the store is open, or why it is not. */
export interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly error?: PackedError
}

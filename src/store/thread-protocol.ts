import type { PackedError } from "../core/packed-error.ts"

/** What the store's thread is opened as: the one that writes, or one that answers people's questions. */
export type Role = "store" | "reader"

/** Where the rows are. */
export type Place =
  | { readonly kind: "sqlite"; readonly file: string }
  | { readonly kind: "postgres"; readonly url: string; readonly schema: string; readonly name: string }

export interface ThreadData {
  readonly role: Role
  readonly place: Place
}

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

/** "Look again": another node put runs in line. Never data. */
export interface Bell {
  readonly bell: true
}

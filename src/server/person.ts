/** What somebody may do: everything, or look without changing anything. */
export type Role = "admin" | "read"

/** Whoever makes a request. */
export interface Person {
  readonly role: Role
  /** Names the key that they have, and does not show it. */
  readonly keyId: string
}

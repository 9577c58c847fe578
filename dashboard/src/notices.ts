import { shared } from "./stored.ts"

/** What came of something that was asked for. */
export interface Notice {
  readonly id: number
  readonly kind: "done" | "going" | "failed"
  readonly text: string
  /** Of what is going on: ends it where it is. */
  readonly stop?: () => void
}

export const notices = shared<readonly Notice[]>([])

const keptMs = 8_000
let last = 0

/** Shows a notice, or replaces one. One that says that something is going on stays until it is replaced. */
export function notify(kind: Notice["kind"], text: string, id = ++last, stop?: () => void): number {
  notices.set([...notices.get().filter((notice) => notice.id !== id), { id, kind, text, ...(stop === undefined ? {} : { stop }) }])
  if (kind !== "going") setTimeout(() => dismiss(id), keptMs)
  return id
}

export function dismiss(id: number): void {
  notices.set(notices.get().filter((notice) => notice.id !== id))
}

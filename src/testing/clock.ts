import type { Clock } from "../core/ports.ts"

interface Timer {
  readonly at: number
  readonly order: number
  readonly ring: () => void
  cancelled: boolean
}

/** Time that stands still until it is moved, for tests: 24 hours pass in milliseconds. */
export class VirtualClock implements Clock {
  #now: number
  #order = 0
  /** A binary heap: the next timer first. */
  readonly #heap: Timer[] = []

  /** @param now milliseconds since 1970 */
  constructor(now: number) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  after(ms: number, ring: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(0, Math.ceil(ms)), order: this.#order++, ring, cancelled: false }
    this.#push(timer)
    return () => {
      timer.cancelled = true
    }
  }

  /** When the next timer is due; null when none is set. */
  nextAt(): number | null {
    while (this.#heap[0]?.cancelled === true) this.#pop()
    return this.#heap[0]?.at ?? null
  }

  /** Moves to the next timer, if it is due by `until`, and rings it; false when there was none. */
  step(until: number): boolean {
    const at = this.nextAt()
    if (at === null || at > until) return false
    const timer = this.#pop()
    this.#now = Math.max(this.#now, at)
    timer?.ring()
    return true
  }

  /** Time passes without anyone noticing before it has: a machine that slept. */
  jump(ms: number): void {
    this.#now += Math.round(ms)
  }

  /** Moves to a moment up to which nothing is due. */
  moveTo(at: number): void {
    this.#now = Math.max(this.#now, Math.round(at))
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let i = heap.push(timer) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(timer, heap[parent])) break
      heap[i] = heap[parent] ?? timer
      i = parent
    }
    heap[i] = timer
  }

  #pop(): Timer | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let i = 0
    for (;;) {
      const left = 2 * i + 1
      const smaller = before(heap[left + 1], heap[left]) ? left + 1 : left
      if (!before(heap[smaller], last)) break
      heap[i] = heap[smaller] ?? last
      i = smaller
    }
    heap[i] = last
    return first
  }
}

function before(a: Timer | undefined, b: Timer | undefined): boolean {
  if (a === undefined || b === undefined) return a !== undefined
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

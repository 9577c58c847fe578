/** Time, as the house sees it. Nothing else may ask what time it is (see test/tidy.test.ts). */
export interface Clock {
  /** Milliseconds since 1970, UTC. */
  now(): number
  /** Calls `ring` once after `ms` milliseconds (0 = at the next turn of the event loop); returns a function that cancels it. */
  after(ms: number, ring: () => void): () => void
}

/** Chance. Seeded in tests, so that a run of the whole engine can be replayed. */
export interface Random {
  /** A number in [0, 1). */
  next(): number
}

import type { Clock, Random } from "./ports.ts"

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
const half = 2 ** 30

/** Prefixes tell a reader what an id names. */
export type IdKind = "evt" | "run" | "fan" | "node" | "op"

/**
 * Ids that sort by the time they were made: prefix, 10 characters of milliseconds, 12 of chance (60 bits), in Crockford's
 * base 32. Within a millisecond, and when the clock steps back, they still grow.
 */
export function createIds(clock: Pick<Clock, "now">, random: Random): (kind: IdKind) => string {
  let ms = -1
  let time = ""
  let high = 0
  let low = 0

  return (kind) => {
    const now = Math.max(clock.now(), ms)
    if (now !== ms) {
      ms = now
      time = encode(ms, 10)
      high = Math.floor(random.next() * half)
      low = Math.floor(random.next() * half)
    } else if (++low === half) {
      low = 0
      high = (high + 1) % half
    }
    return `${kind}_${time}${encode(high, 6)}${encode(low, 6)}`
  }
}

/** Sorts before every id of this kind that is made at `ms` or later, and after those that were made before. */
export function idBefore(kind: IdKind, ms: number): string {
  return `${kind}_${encode(Math.max(0, ms), 10)}`
}

/** Sorts before the id of every run of a fan-out that began at `createdAt`, also when a node whose clock is behind added to it. */
export function beforeRuns(createdAt: number): string {
  return idBefore("run", createdAt - skewMostMs)
}

const skewMostMs = 60_000

function encode(value: number, chars: number): string {
  let text = ""
  let rest = value
  for (let i = 0; i < chars; i++) {
    text = (alphabet[rest % 32] ?? "0") + text
    rest = Math.floor(rest / 32)
  }
  return text
}

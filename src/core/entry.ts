import { limits } from "./limits.ts"

/** A decision about a new run that other runs of the same key take part in; so it is taken when the run is written, not before. */
export type Entry =
  /** Nothing is left to decide: it is recorded, and does not run. */
  | { readonly kind: "refuse"; readonly state: "skipped" | "failed"; readonly reason: string }
  | { readonly kind: "rate"; readonly key: string; readonly limit: number; readonly periodMs: number; readonly name: string }
  | { readonly kind: "singleton"; readonly key: string; readonly mode: "skip" | "cancel" }
  /** `ts`: of its event; an event older than the one that waits changes nothing. */
  | { readonly kind: "debounce"; readonly key: string; readonly periodMs: number; readonly timeoutMs: number | null; readonly ts: number }
  /** `bytes`: of its event's data. */
  | { readonly kind: "batch"; readonly key: string; readonly maxSize: number; readonly timeoutMs: number; readonly bytes: number }

/**
 * What a rate remembers of a key: the moment, in microseconds, at which its bucket is full again (the theoretical arrival time of the
 * generic cell rate algorithm).
 */
export type Rate = number | null

/** How the bucket of a rate fills: `limit` in `periodMs`. @param burst how many may come at once beyond the first */
interface Bucket {
  readonly limit: number
  readonly periodMs: number
  readonly burst: number
}

/** Microseconds between two, rounded up: never more than `limit` in a period. */
function interval({ limit, periodMs }: Bucket): number {
  return Math.ceil((periodMs * 1_000) / limit)
}

/** The first moment, in milliseconds, at which one more may come. */
export function nextAt(rate: Rate, bucket: Bucket): number {
  return rate === null ? 0 : Math.ceil((rate - bucket.burst * interval(bucket)) / 1_000)
}

/**
 * The rate after one has come at `now`.
 * @param waiting whether runs had to wait for this moment: what a late look has missed is then made up for, within bounds
 */
export function afterOne(rate: Rate, bucket: Bucket, now: number, waiting = false): number {
  const from = (waiting ? now - limits.throttleLagMs : now) * 1_000
  return Math.max(rate ?? 0, waiting && rate === null ? now * 1_000 : from) + interval(bucket)
}

/** Whether one more may come: the rate after it, or the moment from which it may. */
export function takeRate(rate: Rate, limit: number, periodMs: number, now: number): { readonly rate: number } | { readonly until: number } {
  const bucket = { limit, periodMs, burst: limit - 1 }
  const at = nextAt(rate, bucket)
  return at <= now ? { rate: afterOne(rate, bucket, now) } : { until: at }
}

/** What the key of a debounce or a batch remembers while a run waits for more events. */
export interface Pending {
  readonly runId: string
  /** When the first event came; when the run starts at the latest. */
  readonly since: number
  readonly until: number
  /** Events, and their bytes. */
  readonly n: number
  readonly bytes: number
  /** The event's own time of the latest one. */
  readonly ts: number
}

/** When a debounced run is due that got an event at `now`. */
export function debounceUntil(entry: Extract<Entry, { kind: "debounce" }>, since: number, now: number): number {
  const quiet = now + entry.periodMs
  return entry.timeoutMs === null ? quiet : Math.min(quiet, since + entry.timeoutMs)
}

/** Whether a batch has all it can take. */
export function isFull(entry: Extract<Entry, { kind: "batch" }>, { n, bytes }: Pick<Pending, "n" | "bytes">): boolean {
  return n >= entry.maxSize || bytes >= limits.batchBytes
}

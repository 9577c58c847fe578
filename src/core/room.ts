import { afterOne, nextAt, type Rate } from "./entry.ts"
import { limits } from "./limits.ts"
import type { LimitClaim } from "./run.ts"

/** What is known of a limit while its room is given out. */
export interface LimitState {
  /** Runs that count against it now. */
  used: number
  /** Set by hand, in place of what the runs say. */
  readonly max: number | null
  /** Of a throttle. */
  rate: Rate
  /** Nothing starts under it before. */
  readonly heldUntil: number | null
  /** When it was to be looked at again, because runs wait for that time. */
  readonly dueAt: number | null
}

export const unusedLimit: LimitState = { used: 0, max: null, rate: null, heldUntil: null, dueAt: null }

/** Whether a limit lets one more run through; if not: from when, as far as time decides that. */
export type Room = "free" | { readonly until: number | null }

const full: Room = { until: null }

export function roomOf(claim: LimitClaim, state: LimitState, now: number): Room {
  if (state.heldUntil !== null && state.heldUntil > now) return { until: state.heldUntil }
  const max = state.max ?? claim.max
  if (claim.throttle === undefined) return state.used < max ? "free" : full
  if (max === 0) return full
  const at = nextAt(state.rate, { ...claim.throttle, limit: max })
  return at <= now ? "free" : { until: at }
}

/** A run goes through: it takes its place, or a throttle notes its start. */
export function take(claim: LimitClaim, state: LimitState, now: number): void {
  if (claim.throttle === undefined) state.used++
  else state.rate = afterOne(state.rate, { ...claim.throttle, limit: state.max ?? claim.max }, now, state.dueAt !== null)
}

/** When to look again at a limit that runs wait for: a fast throttle gives several at once rather than to be looked at all the time. */
export function lookAt(room: Exclude<Room, "free">, now: number): number | null {
  return room.until === null ? null : Math.max(room.until, now + limits.throttleLookMs)
}

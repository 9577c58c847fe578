import { type Duration, durationMs } from "./duration.ts"
import { FanfareError } from "./errors.ts"
import { type Ended, hasEnded } from "./join.ts"
import { limits } from "./limits.ts"
import type { LimitClaim } from "./run.ts"
import { type Share, shareOf } from "./share.ts"

/** How a fan-out is let loose. Without any of these all its runs may start at once. */
export interface FanOutRules {
  /**
   * The first so many runs (or this share of the events: `"1%"`, at least one) go alone: the others start when these have completed, and
   * wait when one of them fails. At least 1; more than there are is no error.
   */
  readonly canary?: number | Share
  /**
   * Pauses this fan-out, and nothing else, when more than this share of the ended runs (`"5%"`), or so many (`20`), have failed; not
   * before `min` have ended (default 100, for a number 1). `"0%"` pauses at the first failure from `min` on. While the breaker
   * watches, at most 500 of the runs are between their start and their end; what of them is under way just then may end after it paused.
   */
  readonly breaker?: { readonly failures: number | Share; readonly min?: number }
  /** The starts are spread evenly over this time, at most 366 days. 0: all at once. Not together with `rate`. */
  readonly spread?: Duration
  /** So many runs may start per second (`50`), or per unit: `"100/m"`, `"500/h"`. More than 0. */
  readonly rate?: number | `${number}/${"s" | "m" | "h"}`
}

/** What a stored fan-out knows of its rules. */
export interface GateRules {
  /** Runs that go first; 0: none. */
  readonly canary: number
  readonly breaker: { readonly share: number | null; readonly count: number | null; readonly min: number } | null
}

/** A gate that is only shut by hand. */
export const ungated: GateRules = { canary: 0, breaker: null }

/** Rules that passed the door. `canary` as a share waits for the number of events. */
export interface CheckedRules extends Omit<GateRules, "canary"> {
  readonly canary: { readonly count: number } | { readonly share: number } | null
  readonly spreadMs: number
  /** Milliseconds from one start to the next. */
  readonly gapMs: number
}

/** Milliseconds from one start to the next: runs at a rate, or events spread over a time. */
export interface Gaps {
  readonly runGapMs: number
  readonly eventGapMs: number
}

/** Rules whose shares are numbers. */
export interface SettledRules extends Gaps {
  readonly gate: GateRules | null
}

/** Where a gated fan-out stands: `canary`: only the first runs are let in; `open`: the others follow. */
export type GatePhase = "canary" | "open"

export interface Gate {
  readonly rules: GateRules
  readonly phase: GatePhase
  readonly paused: boolean
  /** What had ended and failed when the breaker began to watch. */
  readonly base: { readonly ended: number; readonly failed: number }
}

export type GateMove = { readonly to: "open" } | { readonly to: "paused"; readonly reason: string }

/** The limit that the runs of a gated fan-out count against, from their first start to their end. */
export function gateKey(fanoutId: string): string {
  return `${gatePrefix}${fanoutId}`
}

export const gatePrefix = "fan:"
const insideSuffix = "/in"

/**
 * What a run counts against from now on: one that has come through a gate keeps its place there until its end, also while it waits, and only
 * waits behind the gate again when that is shut.
 */
export function entered(limitClaims: readonly LimitClaim[]): readonly LimitClaim[] {
  const enter = (claim: LimitClaim): LimitClaim =>
    isGate(claim.key) && !isInside(claim.key) ? { ...claim, key: `${claim.key}${insideSuffix}` } : claim
  return limitClaims.some(({ key }) => isGate(key)) ? limitClaims.map(enter) : limitClaims
}

/** The limits in which a run takes up places when it has begun with these. */
export function placesOf(limitClaims: readonly LimitClaim[]): readonly LimitClaim[] {
  return limitClaims.some(({ key }) => isInside(key)) ? limitClaims.filter(({ key }) => !isInside(key)) : limitClaims
}

/** The limits in which a run that ends gives up its places. */
export function left(limitClaims: readonly LimitClaim[]): readonly LimitClaim[] {
  const leave = (claim: LimitClaim): LimitClaim =>
    isInside(claim.key) ? { ...claim, key: claim.key.slice(0, -insideSuffix.length) } : claim
  return limitClaims.some(({ key }) => isInside(key)) ? limitClaims.map(leave) : limitClaims
}

function isGate(key: string): boolean {
  return key.startsWith(gatePrefix)
}

function isInside(key: string): boolean {
  return isGate(key) && key.endsWith(insideSuffix)
}

/** The limits by which runs of a gated fan-out may be held: before they have come through, and after that. */
export function gateClaims(fanoutId: string): readonly [LimitClaim, LimitClaim] {
  const claim = { key: gateKey(fanoutId), max: limits.fanoutWindow }
  return [claim, { ...claim, key: `${claim.key}${insideSuffix}` }]
}

/** The fan-out whose gate a limit is; null when it is none. */
export function gatedBy(key: string): string | null {
  if (!isGate(key)) return null
  return key.slice(gatePrefix.length, isInside(key) ? -insideSuffix.length : undefined)
}

/**
 * How many runs of the fan-out may be between their first start and their end, besides those that go first: as many as the breaker may
 * watch. Those that are on their way only stop when it is shut after it was open.
 */
export function gateRoom(key: string, { phase, paused, rules }: Pick<Gate, "phase" | "paused" | "rules">): number {
  if (paused || phase !== "open") return 0
  return isInside(key) || rules.breaker === null ? Number.POSITIVE_INFINITY : limits.fanoutWindow
}

const fields = ["canary", "breaker", "spread", "rate"]

/**
 * Checks rules at the door; null when there are none.
 * @throws FanfareError `invalid_option` naming field and bound
 */
export function checkRules(rules: FanOutRules): CheckedRules | null {
  const unknown = Object.keys(rules).find((field) => !fields.includes(field))
  if (unknown !== undefined) throw invalid(unknown, `there is no rule "${unknown}" for a fan-out`, `Rules are ${fields.join(", ")}.`)
  const { canary, breaker, spread, rate } = rules
  if (fields.every((field) => rules[field as keyof FanOutRules] === undefined)) return null
  if (spread !== undefined && rate !== undefined) throw invalid("rate", "spread and rate cannot go together", "Give one of the two.")
  const spreadMs = spread === undefined ? 0 : durationMs(spread, "spread")
  if (spreadMs > limits.sleepMaxMs) throw invalid("spread", "spread is longer than 366 days", "Use at most 366d.", limits.sleepMaxMs)
  return {
    canary: canary === undefined ? null : checkCanary(canary),
    breaker: breaker === undefined ? null : checkBreaker(breaker),
    spreadMs,
    gapMs: rate === undefined ? 0 : gapOf(rate),
  }
}

function checkCanary(canary: unknown): NonNullable<CheckedRules["canary"]> {
  const share = shareOf(canary)
  if (share !== null && share > 0) return { share }
  if (typeof canary === "number" && Number.isInteger(canary) && canary >= 1) return { count: canary }
  throw invalid("canary", `canary is ${JSON.stringify(canary)}`, 'Use a number of runs from 1 on, such as 50, or a share such as "1%".', 1)
}

function checkBreaker(breaker: NonNullable<FanOutRules["breaker"]>): NonNullable<CheckedRules["breaker"]> {
  const { failures, min, ...others } = typeof breaker === "object" && breaker !== null ? breaker : { failures: Number.NaN, min: undefined }
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw invalid(`breaker.${unknown}`, `there is no breaker.${unknown}`, "It has failures and min.")
  const share = shareOf(failures)
  const count = typeof failures === "number" && Number.isInteger(failures) && failures >= 0 ? failures : null
  if (share === null && count === null) {
    throw invalid("breaker.failures", `breaker.failures is ${JSON.stringify(failures)}`, 'Use a share such as "5%" or a number of runs.')
  }
  if (min !== undefined && !(Number.isInteger(min) && min >= 1)) {
    throw invalid("breaker.min", `breaker.min is ${JSON.stringify(min)}`, "Use a number of ended runs from 1 on.", 1)
  }
  return { share, count, min: min ?? (share === null ? 1 : limits.breakerMin) }
}

const rateUnits: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 }

function gapOf(rate: unknown): number {
  const [, amount, unit] = typeof rate === "string" ? (/^(\d+(?:\.\d+)?)\/([smh])$/.exec(rate) ?? []) : []
  const number = typeof rate === "number" ? rate : Number(amount ?? Number.NaN)
  const gap = (rateUnits[unit ?? "s"] ?? 0) / number
  if (number > 0 && Number.isFinite(gap) && gap <= limits.sleepMaxMs) return gap
  throw invalid("rate", `rate is ${JSON.stringify(rate)}`, 'Use runs per second above 0, such as 50, or "100/m", "500/h".')
}

/**
 * The rules with the number of events known; null for the number where a source makes them.
 * @throws FanfareError `invalid_option`: a share or a spread needs the number
 */
export function settleRules(rules: CheckedRules, events: number | null): SettledRules {
  const { canary, breaker, spreadMs, gapMs } = rules
  const share = canary !== null && "share" in canary ? canary.share : null
  if (events === null && (share !== null || spreadMs > 0)) {
    const field = share === null ? "spread" : "canary"
    throw invalid(
      field,
      `the number of items of a source is not known beforehand, and ${field} needs it`,
      `Use ${share === null ? "rate" : "a number"}.`,
    )
  }
  const total = events ?? 0
  const first = canary === null ? 0 : "count" in canary ? canary.count : Math.max(1, Math.ceil(canary.share * total))
  const gate = canary === null && breaker === null ? null : { canary: first, breaker }
  return { gate, runGapMs: gapMs, eventGapMs: spreadMs / Math.max(1, total) }
}

/** The rules of a sender whose fan-out was paused by hand: that gave it a gate. */
export function withGate(rules: SettledRules | null): SettledRules {
  return { runGapMs: 0, eventGapMs: 0, ...rules, gate: ungated }
}

/** What new counts mean for the gate; null: it stays as it is. Pure: called under the lock of the fan-out's row. */
export function decideGate(gate: Gate, counts: Ended): GateMove | null {
  if (gate.paused || hasEnded(counts)) return null
  const { completed, failed, cancelled, total, sealed } = counts
  const ended = completed + failed + cancelled
  if (gate.phase === "canary") {
    const first = sealed ? Math.min(gate.rules.canary, total) : gate.rules.canary
    if (failed > 0) return { to: "paused", reason: canaryReason(failed, first) }
    return ended >= first ? { to: "open" } : null
  }
  const { breaker } = gate.rules
  if (breaker === null) return null
  const failures = failed - gate.base.failed
  const since = ended - gate.base.ended
  if (since < breaker.min || failures <= 0) return null
  const over = breaker.share === null ? failures >= Math.max(1, breaker.count ?? 1) : failures > breaker.share * since
  return over ? { to: "paused", reason: `breaker: ${failures} of ${since} runs failed` } : null
}

/** More of the first runs may fail after it was stopped. */
export function canaryReason(failed: number, first: number): string {
  return `canary: ${failed} of the first ${first} runs failed`
}

function invalid(field: string, message: string, hint: string, bound?: number): FanfareError {
  return new FanfareError("invalid_option", message, { field, hint, ...(bound === undefined ? {} : { bound }) })
}

import { FanfareError } from "./errors.ts"
import { type Share, shareOf } from "./share.ts"
import type { StepRecord } from "./step.ts"

/** When a join is over: all runs have ended; or so many have completed, as a number or a share of all. */
export type JoinUntil = "all" | { readonly succeeded: number | Share } | { readonly first: number }

/** A run's wait for a fan-out. */
export interface Join {
  readonly fanoutId: string
  readonly stepKey: string
  /** It is over when so many runs have completed, and in any case when all have ended. Null: only then. */
  readonly need: number | null
}

/** What a run waits for when it parks at this step. */
export function joinsOf({ kind, key, output }: Pick<StepRecord, "kind" | "key" | "output">): Join[] {
  if (kind !== "join" || output === null) return []
  const { fanoutId, need } = JSON.parse(output) as Pick<Join, "fanoutId" | "need">
  return [{ fanoutId, need, stepKey: key }]
}

export interface JoinedFailure {
  readonly runId: string
  /** The sender's id of the event, or ours. */
  readonly eventId: string
  readonly error: { readonly name: string; readonly message: string }
}

/** What a join gives: the fan-out as it stood when the join was over. */
export interface JoinResult {
  /** Null when nothing was sent. */
  readonly fanoutId: string | null
  readonly total: number
  readonly completed: number
  readonly failed: number
  readonly cancelled: number
  /** Whether the timeout came first. */
  readonly timedOut: boolean
  /** The first 100. */
  readonly failures: readonly JoinedFailure[]
  /** The five longest, in milliseconds from first start to end. */
  readonly slowest: readonly { readonly runId: string; readonly ms: number }[]
  /** When asked for: of completed runs, in the order of their events, the first 1,000. */
  readonly outputs?: readonly { readonly runId: string; readonly eventId: string; readonly output: unknown }[]
}

/** The counts that say whether a fan-out has ended. */
export interface Ended {
  readonly total: number
  readonly completed: number
  readonly failed: number
  readonly cancelled: number
  readonly sealed: boolean
}

export function hasEnded({ total, completed, failed, cancelled, sealed }: Ended): boolean {
  return sealed && completed + failed + cancelled === total
}

export function isJoined(fanout: Ended, need: number | null): boolean {
  return hasEnded(fanout) || (need !== null && fanout.sealed && fanout.completed >= need)
}

/** @throws FanfareError `invalid_step` naming the bound */
export function needOf(until: JoinUntil, total: number): number | null {
  if (until === "all") return null
  const wish: unknown = typeof until === "object" && until !== null ? ("first" in until ? until.first : until.succeeded) : until
  const share = shareOf(wish)
  const need = share === null ? wish : Math.ceil(share * total)
  if (typeof need === "number" && Number.isInteger(need) && need >= 0) return need
  throw new FanfareError("invalid_step", `step.fanOut: until is ${JSON.stringify(until)}`, {
    field: "until",
    hint: 'Use "all", { succeeded: "99%" }, { succeeded: 50 } or { first: 1 }.',
  })
}

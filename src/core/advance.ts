import type { Change, Settlement } from "./change.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { Failure } from "./failure.ts"
import type { Outcome } from "./outcome.ts"
import { retryDelay } from "./retry.ts"
import type { ClaimedRun, LimitClaim } from "./run.ts"

/** What is known of an attempt besides its outcome. */
export interface AttemptFacts {
  readonly startedAt: number
  /** Now. */
  readonly endedAt: number
  /** Whether the attempt left a finished step behind: failures are counted from there. */
  readonly progressed: boolean
  /** In [0, 1). */
  readonly random: number
  /** Whether the run may have waits. */
  readonly waits?: boolean
}

/**
 * With this many losses in a row a run is suspected of killing its node. Of all suspects only so many run at a time, and the fewer the
 * fewer attempts they have left: the guilty one spends its last attempt alone, and takes nobody's last one with it.
 */
const suspectLosses = 2
const suspectLimits = [1, 4, 16] as const

function suspectLimit(attemptsLeft: number): LimitClaim {
  const max = suspectLimits[Math.min(attemptsLeft, suspectLimits.length - 1)] ?? 1
  return { key: `${suspectPrefix}${max}`, max }
}

const suspectPrefix = "suspects:"

/** What a function says about retries. */
export type RetryRules = Pick<FunctionDefinition, "retries"> & Partial<Pick<FunctionDefinition, "retryDelaysMs">>

/** A claimed run and how its attempt ended → where the run goes. The heart of the engine; pure. */
export function advance(run: ClaimedRun, outcome: Outcome, definition: RetryRules, facts: AttemptFacts): readonly Change[] {
  const { endedAt, progressed } = facts
  const failures = progressed ? 1 : run.attempt

  switch (outcome.kind) {
    case "completed":
      return [settle(run, run.attempt, facts, { to: "completed", output: outcome.output, failure: null })]
    case "parked": {
      // Neither a wait nor a step's own retry is a failure of the run; after progress it counts from the start again.
      const attempt = progressed || outcome.for === "wait" ? 0 : run.attempt - 1
      const joins = outcome.joins.map((join): Change => ({ kind: "join.add", runId: run.id, join }))
      return [settle(run, attempt, facts, parked(run, outcome, endedAt)), ...joins]
    }
    case "failed": {
      const { failure, retry } = outcome
      const ended = endedAttempt(run, failure, facts)
      const last = retry === "never" || failures > definition.retries
      if (last) return [ended, fail(run, failure, facts), ...(typeof retry === "string" ? [] : holdLimit(run, retry))]
      if (retry === "policy") {
        const dueAt = endedAt + retryDelay(failures, facts.random, definition.retryDelaysMs ?? null)
        return [ended, settle(run, failures, facts, queued(run, dueAt, "scheduled", endedAt, 0))]
      }
      return [ended, settle(run, failures, facts, queued(run, retry.at, "scheduled", endedAt, 0)), ...holdLimit(run, retry)]
    }
    case "lost": {
      const failure: Failure = { name: "AttemptLost", message: outcome.reason }
      const ended = endedAttempt(run, failure, facts)
      const losses = progressed ? 1 : run.losses + 1
      // Nobody knows whether an attempt began before its node died: the first loss in a row is free, the next ones count.
      const attempt = losses === 1 ? failures - 1 : failures
      if (attempt > definition.retries) return [ended, fail(run, failure, facts)]
      const suspect = losses >= suspectLosses ? suspectLimit(definition.retries - attempt) : null
      return [ended, settle(run, attempt, facts, queued(run, endedAt, "scheduled", endedAt, losses, suspect))]
    }
    case "returned": {
      const suspect = run.limits.find(({ key }) => key.startsWith(suspectPrefix)) ?? null
      return [settle(run, run.attempt - 1, facts, queued(run, endedAt, "scheduled", endedAt, run.losses, suspect))]
    }
    case "superseded":
      return []
    default:
      return outcome satisfies never
  }
}

function settle(run: ClaimedRun, attempt: number, { startedAt, endedAt, waits }: AttemptFacts, settlement: Settlement): Change {
  const { id, functionId, fence, rank, fanoutId, limits } = run
  const settled = { id, functionId, fence, rank, fanoutId, limits }
  return { kind: "run.settle", run: settled, attempt, startedAt, endedAt, settlement, waits: waits === true && "output" in settlement }
}

/** Whoever waits for something else than a time is woken by the waker alone, which decides at once what has timed out. */
function parked(run: ClaimedRun, outcome: Extract<Outcome, { kind: "parked" }>, now: number): Settlement {
  const { awaits = [], dueAt } = outcome
  const settlement = queued(run, dueAt, outcome.for === "wait" || awaits.length > 0 ? "waiting" : "scheduled", now, 0)
  return awaits.length > 0 && "dueAt" in settlement ? { ...settlement, to: "waiting", awaits } : settlement
}

function fail(run: ClaimedRun, failure: Failure, facts: AttemptFacts): Change {
  return settle(run, run.attempt, facts, { to: "failed", output: null, failure })
}

function queued(
  run: Pick<ClaimedRun, "limits">,
  dueAt: number,
  later: "scheduled" | "waiting",
  now: number,
  losses: number,
  suspect: LimitClaim | null = null,
): Settlement {
  const own = run.limits.filter(({ key }) => !key.startsWith(suspectPrefix)).map(started)
  return { to: dueAt > now ? later : "ready", dueAt: Math.max(dueAt, now), limits: suspect === null ? own : [...own, suspect], losses }
}

/** What a run that has started keeps: its place under a limit of whole runs, its way through a throttle. */
function started(limit: LimitClaim): LimitClaim {
  return limit.hold === "run" || limit.throttle !== undefined ? { ...limit, hold: "taken" } : limit
}

/** The wish of one run to be left alone is one for all that share the limit it names: by its key, or by the value of that. */
export function holdLimit(run: Pick<ClaimedRun, "limits">, wish: { readonly at: number; readonly limit?: string }): Change[] {
  if (wish.limit === undefined) return []
  const named = run.limits.filter(({ key }) => key === wish.limit || key.endsWith(`:${wish.limit}`))
  return named.map(({ key }): Change => ({ kind: "limit.hold", key, until: wish.at }))
}

function endedAttempt(run: ClaimedRun, failure: Failure, { startedAt, endedAt }: AttemptFacts): Change {
  return { kind: "attempt.add", attempt: { runId: run.id, fence: run.fence, attempt: run.attempt, startedAt, endedAt, failure } }
}

import type { Entry } from "./entry.ts"

/**
 * States of a run. `scheduled`: due later. `ready`: may be claimed. `running`: a node holds its lease. `waiting`: parked on a
 * wait (a sleep, or a limit that has no room). The other four are final.
 */
export type RunState = "scheduled" | "ready" | "running" | "waiting" | "completed" | "failed" | "cancelled" | "skipped"

export const finalStates = ["completed", "failed", "cancelled", "skipped"] as const
export type FinalState = (typeof finalStates)[number]

/** Who may move a run where: every move that is not here is refused. */
export const moves: Readonly<Record<RunState, readonly RunState[]>> = {
  scheduled: ["ready", "waiting", "cancelled"],
  ready: ["running", "cancelled"],
  running: ["ready", "scheduled", "waiting", "completed", "failed", "cancelled"],
  waiting: ["ready", "waiting", "cancelled"],
  completed: [],
  failed: ["ready"],
  cancelled: ["ready"],
  skipped: [],
}

/**
 * A limit that a run counts against: at most `max` runs share `key`, while they are ready or running unless `hold` says otherwise.
 * - `run`: from the run's first start to its end, also while it sleeps or waits to be retried; `taken`: the same, and it has its place.
 *   Of a throttle: it was let through.
 * - `debounce`, `batch`: the run waits for more events; others with this key are put to it, or replace it. `events`: it has several.
 */
export interface LimitClaim {
  readonly key: string
  readonly max: number
  readonly hold?: "run" | "taken" | "debounce" | "batch" | "events"
  /** It bounds starts, not runs: `max` in `periodMs`, `burst` more at once. */
  readonly throttle?: { readonly periodMs: number; readonly burst: number }
}

/** The limits that must have room before the run goes on. */
export function openClaims(limits: readonly LimitClaim[]): readonly LimitClaim[] {
  return limits.some(({ hold }) => hold !== undefined) ? limits.filter(({ hold }) => hold === undefined || hold === "run") : limits
}

/** A run as it is created. Its state follows from `dueAt` (later: scheduled) and its limits (no room: waiting). */
export interface NewRun {
  readonly id: string
  readonly functionId: string
  readonly eventId: string
  readonly fanoutId: string | null
  /** The run whose send caused this one. */
  readonly parentId: string | null
  readonly createdAt: number
  readonly dueAt: number
  /** Its place in line, if that is not `dueAt`: a priority moves it. */
  readonly rank?: number
  readonly limits: readonly LimitClaim[]
  /** What is decided about it when it is written, in this order, under the locks of their keys. */
  readonly entries?: readonly Entry[]
  /** Claims so far: 1 for a run that begins with results of another one. Default 0. */
  readonly fence?: number
}

/** The event as a run sees it. `data` is JSON text. */
export interface RunEvent {
  readonly id: string
  readonly name: string
  readonly data: string
  readonly ts: number
  /** Of the later events of a batch: where they stand in a trace. */
  readonly trace?: string | null
}

/** A run in the hands of a node: it may write while its fence is the newest. */
export interface ClaimedRun {
  readonly id: string
  readonly functionId: string
  /** 1 for the first attempt. */
  readonly attempt: number
  /** Grows with each claim. */
  readonly fence: number
  /** Claims whose node died before it said how they ended, since the last progress. */
  readonly losses: number
  /** Its place in the line of its function. */
  readonly rank: number
  readonly fanoutId: string | null
  readonly createdAt: number
  /** By the store's time: what is due by then is due, whatever the node's own clock says. */
  readonly claimedAt: number
  readonly event: RunEvent
  /** All of them, of a batch. */
  readonly events?: readonly RunEvent[]
  readonly limits: readonly LimitClaim[]
  /** Log lines that earlier attempts left. */
  readonly logLines: number
  /** Where its cause stands in a trace; for the code of an attempt, where that attempt does. */
  readonly trace?: string | null
}

/** Of these functions a node takes so many runs together, at most, in its next claim. */
export interface Quota {
  readonly functionIds: readonly string[]
  readonly most: number
}

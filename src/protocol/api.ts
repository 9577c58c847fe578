import type { ErrorCode } from "../core/errors.ts"

/** The paths of the HTTP API; `:id` stands for an encoded id. */
export const paths = {
  health: "/api/health",
  events: "/api/v1/events",
  functions: "/api/v1/functions",
  trigger: "/api/v1/functions/:id/trigger",
  functionPause: "/api/v1/functions/:id/pause",
  functionResume: "/api/v1/functions/:id/resume",
  runs: "/api/v1/runs",
  run: "/api/v1/runs/:id",
  fanouts: "/api/v1/fanouts",
  fanout: "/api/v1/fanouts/:id",
  /** Answers when the fan-out has ended, or after `?wait=` milliseconds (at most 20,000). */
  fanoutWait: "/api/v1/fanouts/:id/wait",
  fanoutFailures: "/api/v1/fanouts/:id/failures",
  fanoutRetry: "/api/v1/fanouts/:id/retry",
  fanoutCancel: "/api/v1/fanouts/:id/cancel",
  operation: "/api/v1/operations/:id",
  limits: "/api/v1/limits",
  limit: "/api/v1/limits/:id",
  nodes: "/api/v1/nodes",
  status: "/api/v1/status",
} as const

/** An error answer (RFC 9457, `application/problem+json`). */
export interface Problem {
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly field?: string
  readonly bound?: string | number
  readonly hint?: string
}

/** Counts are capped where counting would cost: `ready` at 10,000. */
export interface Status {
  readonly version: string
  readonly nodeId: string
  readonly store: string
  readonly startedAt: number
  readonly ready: number
  readonly running: number
  readonly scheduled: number
  readonly waiting: number
  /** Since this node started. */
  readonly completed: number
  readonly failed: number
  readonly retried: number
}

export interface TriggerResult {
  readonly runId: string
}

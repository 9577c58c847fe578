/** What went wrong, in a word for programs. Each has one HTTP status and one exit code (`codes` below). */
export type ErrorCode = keyof typeof codes

/** code → HTTP status of the API, exit code of the CLI. */
export const codes = {
  invalid_option: { http: 400, exit: 2 },
  invalid_function: { http: 400, exit: 2 },
  invalid_trigger: { http: 400, exit: 2 },
  invalid_event: { http: 400, exit: 2 },
  invalid_step: { http: 400, exit: 2 },
  not_json: { http: 400, exit: 2 },
  too_large: { http: 413, exit: 2 },
  too_many: { http: 413, exit: 2 },
  schema_mismatch: { http: 422, exit: 2 },
  not_allowed: { http: 401, exit: 3 },
  read_only: { http: 403, exit: 3 },
  cross_site: { http: 403, exit: 3 },
  busy: { http: 429, exit: 3 },
  key_reused: { http: 422, exit: 2 },
  event_conflict: { http: 409, exit: 1 },
  undecipherable: { http: 500, exit: 1 },
  cancelled: { http: 409, exit: 1 },
  signal_taken: { http: 409, exit: 1 },
  order_changed: { http: 409, exit: 1 },
  fanout_closed: { http: 409, exit: 1 },
  not_found: { http: 404, exit: 5 },
  not_connected: { http: 503, exit: 3 },
  stopping: { http: 503, exit: 3 },
  store_in_use: { http: 503, exit: 3 },
  store_unfit: { http: 500, exit: 3 },
  store_failed: { http: 503, exit: 3 },
  internal: { http: 500, exit: 1 },
} as const

/** Where and by how much: the field that is wrong, and the bound that it broke. */
export interface ErrorDetail {
  readonly field?: string
  readonly bound?: string | number
  /** What to do about it, in a sentence. */
  readonly hint?: string
  /** Milliseconds that whoever refused asks to wait: a step that fails so is tried again then. */
  readonly retryAfterMs?: number
  readonly cause?: unknown
}

/** An error of Fanfare itself. `message` says what happened and why; `hint` what to do. */
export class FanfareError extends Error {
  override readonly name = "FanfareError"
  readonly code: ErrorCode
  readonly field: string | undefined
  readonly bound: string | number | undefined
  readonly hint: string | undefined
  readonly retryAfterMs: number | undefined

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.code = code
    this.field = detail.field
    this.bound = detail.bound
    this.hint = detail.hint
    this.retryAfterMs = detail.retryAfterMs
  }
}

/** Thrown by a handler or a step to say: do not try this again. */
export class NonRetriableError extends Error {
  override readonly name = "NonRetriableError"
}

/** Thrown by a handler or a step to say when to try again. */
export class RetryAfterError extends Error {
  override readonly name = "RetryAfterError"
  /** Milliseconds from now, a duration such as `"30s"`, or the moment itself. */
  readonly retryAfter: number | string | Date
  /** A limit of the run that nobody who shares it starts under before then. */
  readonly limit: string | undefined

  /**
   * @param retryAfter milliseconds from now, a duration such as `"30s"`, or a `Date`; at most 7 days ahead
   * @param options `limit`: one of the run's own limits, by the value of its key or its full name. All runs that share it start no sooner
   * either: say it when the service behind it told you to slow down. A name that is none of the run's limits changes nothing.
   */
  constructor(message: string, retryAfter: number | string | Date, options?: { cause?: unknown; limit?: string }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.retryAfter = retryAfter
    this.limit = options?.limit
  }
}

/** What a handler catches when a step of it failed for good: name, message and stack are those of the step's error. */
export class StepError extends Error {
  readonly stepId: string

  constructor(stepId: string, failure: { name: string; message: string; stack?: string | undefined; cause?: unknown }) {
    super(failure.message, failure.cause === undefined ? undefined : { cause: failure.cause })
    this.name = failure.name
    this.stepId = stepId
    if (failure.stack !== undefined) this.stack = failure.stack
  }
}

import { type ErrorCode, FanfareError } from "../core/errors.ts"

/** What the store's thread is opened as: the one that writes, or one that answers people's questions. */
export type Role = "store" | "reader"

export interface Call {
  readonly id: number
  readonly method: string
  readonly args: readonly unknown[]
}

/** Answer 0 says that the store is open, or why it is not. */
export interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly error?: PackedError
}

/** Errors lose their class between threads. */
interface PackedError {
  readonly code: ErrorCode
  readonly message: string
  readonly stack: string | undefined
  readonly field: string | undefined
  readonly bound: string | number | undefined
  readonly hint: string | undefined
}

export function packError(error: unknown): PackedError {
  const known = error instanceof FanfareError ? error : null
  const message = error instanceof Error ? error.message : String(error)
  return {
    code: known?.code ?? "store_failed",
    message,
    stack: error instanceof Error ? error.stack : undefined,
    field: known?.field,
    bound: known?.bound,
    hint: known?.hint,
  }
}

export function unpackError({ code, message, stack, field, bound, hint }: PackedError): FanfareError {
  const error = new FanfareError(code, message, {
    ...(field === undefined ? {} : { field }),
    ...(bound === undefined ? {} : { bound }),
    ...(hint === undefined ? {} : { hint }),
  })
  if (stack !== undefined) error.stack = stack
  return error
}

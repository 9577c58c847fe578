import { type ErrorCode, FanfareError } from "./errors.ts"

/** An error on its way between threads or processes, where it would lose its class. */
export interface PackedError {
  readonly code: ErrorCode
  readonly message: string
  readonly stack: string | undefined
  readonly field: string | undefined
  readonly bound: string | number | undefined
  readonly hint: string | undefined
}

/** @param other the code of what is not an error of Fanfare */
export function packError(error: unknown, other: ErrorCode): PackedError {
  const known = error instanceof FanfareError ? error : null
  const message = error instanceof Error ? error.message : String(error)
  return {
    code: known?.code ?? other,
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

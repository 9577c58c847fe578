import { limits } from "./limits.ts"

/** An error as it is kept: whatever was thrown, with bounded text. */
export interface Failure {
  readonly name: string
  readonly message: string
  readonly stack?: string
  readonly cause?: Failure
  /** Fanfare's own code, when the error is one of Fanfare's. */
  readonly code?: string
}

/** Turns any thrown value into a failure; never throws itself, whatever the value's getters and methods do. */
export function toFailure(thrown: unknown): Failure {
  return describe(thrown, 0)
}

/** A kept failure as an error again. */
export function toError({ name, message, stack, cause }: Failure): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause: toError(cause) })
  error.name = name
  if (stack !== undefined) error.stack = stack
  return error
}

function describe(thrown: unknown, depth: number): Failure {
  if (typeof thrown !== "object" || thrown === null) {
    return { name: "NonError", message: `${typeof thrown} was thrown: ${cut(text(thrown), limits.errorMessageChars)}` }
  }
  const name = read(thrown, "name")
  const message = read(thrown, "message")
  const stack = read(thrown, "stack")
  const cause = read(thrown, "cause")
  const code = read(thrown, "code")
  const isError = typeof message === "string"
  return {
    name: typeof name === "string" && name !== "" ? cut(name, limits.nameChars) : isError ? "Error" : "NonError",
    message: cut(isError ? message : `an object was thrown: ${text(thrown)}`, limits.errorMessageChars),
    ...(typeof stack === "string" ? { stack: cut(stack, limits.errorStackChars) } : {}),
    ...(cause !== undefined && cause !== null && depth < limits.errorCauses ? { cause: describe(cause, depth + 1) } : {}),
    ...(typeof code === "string" ? { code: cut(code, limits.nameChars) } : {}),
  }
}

/** A property of a value that may be a hostile proxy. */
function read(value: object, key: string): unknown {
  try {
    return (value as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

function text(value: unknown): string {
  try {
    return typeof value === "object" ? JSON.stringify(value) : String(value)
  } catch {
    return "(it cannot be shown)"
  }
}

function cut(value: string, chars: number): string {
  return value.length <= chars ? value : `${value.slice(0, chars - 1)}…`
}

import { Environment } from "@marcbachmann/cel-js"
import { CelError, type Compiled, compileNode, textOf } from "./cel.ts"
import { type ErrorCode, FanfareError } from "./errors.ts"
import { limits } from "./limits.ts"

/** The value that an expression sees as `event`. */
export interface ExpressionEvent {
  readonly name: string
  readonly data: unknown
  readonly id: string
  readonly ts: number
}

/** Whether an event fits. Anything but true, and any error while it is evaluated, means that it does not. */
export type Condition = (event: ExpressionEvent) => boolean

/** What an expression gives for an event; `now()` is the event's own time. @throws Error when the data does not fit it */
export type Expression = (event: ExpressionEvent) => unknown

const environment = new Environment({
  limits: { maxAstNodes: 1_000, maxDepth: 50, maxListElements: 1_000, maxMapEntries: 1_000, maxCallArguments: 16 },
})
const variables = new Set(["event"])

/**
 * Compiles a CEL condition over `event`, once.
 * @throws FanfareError `invalid_trigger` (or `code`) naming `field` when it is not CEL, is longer than 4,096 characters, or is a literal
 * that is not a condition
 */
export function compileCondition(source: string, field: string, code: ErrorCode = "invalid_trigger"): Condition {
  const evaluate = compileExpression(source, field, code, "event.data.total > 100", "boolean")
  return (event) => {
    try {
      return evaluate(event) === true
    } catch {
      return false
    }
  }
}

/**
 * Compiles a CEL expression over `event`, once.
 * @param wanted a literal of another type is refused
 * @throws FanfareError with `code`, naming `field`
 */
export function compileExpression(
  source: string,
  field: string,
  code: ErrorCode,
  example: string,
  wanted: "boolean" | "number" | "text",
): Expression {
  if (typeof source !== "string" || source.trim() === "" || source.length > limits.expressionChars) {
    throw new FanfareError(code, `${field} must be a CEL expression of at most ${limits.expressionChars} characters`, {
      field: field.slice(field.lastIndexOf(": ") + 1).trim(),
      bound: limits.expressionChars,
      hint: `Write an expression over the event, such as: ${example}`,
    })
  }
  let evaluate: Compiled
  try {
    const { ast } = environment.parse(source)
    if (ast.op === "value" && wanted !== "text" && typeof jsNumber(ast.args) !== wanted) {
      throw new CelError(`it is always ${JSON.stringify(jsNumber(ast.args))}, which is not a ${wanted}`)
    }
    evaluate = compileNode(ast, variables)
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause)
    throw new FanfareError(code, `${field} is not a CEL expression: ${why}`, {
      field: field.slice(field.lastIndexOf(": ") + 1).trim(),
      hint: `Write an expression over the event, such as: ${example}`,
      cause,
    })
  }
  return (event) => evaluate({ variables: new Map([["event", event]]), now: event.ts, budget: { steps: limits.expressionSteps } })
}

function jsNumber(literal: unknown): unknown {
  return typeof literal === "bigint" ? Number(literal) : literal
}

/** The key of an event as text; null when the expression gives `false`: the rule does not apply then. */
export function keyText(value: unknown): string | null {
  return value === false ? null : textOf(value)
}

import { Environment } from "@marcbachmann/cel-js"
import { FanfareError } from "./errors.ts"
import { limits } from "./limits.ts"

/** The value that an expression sees as `event`. */
export interface ExpressionEvent {
  readonly name: string
  readonly data: unknown
  readonly id: string
  readonly ts: number
}

/** Whether an event fits. A missing field, like any other error while it is evaluated, means that it does not. */
export type Condition = (event: ExpressionEvent) => boolean

const environment = new Environment({
  limits: { maxAstNodes: 1_000, maxDepth: 50, maxListElements: 1_000, maxMapEntries: 1_000, maxCallArguments: 16 },
}).registerVariable("event", "dyn")

/**
 * Compiles a CEL condition over `event`, once.
 * @throws FanfareError `invalid_trigger` naming `field` when it is not CEL or longer than 4,096 characters
 */
export function compileCondition(source: string, field: string): Condition {
  if (typeof source !== "string" || source.length > limits.expressionChars) {
    throw new FanfareError("invalid_trigger", `${field} must be a CEL expression of at most ${limits.expressionChars} characters`, {
      field,
      bound: limits.expressionChars,
    })
  }
  let evaluate: (context: { event: ExpressionEvent }) => unknown
  try {
    evaluate = environment.parse(source)
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause)
    throw new FanfareError("invalid_trigger", `${field} is not a CEL expression: ${why}`, {
      field,
      hint: `Write a condition over the event, such as: event.data.total > 100`,
      cause,
    })
  }
  return (event) => {
    try {
      return evaluate({ event }) === true
    } catch {
      return false
    }
  }
}

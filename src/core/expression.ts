import { type ASTNode, Environment } from "@marcbachmann/cel-js"
import { CelError, compileNode, textOf } from "./cel.ts"
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

/**
 * A condition over two events: `event`, the one that started the run, and `async`, the new one. `equality`: a part that must hold in any
 * case and says that a field of the new event equals something known beforehand; null when there is none.
 */
export interface PairCondition {
  readonly holds: (event: ExpressionEvent, async: ExpressionEvent) => boolean
  readonly equality: Equality | null
}

export interface Equality {
  /** A field of the new event, such as `data.userId`. */
  readonly path: string
  readonly value: { readonly literal: string | number | boolean } | { readonly path: string }
  /** Whether the whole condition is this equality. */
  readonly whole: boolean
}

const environment = new Environment({
  limits: { maxAstNodes: 1_000, maxDepth: 50, maxListElements: 1_000, maxMapEntries: 1_000, maxCallArguments: 16 },
})

/**
 * Compiles a CEL condition over `event`, once.
 * @throws FanfareError `invalid_trigger` (or `code`) naming `field` when it is not CEL, is longer than 4,096 characters, or is a literal
 * that is not a condition
 */
export function compileCondition(source: string, field: string, code: ErrorCode = "invalid_trigger"): Condition {
  const { evaluate } = parse(source, field, code, "event.data.total > 100", "boolean", ["event"])
  return (event) => isTrue(() => evaluate({ event }, event.ts))
}

const pairs = new Map<string, PairCondition>()
const pairsMost = 1_000

/**
 * Compiles a CEL condition over `event` and `async`; texts seen before are not compiled again.
 * @throws FanfareError with `code`, naming `field`
 */
export function compilePairCondition(source: string, field: string, code: ErrorCode): PairCondition {
  const known = pairs.get(source)
  if (known !== undefined) return known
  const { evaluate, ast } = parse(source, field, code, "event.data.orderId == async.data.orderId", "boolean", ["event", "async"])
  const compiled: PairCondition = {
    holds: (event, async) => isTrue(() => evaluate({ event, async }, async.ts)),
    equality: equalityOf(ast, true),
  }
  if (pairs.size >= pairsMost) pairs.clear()
  pairs.set(source, compiled)
  return compiled
}

function isTrue(evaluate: () => unknown): boolean {
  try {
    return evaluate() === true
  } catch {
    return false
  }
}

interface Parsed {
  readonly evaluate: (values: Readonly<Record<string, ExpressionEvent>>, now: number) => unknown
  readonly ast: ASTNode
}

function parse(
  source: string,
  field: string,
  code: ErrorCode,
  example: string,
  wanted: "boolean" | "number" | "text",
  variables: readonly string[],
): Parsed {
  const name = field.slice(field.lastIndexOf(": ") + 1).trim()
  if (typeof source !== "string" || source.trim() === "" || source.length > limits.expressionChars) {
    throw new FanfareError(code, `${field} must be a CEL expression of at most ${limits.expressionChars} characters`, {
      field: name,
      bound: limits.expressionChars,
      hint: `Write an expression over the event, such as: ${example}`,
    })
  }
  try {
    const { ast } = environment.parse(source)
    if (ast.op === "value" && wanted !== "text" && typeof jsNumber(ast.args) !== wanted) {
      throw new CelError(`it is always ${JSON.stringify(jsNumber(ast.args))}, which is not a ${wanted}`)
    }
    const compiled = compileNode(ast, new Set(variables))
    const budget = limits.expressionSteps
    return {
      ast,
      evaluate: (values, now) => compiled({ variables: new Map(Object.entries(values)), now, budget: { steps: budget } }),
    }
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause)
    throw new FanfareError(code, `${field} is not a CEL expression: ${why}`, {
      field: name,
      hint: `Write an expression over the event, such as: ${example}`,
      cause,
    })
  }
}

/** An equality that stands alone, or is one of several parts that must all hold. */
function equalityOf(node: ASTNode, whole: boolean): Equality | null {
  if (node.op === "&&") return equalityOf(node.args[0], false) ?? equalityOf(node.args[1], false)
  if (node.op !== "==") return null
  const [left, right] = node.args
  return equalSides(left, right, whole) ?? equalSides(right, left, whole)
}

function equalSides(side: ASTNode, other: ASTNode, whole: boolean): Equality | null {
  const path = pathOf(side, "async")
  if (path === null) return null
  const known = pathOf(other, "event")
  if (known !== null) return { path, value: { path: known }, whole }
  if (other.op !== "value") return null
  const literal = typeof other.args === "bigint" ? Number(other.args) : other.args
  return typeof literal === "string" || typeof literal === "number" || typeof literal === "boolean"
    ? { path, value: { literal }, whole }
    : null
}

/** `async.data.user["id"]` → `data.user.id`; null for anything else. Names with a dot are left alone. */
function pathOf(node: ASTNode, root: string): string | null {
  const names: string[] = []
  let at = node
  for (;;) {
    if (at.op === ".") {
      names.unshift(at.args[1])
      at = at.args[0]
    } else if (at.op === "[]" && at.args[1].op === "value" && typeof at.args[1].args === "string") {
      names.unshift(at.args[1].args)
      at = at.args[0]
    } else break
  }
  if (at.op !== "id" || at.args !== root || names.length === 0) return null
  return names.some((name) => name.includes(".") || name === "") ? null : names.join(".")
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
  const { evaluate } = parse(source, field, code, example, wanted, ["event"])
  return (event) => evaluate({ event }, event.ts)
}

function jsNumber(literal: unknown): unknown {
  return typeof literal === "bigint" ? Number(literal) : literal
}

/** The key of an event as text; null when the expression gives `false`: the rule does not apply then. */
export function keyText(value: unknown): string | null {
  return value === false ? null : textOf(value)
}

import { Environment, type ASTNode } from "@marcbachmann/cel-js"
import { type ErrorCode, FanfareError } from "./errors.ts"
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

const bounds = { limits: { maxAstNodes: 1_000, maxDepth: 50, maxListElements: 1_000, maxMapEntries: 1_000, maxCallArguments: 16 } }
const single = new Environment(bounds).registerVariable("event", "dyn")
const pair = new Environment(bounds).registerVariable("event", "dyn").registerVariable("async", "dyn")

/**
 * Compiles a CEL condition over `event`, once.
 * @throws FanfareError `invalid_trigger` naming `field` when it is not CEL or longer than 4,096 characters
 */
export function compileCondition(source: string, field: string): Condition {
  const evaluate = parse(single, source, field, "invalid_trigger", "event.data.total > 100")
  return (event) => isTrue(() => evaluate({ event }))
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
  const evaluate = parse(pair, source, field, code, "event.data.orderId == async.data.orderId")
  const compiled: PairCondition = {
    holds: (event, async) => isTrue(() => evaluate({ event, async })),
    equality: equalityOf(evaluate.ast, true),
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

interface Compiled {
  (context: Record<string, ExpressionEvent>): unknown
  readonly ast: ASTNode
}

function parse(environment: Environment, source: string, field: string, code: ErrorCode, example: string): Compiled {
  if (typeof source !== "string" || source.length > limits.expressionChars) {
    throw new FanfareError(code, `${field} must be a CEL expression of at most ${limits.expressionChars} characters`, {
      field,
      bound: limits.expressionChars,
    })
  }
  try {
    const parsed = environment.parse(source)
    const checked = parsed.check()
    if (!checked.valid) throw checked.error ?? new Error("it does not fit together")
    return parsed
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause)
    throw new FanfareError(code, `${field} is not a CEL expression: ${why}`, {
      field,
      hint: `Write a condition, such as: ${example}`,
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

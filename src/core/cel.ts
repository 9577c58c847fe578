import type { ASTNode } from "@marcbachmann/cel-js"
import { durationMs } from "./duration.ts"
import { limits } from "./limits.ts"

/**
 * What a parsed CEL expression means here: loosely, as users of the Inngest SDKs know it. What is missing is like null instead of an
 * error, numbers of all kinds compare, `+` of different types joins their texts, and `&&`, `||`, `?:` go by truthiness. All numbers are
 * doubles, moments and durations are milliseconds. An evaluation takes at most `limits.expressionSteps` steps.
 */
export interface Scope {
  readonly variables: ReadonlyMap<string, unknown>
  /** What `now()` gives, milliseconds since 1970. */
  readonly now: number
  /** Steps that are left. */
  readonly budget: { steps: number }
}

export type Compiled = (scope: Scope) => unknown

/** Something about an expression is not right: at compile time, or with the data it meets. */
export class CelError extends Error {
  override readonly name = "CelError"
}

/** Turns a syntax tree into a function, once. @throws CelError for a function that does not exist, or an operator we do not have */
export function compileNode(node: ASTNode, variables: ReadonlySet<string>): Compiled {
  const inner = compile(node, variables)
  return (scope) => {
    if (--scope.budget.steps < 0) throw new CelError(`it takes more than ${limits.expressionSteps} steps`)
    return inner(scope)
  }
}

const binary = ["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in", "&&", "||"] as const
type Binary = Extract<ASTNode, { op: (typeof binary)[number] }>

function isBinary(node: ASTNode): node is Binary {
  return (binary as readonly string[]).includes(node.op)
}

function compile(node: ASTNode, variables: ReadonlySet<string>): Compiled {
  const sub = (inner: ASTNode): Compiled => compileNode(inner, variables)
  if (isBinary(node)) return compileBinary(node.op, node.args.map(sub) as [Compiled, Compiled])
  switch (node.op) {
    case "value": {
      const value = typeof node.args === "bigint" ? Number(node.args) : node.args
      if (value !== null && typeof value === "object") throw new CelError("bytes and unsigned numbers are not supported")
      return () => value
    }
    case "id": {
      const name = node.args
      if (!variables.has(name)) throw new CelError(`there is no variable "${name}"; there is ${[...variables].join(", ")}`)
      return ({ variables: values }) => values.get(name)
    }
    case ".":
    case ".?": {
      const [object, field] = node.args
      const of = sub(object)
      return (scope) => fieldOf(of(scope), field)
    }
    case "[]":
    case "[?]": {
      const [of, key] = node.args.map(sub) as [Compiled, Compiled]
      return (scope) => fieldOf(of(scope), key(scope))
    }
    case "list": {
      const items = node.args.map(sub)
      return (scope) => items.map((item) => item(scope))
    }
    case "map": {
      const entries = node.args.map(([key, value]) => [sub(key), sub(value)] as const)
      return (scope) => Object.fromEntries(entries.map(([key, value]) => [textOf(key(scope)), value(scope)]))
    }
    case "?:": {
      const [test, yes, no] = node.args.map(sub) as [Compiled, Compiled, Compiled]
      return (scope) => (test(scope) ? yes(scope) : no(scope))
    }
    case "!_": {
      const of = sub(node.args)
      return (scope) => !of(scope)
    }
    case "-_": {
      const of = sub(node.args)
      return (scope) => -numberOf(of(scope))
    }
    case "call":
      return compileCall(node.args[0], null, node.args[1], variables)
    case "rcall":
      return compileCall(node.args[0], node.args[1], node.args[2], variables)
    default:
      return node satisfies never
  }
}

function compileBinary(op: Binary["op"], [left, right]: readonly [Compiled, Compiled]): Compiled {
  // These two decide whether their right side is looked at.
  if (op === "&&") return (scope) => left(scope) && right(scope)
  if (op === "||") return (scope) => left(scope) || right(scope)
  const operator = operators[op]
  return (scope) => operator(left(scope), right(scope))
}

type Operator = (a: unknown, b: unknown) => unknown

const operators: Readonly<Record<Exclude<Binary["op"], "&&" | "||">, Operator>> = {
  "==": equal,
  "!=": (a, b) => !equal(a, b),
  "<": (a, b) => a === undefined || order(a, b) < 0,
  "<=": (a, b) => a === undefined || order(a, b) <= 0,
  ">": (a, b) => a !== undefined && (b === undefined || order(a, b) > 0),
  ">=": (a, b) => a !== undefined && (b === undefined || order(a, b) >= 0),
  "+": (a, b) => {
    if (a === undefined || b === undefined) return a ?? b
    if (typeof a === "number" && typeof b === "number") return a + b
    if (Array.isArray(a) && Array.isArray(b)) return [...(a as unknown[]), ...(b as unknown[])]
    return bounded(textOf(a) + textOf(b))
  },
  "-": (a, b) => numberOf(a) - numberOf(b),
  "*": (a, b) => numberOf(a) * numberOf(b),
  "/": (a, b) => numberOf(a) / numberOf(b),
  "%": (a, b) => numberOf(a) % numberOf(b),
  in: (a, b) => (Array.isArray(b) ? b.some((item) => equal(a, item)) : isObject(b) && Object.hasOwn(b, textOf(a))),
}

function equal(a: unknown, b: unknown): boolean {
  if (isObject(a) && isObject(b)) return JSON.stringify(a) === JSON.stringify(b)
  return (a ?? null) === (b ?? null)
}

/** Null counts as the zero of the other side's type. */
function order(a: unknown, b: unknown): number {
  const left = a ?? zeroLike(b)
  const right = b ?? zeroLike(a)
  if (typeof left === "number" && typeof right === "number") return left - right
  if (typeof left === "boolean" && typeof right === "boolean") return Number(left) - Number(right)
  if (typeof left === "string" && typeof right === "string") return left < right ? -1 : left > right ? 1 : 0
  throw new CelError(`a ${kindOf(left)} and a ${kindOf(right)} have no order`)
}

function zeroLike(other: unknown): unknown {
  return typeof other === "string" ? "" : typeof other === "boolean" ? false : 0
}

type Call = (args: readonly unknown[], scope: Scope) => unknown

/** Functions, called as `f(x, …)` or `x.f(…)`: the first argument is the receiver. */
const functions: Readonly<Record<string, Call>> = {
  size: ([x]) => (typeof x === "string" || Array.isArray(x) ? x.length : isObject(x) ? Object.keys(x).length : 0),
  string: ([x]) => textOf(x),
  int: ([x]) => Math.trunc(numberOf(x)),
  uint: ([x]) => Math.trunc(numberOf(x)),
  double: ([x]) => numberOf(x),
  bool: ([x]) => x === true || x === "true",
  dyn: ([x]) => x,
  type: ([x]) => kindOf(x),
  lowercase: onText((x) => x.toLowerCase()),
  uppercase: onText((x) => x.toUpperCase()),
  lowerAscii: onText((x) => x.toLowerCase()),
  upperAscii: onText((x) => x.toUpperCase()),
  trim: onText((x) => x.trim()),
  startsWith: onText((x, y) => x.startsWith(y)),
  endsWith: onText((x, y) => x.endsWith(y)),
  contains: onText((x, y) => x.includes(y)),
  split: onText((x, y) => x.split(y)),
  join: ([x, y]) => (Array.isArray(x) ? bounded(x.map(textOf).join(y === undefined ? "" : textOf(y))) : false),
  b64decode: onText((x) => new TextDecoder().decode(Uint8Array.from(atob(x), (char) => char.charCodeAt(0)))),
  json_parse: onText((x) => JSON.parse(x) as unknown),
  date: ([x]) => momentOf(x),
  timestamp: ([x]) => momentOf(x),
  duration: onText((x) => durationMs(x, "duration")),
  now: (_, { now }) => now,
  now_plus: ([x], { now }) => now + durationMs(textOf(x), "now_plus"),
  now_minus: ([x], { now }) => now - durationMs(textOf(x), "now_minus"),
}

/** A function of texts: false for what is missing. */
function onText(call: (x: string, y: string) => unknown): Call {
  return ([x, y]) => {
    if (x === undefined || x === null) return false
    if (typeof x !== "string") throw new CelError(`a text is expected, not a ${kindOf(x)}`)
    return call(x, y === undefined ? "" : textOf(y))
  }
}

const macros = new Set(["exists", "all", "exists_one", "map", "filter"])

function compileCall(name: string, receiver: ASTNode | null, args: readonly ASTNode[], variables: ReadonlySet<string>): Compiled {
  if (name === "has" && receiver === null && args[0] !== undefined) {
    const of = compileNode(args[0], variables)
    return (scope) => of(scope) !== undefined
  }
  if (receiver !== null && macros.has(name)) return compileMacro(name, receiver, args, variables)
  if (name === "matches") return compileMatches(receiver === null ? args : [receiver, ...args], variables)
  const call = Object.hasOwn(functions, name) ? functions[name] : undefined
  if (call === undefined) throw new CelError(`there is no function "${name}"`)
  const given = (receiver === null ? args : [receiver, ...args]).map((arg) => compileNode(arg, variables))
  return (scope) =>
    call(
      given.map((arg) => arg(scope)),
      scope,
    )
}

/** A pattern is written in the expression itself, so that it is looked at once; a repeated group could take for ever. */
function compileMatches([of, pattern]: readonly ASTNode[], variables: ReadonlySet<string>): Compiled {
  if (of === undefined || pattern?.op !== "value" || typeof pattern.args !== "string") throw new CelError("matches needs a literal pattern")
  if (/\)[*+{]|\\\d/.test(pattern.args)) throw new CelError("matches: a group cannot be repeated or referred to")
  const regex = new RegExp(pattern.args, "u")
  const { chars, steps } = matchBounds(pattern.args)
  const subject = compileNode(of, variables)
  return (scope) => {
    const text = subject(scope)
    scope.budget.steps -= steps
    if (typeof text === "string" && text.length > chars && chars < limits.expressionMatchChars) {
      throw new CelError(`a pattern with so many repetitions is matched on at most ${chars} characters`)
    }
    return typeof text === "string" && regex.test(text.slice(0, limits.expressionMatchChars))
  }
}

/**
 * With k repetitions beside each other a match may look at n^k/k! places, and at each beginning when it may begin anywhere: the more there
 * are, the shorter the text may be, so that each match is over within milliseconds. What it may cost counts as steps.
 */
function matchBounds(pattern: string): { readonly chars: number; readonly steps: number } {
  const repeats = pattern.match(/(?<!\\)[*+{]/g)?.length ?? 0
  if (repeats === 0) return { chars: limits.expressionMatchChars, steps: 0 }
  const k = repeats + (pattern.startsWith("^") ? 0 : 1)
  let ways = 1
  for (let i = 2; i <= k; i++) ways *= i
  const chars = Math.min(limits.expressionMatchChars, Math.floor((matchLooks * ways) ** (1 / k)))
  return { chars, steps: k > 2 ? limits.expressionSteps / 10 : limits.expressionSteps / 100 }
}

const matchLooks = 500_000

function compileMacro(name: string, receiver: ASTNode, args: readonly ASTNode[], variables: ReadonlySet<string>): Compiled {
  const [variable, first, second] = args
  if (variable?.op !== "id" || first === undefined) throw new CelError(`${name} needs a variable and an expression`)
  const id = variable.args
  const inner = new Set([...variables, id])
  const list = compileNode(receiver, variables)
  const test = compileNode(first, inner)
  const transform = second === undefined ? null : compileNode(second, inner)
  return (scope) => {
    const value = list(scope)
    const items: readonly unknown[] = Array.isArray(value) ? value : isObject(value) ? Object.keys(value) : []
    const on = (item: unknown, call: Compiled): unknown => call({ ...scope, variables: new Map([...scope.variables, [id, item]]) })
    if (name === "exists") return items.some((item) => on(item, test))
    if (name === "all") return items.every((item) => on(item, test))
    const chosen = name === "map" && transform === null ? items : items.filter((item) => on(item, test))
    if (name === "exists_one") return chosen.length === 1
    return name === "filter" ? chosen : chosen.map((item) => on(item, transform ?? test))
  }
}

function fieldOf(of: unknown, key: unknown): unknown {
  if (Array.isArray(of)) return typeof key === "number" ? (of[key] as unknown) : undefined
  if (!isObject(of)) return undefined
  const name = textOf(key)
  return Object.hasOwn(of, name) ? (of as Record<string, unknown>)[name] : undefined
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null
}

function kindOf(value: unknown): string {
  return value === undefined || value === null ? "null" : Array.isArray(value) ? "list" : typeof value
}

function numberOf(value: unknown): number {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : (value ?? 0)
  if (typeof number === "number" && !Number.isNaN(number)) return number
  if (typeof number === "boolean") return Number(number)
  throw new CelError(`a number is expected, not a ${kindOf(value)}`)
}

function momentOf(value: unknown): number {
  const moment = typeof value === "string" ? Date.parse(value) : numberOf(value)
  if (Number.isNaN(moment)) throw new CelError(`${JSON.stringify(value)} is not a moment`)
  return moment
}

/** As a key, or as a part of a text, a value is written so. */
export function textOf(value: unknown): string {
  if (typeof value === "string") return value
  if (value === undefined || value === null) return "null"
  return isObject(value) ? JSON.stringify(value) : String(value)
}

function bounded(text: string): string {
  if (text.length > limits.expressionTextChars) throw new CelError(`a text of more than ${limits.expressionTextChars} characters`)
  return text
}

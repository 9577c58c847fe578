import { FanfareError } from "./errors.ts"
import { limits } from "./limits.ts"

/** What to call the value in messages, and what it may weigh. */
export interface JsonRule {
  readonly field: string
  readonly bytes: number
}

/**
 * A value as JSON text; `undefined` becomes `null`.
 * @throws FanfareError `not_json` naming the path of what JSON cannot carry (BigInt, function, symbol, circular, NaN, Map …),
 * `too_large` when the text is over `rule.bytes`
 */
export function encodeJson(value: unknown, rule: JsonRule): string {
  if (value === undefined || value === null) return "null"
  check(value, rule.field, 0, [])
  let text: string
  try {
    text = JSON.stringify(value)
  } catch (cause) {
    throw new FanfareError("not_json", `${rule.field} cannot be written as JSON: ${String(cause)}`, { field: rule.field, cause })
  }
  // UTF-8 needs at most three bytes per UTF-16 unit: only a text near the bound is measured exactly.
  if (text.length * 3 > rule.bytes) {
    const bytes = new TextEncoder().encode(text).byteLength
    if (bytes > rule.bytes) {
      throw new FanfareError("too_large", `${rule.field} is ${bytes} bytes as JSON; the most is ${rule.bytes}`, {
        field: rule.field,
        bound: rule.bytes,
        hint: "Store the large part elsewhere and pass a reference to it.",
      })
    }
  }
  return text
}

function check(value: unknown, path: string, depth: number, above: object[]): void {
  switch (typeof value) {
    case "string":
    case "boolean":
      return
    case "number":
      if (Number.isFinite(value)) return
      throw unfit(path, `is ${value}`)
    case "object":
      if (value !== null) checkObject(value, path, depth, above)
      return
    case "undefined":
      throw unfit(path, "is undefined")
    case "bigint":
      throw unfit(path, "is a BigInt", "Send it as a string.")
    case "function":
      throw unfit(path, "is a function")
    case "symbol":
      throw unfit(path, "is a symbol")
  }
}

function checkObject(value: object, path: string, depth: number, above: object[]): void {
  if (depth >= limits.jsonDepth) {
    throw new FanfareError("not_json", `${path} is nested deeper than ${limits.jsonDepth} levels`, { field: path, bound: limits.jsonDepth })
  }
  if (above.includes(value)) throw unfit(path, "refers back to an object that contains it")
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return
  if (isOpaque(value)) throw unfit(path, `is a ${value.constructor.name}`, "Turn it into plain objects and arrays first.")
  above.push(value)
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) check(value[i], `${path}[${i}]`, depth + 1, above)
  } else {
    for (const key of Object.keys(value)) {
      const inner = (value as Record<string, unknown>)[key]
      if (inner === undefined) continue
      // These keys are data to JSON but can change an object's prototype when merged: refused at the door.
      if (key === "__proto__") throw unfit(`${path}.${key}`, "is a reserved key")
      check(inner, `${path}.${key}`, depth + 1, above)
    }
  }
  above.pop()
}

/** JSON would silently turn these into `{}` and lose what they hold. */
function isOpaque(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === Array.prototype || prototype === null) return false
  return (
    value instanceof Map ||
    value instanceof Set ||
    value instanceof WeakMap ||
    value instanceof WeakSet ||
    value instanceof Promise ||
    value instanceof RegExp ||
    value instanceof Error ||
    value instanceof ArrayBuffer ||
    ArrayBuffer.isView(value)
  )
}

function unfit(path: string, what: string, hint?: string): FanfareError {
  return new FanfareError("not_json", `${path} ${what}, which JSON cannot carry`, { field: path, ...(hint === undefined ? {} : { hint }) })
}

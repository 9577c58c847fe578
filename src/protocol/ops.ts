import { type Failure, toFailure } from "../core/failure.ts"
import { limits } from "../core/limits.ts"
import { isPlainText, stepKeyOf } from "./op-id.ts"

/** What an app says of its own SDK's doing at a step: one element of a 206 reply. Fields that are not known are left out. */
export interface Op {
  readonly id: string
  /** The key under which its step is kept. */
  readonly key: string
  readonly kind: string
  readonly name: string
  readonly data: unknown
  readonly error: Failure | null
  readonly opts: Readonly<Record<string, unknown>>
}

/** An answer that is not in the language of the protocol. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError"
}

const idChars = 256

/**
 * Reads the ops of a reply; a single one may stand without its array.
 * @throws ProtocolError saying what is wrong: nothing of the reply is used then
 */
export function parseOps(body: unknown): Op[] {
  const list = Array.isArray(body) ? body : isObject(body) ? [body] : null
  if (list === null) throw new ProtocolError("the app's reply is no list of steps")
  if (list.length > limits.opsPerReply) {
    throw new ProtocolError(`the app reported ${list.length} steps at once; the most is ${limits.opsPerReply}`)
  }
  return list.map(parseOp).filter(({ kind }) => kind !== "None")
}

function parseOp(value: unknown, i: number): Op {
  if (!isObject(value)) throw new ProtocolError(`step ${i} of the app's reply is no object`)
  const { id, op } = value
  if (op === "None") return { id: "", key: "", kind: "None", name: "", data: null, error: null, opts: {} }
  if (typeof id !== "string" || !isPlainText(id, idChars)) throw new ProtocolError(`step ${i} of the app's reply has no usable id`)
  if (typeof op !== "string" || !isPlainText(op, idChars)) throw new ProtocolError(`step ${i} of the app's reply does not say what it is`)
  const displayName = textOr(value["displayName"], textOr(value["name"], null))
  return {
    id,
    key: stepKeyOf({ id, userland: parseUserland(value["userland"]), displayName }),
    kind: op,
    name: textOr(value["name"], "") ?? "",
    data: value["data"] ?? null,
    error: isObject(value["error"]) ? toFailure(value["error"]) : null,
    opts: isObject(value["opts"]) ? value["opts"] : {},
  }
}

function parseUserland(value: unknown): { id: string; index: number } | null {
  if (!isObject(value) || typeof value["id"] !== "string") return null
  const index = value["index"] ?? 0
  return typeof index === "number" && Number.isSafeInteger(index) && index >= 0 ? { id: value["id"], index } : null
}

function textOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === "string" ? value : otherwise
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

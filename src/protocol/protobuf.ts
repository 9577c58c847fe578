import { ProtocolError } from "./ops.ts"

/** A message of protobuf as it came: its fields by their numbers. What is not there is empty, as the format has it. */
export interface Message {
  /** @throws ProtocolError it is no UTF-8 */
  text(field: number): string
  bytes(field: number): Uint8Array
  number(field: number): number
  /** A field that may come several times. */
  all(field: number): readonly Uint8Array[]
}

/** Fields of one message: far more than any has, and few enough that a hostile one costs no more than its bytes. */
const fieldsMax = 2_000

const kinds = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

/** @throws ProtocolError it is none */
export function readMessage(bytes: Uint8Array): Message {
  const numbers = new Map<number, number>()
  const parts = new Map<number, Uint8Array[]>()
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let i = 0; i < 10; i++) {
      const byte = bytes[at++]
      if (byte === undefined) throw new ProtocolError("the message ends in the middle of a number")
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) return value
    }
    throw new ProtocolError("the message has a number of more than ten bytes")
  }
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw new ProtocolError("the message ends in the middle of a field")
    const part = bytes.subarray(at, at + length)
    at += length
    return part
  }
  for (let fields = 0; at < bytes.length; fields++) {
    if (fields === fieldsMax) throw new ProtocolError(`the message has more than ${fieldsMax} fields`)
    const tag = varint()
    const field = Math.floor(tag / 8)
    const kind = tag % 8
    if (kind === kinds.varint) numbers.set(field, varint())
    else if (kind === kinds.bytes) {
      const known = parts.get(field)
      if (known === undefined) parts.set(field, [take(varint())])
      else known.push(take(varint()))
    } else if (kind === kinds.fixed64) take(8)
    else if (kind === kinds.fixed32) take(4)
    else throw new ProtocolError(`the message has a field of the unknown kind ${kind}`)
  }
  const last = (field: number): Uint8Array => parts.get(field)?.at(-1) ?? nothing
  return {
    text: (field) => textOf(last(field)),
    bytes: last,
    number: (field) => numbers.get(field) ?? 0,
    all: (field) => parts.get(field) ?? [],
  }
}

const nothing = new Uint8Array()
const decoder = new TextDecoder("utf-8", { fatal: true })
const encoder = new TextEncoder()

function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new ProtocolError("a text of the message is no UTF-8")
  }
}

/** A message of these fields, by their numbers; empty ones are left out, as the format has it. */
export function writeMessage(fields: Readonly<Record<number, string | number | Uint8Array>>): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = []
  for (const [field, value] of Object.entries(fields)) {
    if (typeof value === "number") {
      if (value !== 0) parts.push(varintOf(Number(field) * 8 + kinds.varint), varintOf(value))
      continue
    }
    const content = typeof value === "string" ? encoder.encode(value) : value
    if (content.length > 0) parts.push(varintOf(Number(field) * 8 + kinds.bytes), varintOf(content.length), content)
  }
  const message = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    message.set(part, at)
    at += part.length
  }
  return message
}

function varintOf(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80)
  return Uint8Array.of(...bytes, rest)
}

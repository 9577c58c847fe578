import { FanfareError } from "../core/errors.ts"
import type { Middleware } from "../core/middleware.ts"

export interface EncryptionOptions {
  /** 32 bytes, as base64. What is written from now on is encrypted with it. */
  readonly key: string
  /** Keys that were used before: what they encrypted can still be read. */
  readonly oldKeys?: readonly string[]
  /** Fields of event data that stay readable, since triggers, waits and limits look at them, such as `["userId"]`. */
  readonly plain?: readonly string[]
}

/** The field that holds what is encrypted; beside it stand the plain fields. */
const field = "$encrypted"
const keyBytes = 32
const ivBytes = 12

interface Key {
  readonly id: string
  readonly key: Awaited<ReturnType<typeof crypto.subtle.importKey>>
}

/**
 * Encrypts the data of events, the results of steps and the outputs of runs before they leave this process (AES-256-GCM by WebCrypto): the
 * store, its backups and the dashboard have only the encrypted text. Names, ids, times and errors stay readable.
 *
 * To change the key, give the new one as `key` and the one before in `oldKeys` everywhere, until nothing encrypted with it is left.
 * @throws FanfareError `invalid_option` when a key is not 32 bytes of base64
 */
export function encryption({ key, oldKeys = [], plain = [] }: EncryptionOptions): Middleware {
  for (const [i, each] of [key, ...oldKeys].entries()) checkKey(each, i === 0 ? "key" : `oldKeys[${i - 1}]`)
  const keys = Promise.all([key, ...oldKeys].map(importKey))
  // A failure is met where a key is used.
  keys.catch(() => undefined)
  return {
    name: "encryption",
    async encode(value, place) {
      const [current] = await keys
      if (current === undefined || value === undefined || value === null) return value
      if (place !== "event" || typeof value !== "object" || Array.isArray(value)) return { [field]: await encrypt(value, current) }
      const open = Object.entries(value).filter(([name]) => plain.includes(name))
      const secret = Object.fromEntries(Object.entries(value).filter(([name]) => !plain.includes(name)))
      return { ...Object.fromEntries(open), [field]: await encrypt(secret, current) }
    },
    decode: async (value) => decrypt(value, await keys),
  }
}

async function encrypt(value: unknown, { id, key }: Key): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(ivBytes))
  const text = new TextEncoder().encode(JSON.stringify(value))
  const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, text))
  return `v1.${id}.${toBase64(iv)}.${toBase64(sealed)}`
}

/** Whatever is encrypted anywhere in a value: an event may carry another one. */
async function decrypt(value: unknown, keys: readonly Key[]): Promise<unknown> {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return Promise.all(value.map((each) => decrypt(each, keys)))
  const entries = Object.entries(value)
  const sealed: unknown = (value as Record<string, unknown>)[field]
  if (typeof sealed !== "string") {
    const open = await Promise.all(entries.map(async ([name, each]) => [name, await decrypt(each, keys)] as const))
    return Object.fromEntries(open)
  }
  const secret = await unseal(sealed, keys)
  if (entries.length === 1 || typeof secret !== "object" || secret === null) return secret
  return { ...Object.fromEntries(entries.filter(([name]) => name !== field)), ...secret }
}

async function unseal(sealed: string, keys: readonly Key[]): Promise<unknown> {
  const [version, id, iv = "", text = ""] = sealed.split(".")
  const known = keys.find((each) => each.id === id)
  if (version !== "v1" || known === undefined) {
    throw new FanfareError("undecipherable", `a value was encrypted with a key that is not here (${id ?? "?"})`, {
      field: "oldKeys",
      hint: "Give the key it was encrypted with in oldKeys.",
    })
  }
  try {
    const open = await crypto.subtle.decrypt({ name: "AES-GCM", iv: fromBase64(iv) }, known.key, fromBase64(text))
    return JSON.parse(new TextDecoder().decode(open))
  } catch (cause) {
    throw new FanfareError("undecipherable", "an encrypted value was changed, or is damaged", { cause })
  }
}

function checkKey(key: unknown, name: string): void {
  let bytes = 0
  try {
    bytes = typeof key === "string" ? fromBase64(key).byteLength : 0
  } catch {
    bytes = 0
  }
  if (bytes === keyBytes) return
  throw new FanfareError("invalid_option", `encryption: ${name} must be ${keyBytes} bytes as base64`, {
    field: name,
    bound: keyBytes,
    hint: `Make one with: node -p "crypto.randomBytes(32).toString('base64')"`,
  })
}

/** A key is named by the beginning of its hash: what it encrypted says which one it was, and nothing of it. */
async function importKey(text: string): Promise<Key> {
  const bytes = fromBase64(text)
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
  const id = Array.from(hash.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join("")
  return { id, key: await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]) }
}

function toBase64(bytes: Uint8Array): string {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
}

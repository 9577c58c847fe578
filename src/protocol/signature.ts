import { limits } from "../core/limits.ts"

/** `signkey-prod-0123…`, or only its digits. */
const prefixShape = /^signkey-\w+-/
const signatureShape = /^t=(\d{1,12})&s=([0-9a-f]{64})$/

/**
 * Keys of one app or server: the first one signs, each of them is accepted, so that keys can be changed without a gap. Imported once;
 * nothing here shows them again.
 */
export interface SigningKeys {
  /** @param body canonical JSON, or "" */
  sign(body: string, now: number): Promise<string>
  /** Whether one of the keys made the signature, at most 5 minutes before or after `now`. In constant time. */
  verify(signature: string | null | undefined, body: string, now: number): Promise<boolean>
}

/** @param keys not empty; hexadecimal digits after an optional prefix such as `signkey-prod-` */
export async function signingKeys(keys: readonly string[]): Promise<SigningKeys> {
  const imported = await Promise.all(keys.map((key) => importKey(digitsOf(key))))
  const [first] = imported
  if (first === undefined) throw new Error("no signing key")
  return {
    async sign(body, now) {
      const t = Math.floor(now / 1_000)
      const mac = await crypto.subtle.sign("HMAC", first, utf8(body + t))
      return `t=${t}&s=${toHex(mac)}`
    },
    async verify(signature, body, now) {
      const match = signatureShape.exec(signature ?? "")
      if (match === null) return false
      const [, t = "", s = ""] = match
      if (Math.abs(now - Number(t) * 1_000) > limits.signatureWindowMs) return false
      const results = await Promise.all(imported.map((key) => crypto.subtle.verify("HMAC", key, fromHex(s), utf8(body + t))))
      return results.includes(true)
    },
  }
}

/** Whether a key can be one: an even number of hexadecimal digits, 128 bits or more, after an optional prefix. */
export function isSigningKey(key: string): boolean {
  const digits = digitsOf(key)
  return digits.length >= 32 && digits.length % 2 === 0 && /^[0-9a-f]+$/i.test(digits)
}

/** What a client of the API says instead of its key: SHA-256 of the key's bytes, without its prefix. */
export async function bearerOf(key: string): Promise<string> {
  return toHex(await crypto.subtle.digest("SHA-256", fromHex(digitsOf(key))))
}

/** The key without its prefix. */
export function digitsOf(key: string): string {
  return key.replace(prefixShape, "")
}

type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>

function importKey(text: string): Promise<Key> {
  return crypto.subtle.importKey("raw", utf8(text), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"])
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}

function toHex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("")
}

function fromHex(digits: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

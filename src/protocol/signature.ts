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
  /** Whether a bearer token is the hash of one of the keys, or one of the keys itself. In constant time. */
  accepts(token: string): Promise<boolean>
}

/** @param keys not empty; hexadecimal digits after an optional prefix such as `signkey-prod-` */
export async function signingKeys(keys: readonly string[]): Promise<SigningKeys> {
  const imported = await Promise.all(keys.map((key) => importKey(digitsOf(key))))
  const digests = await Promise.all(keys.flatMap((key) => [bearerOf(key), digitsOf(key)]).map(async (text) => digest(await text)))
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
    async accepts(token) {
      const given = await digest(token.replace(prefixShape, ""))
      // Every one of them is compared, and their digests instead of themselves: how long it takes tells nothing.
      return digests.filter((known) => isSame(known, given)).length > 0
    },
  }
}

/** Whether a key can be one: an even number of hexadecimal digits, 128 bits or more, after an optional prefix. */
export function isSigningKey(key: string): boolean {
  const digits = digitsOf(key)
  return digits.length >= 32 && digits.length % 2 === 0 && /^[0-9a-f]+$/i.test(digits)
}

/** Whether one of the secrets was given; by their digests, in constant time. */
export async function secretMatcher(secrets: readonly string[]): Promise<(given: string) => Promise<boolean>> {
  const digests = await Promise.all(secrets.map(digest))
  return async (given) => {
    const found = await digest(given)
    return digests.filter((known) => isSame(known, found)).length > 0
  }
}

/** What a client of the API says instead of its key: SHA-256 of the key's bytes, without its prefix. */
export async function bearerOf(key: string): Promise<string> {
  return toHex(await crypto.subtle.digest("SHA-256", fromHex(digitsOf(key))))
}

function digitsOf(key: string): string {
  return key.replace(prefixShape, "")
}

type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>

function importKey(text: string): Promise<Key> {
  return crypto.subtle.importKey("raw", utf8(text), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"])
}

async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(text)))
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  let different = a.length ^ b.length
  for (let i = 0; i < a.length; i++) different |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return different === 0
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

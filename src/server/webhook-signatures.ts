import { createHmac, timingSafeEqual } from "node:crypto"
import { limits } from "../core/limits.ts"

/** How a service signs what it sends. */
export type WebhookScheme = "standard" | "github" | "stripe" | "slack"

/** A request as it came: the signature is over these very bytes. */
export interface SignedRequest {
  /** By name in lower case. */
  readonly header: (name: string) => string | undefined
  readonly body: Uint8Array
}

/** What is signed, the signatures that came with it, and when: null when the service does not say. */
interface Claim {
  readonly content: Buffer
  readonly signatures: readonly Buffer[]
  readonly seconds: number | null
}

const readers: Readonly<Record<WebhookScheme, (request: SignedRequest) => Claim | null>> = {
  standard: ({ header, body }) => {
    const [id, seconds, list] = [header("webhook-id"), header("webhook-timestamp"), header("webhook-signature")]
    if (id === undefined || seconds === undefined || list === undefined) return null
    const signatures = list.split(" ").flatMap((each) => (each.startsWith("v1,") ? [Buffer.from(each.slice(3), "base64")] : []))
    return { content: joined(`${id}.${seconds}.`, body), signatures, seconds: Number(seconds) }
  },
  github: ({ header, body }) => {
    const given = header("x-hub-signature-256")
    return given === undefined ? null : { content: Buffer.from(body), signatures: hex([given], "sha256="), seconds: null }
  },
  stripe: ({ header, body }) => {
    const parts = (header("stripe-signature") ?? "").split(",").map((part) => part.trim())
    const seconds = parts.find((part) => part.startsWith("t="))?.slice(2)
    return seconds === undefined ? null : { content: joined(`${seconds}.`, body), signatures: hex(parts, "v1="), seconds: Number(seconds) }
  },
  slack: ({ header, body }) => {
    const [seconds, given] = [header("x-slack-request-timestamp"), header("x-slack-signature")]
    if (seconds === undefined || given === undefined) return null
    return { content: joined(`v0:${seconds}:`, body), signatures: hex([given], "v0="), seconds: Number(seconds) }
  },
}

/** Signatures looked at in one request: services send several only while they change keys. */
const signaturesMost = 10

/**
 * Whether one of the secrets signed the request, at most 5 minutes before or after `now` where the scheme has a time. In constant time:
 * every secret is held against every signature.
 */
export function isSignedWith(scheme: WebhookScheme, secrets: readonly string[], request: SignedRequest, now: number): boolean {
  const claim = readers[scheme](request)
  if (claim === null || claim.signatures.length > signaturesMost) return false
  const { content, signatures, seconds } = claim
  if (seconds !== null && !(Math.abs(now - seconds * 1_000) <= limits.signatureWindowMs)) return false
  let matches = 0
  for (const secret of secrets) {
    const expected = createHmac("sha256", keyOf(scheme, secret)).update(content).digest()
    for (const given of signatures) if (given.length === expected.length && timingSafeEqual(given, expected)) matches++
  }
  return matches > 0
}

/** Secrets of Standard Webhooks are bytes in base 64, those of the others are text. */
function keyOf(scheme: WebhookScheme, secret: string): Buffer {
  return scheme === "standard" ? Buffer.from(secret.replace(/^whsec_/, ""), "base64") : Buffer.from(secret)
}

function joined(text: string, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(text), body])
}

function hex(parts: readonly string[], prefix: string): Buffer[] {
  return parts.flatMap((part) => (part.startsWith(prefix) ? [Buffer.from(part.slice(prefix.length), "hex")] : []))
}

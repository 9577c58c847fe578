import { createHash, timingSafeEqual } from "node:crypto"
import { FanfareError } from "../core/errors.ts"
import { digitsOf, isSigningKey, type SigningKeys, signingKeys } from "../protocol/signature.ts"
import type { KeySummary } from "../protocol/api.ts"
import type { Person, Role } from "./person.ts"
import { Sessions } from "./sessions.ts"

/** Who may ask this server for something, and how it proves to apps who it is. */
export interface Access {
  /** As apps know it: `dev` has no keys and is for this machine only. */
  readonly kind: "dev" | "cloud"
  readonly signing: SigningKeys | null
  /** Whether people with the role `read` see payloads. */
  readonly readPayloads: boolean
  /** What keys there are, never the keys themselves. */
  readonly keys: readonly KeySummary[]
  /** Null without keys: then everybody who reaches this server is an admin. */
  readonly sessions: Sessions | null
  isEventKey(key: string): boolean
  /** Whose key this is; the signing key's hash counts as the key. In constant time. */
  keyOwner(key: string): Person | null
  /** The same, for a header that carries the key: as bearer, or as the password that a browser asks for. */
  owner(authorization: string | undefined): Person | null
}

export interface Keys {
  /** The first one signs; all are accepted, and may do everything. */
  readonly signingKeys?: readonly string[]
  /** Keys of those who may send events: 16 characters or more. */
  readonly eventKeys?: readonly string[]
  /** Keys of people who may do everything and need not have the signing key: 32 characters or more. */
  readonly adminKeys?: readonly string[]
  /** Keys of people who may look: 32 characters or more. They see no data of events, outputs or logs unless `readPayloads` is set. */
  readonly readKeys?: readonly string[]
  /** Whether those see payloads too. Default: false. */
  readonly readPayloads?: boolean
}

const eventKeyChars = 16
const personKeyChars = 32

const nobody: Person = { role: "admin", keyId: "" }

/** @throws FanfareError `invalid_option`: a key that is none, or one kind of keys without the other */
export async function createAccess(keys: Keys): Promise<Access> {
  const { signingKeys: signing = [], eventKeys = [], adminKeys = [], readKeys = [], readPayloads = false } = keys
  if (signing.length + eventKeys.length + adminKeys.length + readKeys.length === 0) {
    const everybody = { isEventKey: () => true, keyOwner: () => nobody, owner: () => nobody }
    return { kind: "dev", signing: null, readPayloads: true, keys: [], sessions: null, ...everybody }
  }
  check(signing, eventKeys, { adminKeys, readKeys })
  // A signing key is also known by its hash, which is what clients say; see `bearerOf`.
  const people = [
    ...signing.flatMap((key) => {
      const digits = digitsOf(key)
      const person = personOf("admin", digits)
      const bearer = createHash("sha256").update(Buffer.from(digits, "hex")).digest("hex")
      return [digits, bearer].map((text) => ({ person, digest: digest(text) }))
    }),
    ...adminKeys.map((key) => ({ person: personOf("admin", key), digest: digest(digitsOf(key)) })),
    ...readKeys.map((key) => ({ person: personOf("read", key), digest: digest(digitsOf(key)) })),
  ]
  const events = eventKeys.map(digest)
  const keyOwner = (key: string): Person | null => {
    const given = digest(digitsOf(key))
    // All of them are compared: how long it takes tells nothing.
    return people.filter((known) => timingSafeEqual(known.digest, given))[0]?.person ?? null
  }
  return {
    kind: "cloud",
    signing: await signingKeys(signing),
    readPayloads,
    keys: [
      ...signing.map((key, i) => keySummary("signing", digitsOf(key), i === 0)),
      ...eventKeys.map((key) => keySummary("event", key)),
      ...adminKeys.map((key) => keySummary("admin", key)),
      ...readKeys.map((key) => keySummary("read", key)),
    ],
    sessions: new Sessions(
      signing.map(digitsOf),
      people.map(({ person }) => person),
    ),
    isEventKey(key) {
      const given = digest(key)
      return events.filter((known) => timingSafeEqual(known, given)).length > 0
    },
    keyOwner,
    owner: (authorization) => (authorization === undefined ? null : keyOwner(tokenOf(authorization))),
  }
}

function check(signing: readonly string[], eventKeys: readonly string[], people: Readonly<Record<string, readonly string[]>>): void {
  if (!signing.every(isSigningKey) || signing.length === 0) {
    throw new FanfareError("invalid_option", "the signing key must have 32 or more hexadecimal digits, an even number of them", {
      field: "signingKeys",
      hint: "Make one with: openssl rand -hex 32. Give it to this server and to your apps; `signkey-prod-` may stand before it.",
    })
  }
  if (eventKeys.length === 0 || eventKeys.some((key) => key.length < eventKeyChars)) {
    throw new FanfareError("invalid_option", `an event key of at least ${eventKeyChars} characters is needed beside the signing key`, {
      field: "eventKeys",
      bound: eventKeyChars,
      hint: "Make one with: openssl rand -hex 16.",
    })
  }
  for (const [field, keys] of Object.entries(people)) {
    if (keys.every((key) => key.length >= personKeyChars)) continue
    throw new FanfareError("invalid_option", `${field}: a key must have at least ${personKeyChars} characters`, {
      field,
      bound: personKeyChars,
      hint: "Make one with: openssl rand -hex 32.",
    })
  }
}

function personOf(role: Role, key: string): Person {
  return { role, keyId: createHash("sha256").update(`fanfare key ${key}`).digest("hex").slice(0, 16) }
}

/** Enough to tell one's own keys apart, too little to find one by. */
const fingerprintChars = 8

function keySummary(kind: KeySummary["kind"], key: string, signs = false): KeySummary {
  const fingerprint = createHash("sha256").update(`fanfare fingerprint ${key}`).digest("hex").slice(0, fingerprintChars)
  return { kind, fingerprint, signs }
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest()
}

function tokenOf(authorization: string): string {
  const [, scheme = "", given = ""] = /^(Bearer|Basic) +(\S+)$/i.exec(authorization) ?? []
  if (scheme.toLowerCase() !== "basic") return given
  const text = Buffer.from(given, "base64").toString()
  return text.slice(text.indexOf(":") + 1)
}

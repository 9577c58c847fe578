import { FanfareError } from "../core/errors.ts"
import { isSigningKey, secretMatcher, type SigningKeys, signingKeys } from "../protocol/signature.ts"

/** Who may ask this server for something, and how it proves to apps who it is. */
export interface Access {
  /** As apps know it: `dev` has no keys and is for this machine only. */
  readonly kind: "dev" | "cloud"
  readonly signing: SigningKeys | null
  isEventKey(key: string): Promise<boolean>
  /** Whether the header carries the signing key, or its hash: as bearer, or as the password that a browser asks for. */
  isAllowed(authorization: string | undefined): Promise<boolean>
}

export interface Keys {
  /** The first one signs; all are accepted. */
  readonly signingKeys?: readonly string[]
  /** Keys of those who may send events: 16 characters or more. */
  readonly eventKeys?: readonly string[]
}

const eventKeyChars = 16

/** @throws FanfareError `invalid_option`: a key that is none, or one kind of keys without the other */
export async function createAccess({ signingKeys: signing = [], eventKeys = [] }: Keys): Promise<Access> {
  if (signing.length === 0 && eventKeys.length === 0) {
    return { kind: "dev", signing: null, isEventKey: async () => true, isAllowed: async () => true }
  }
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
  const keys = await signingKeys(signing)
  return {
    kind: "cloud",
    signing: keys,
    isEventKey: await secretMatcher(eventKeys),
    isAllowed: async (authorization) => keys.accepts(tokenOf(authorization ?? "")),
  }
}

function tokenOf(authorization: string): string {
  const [, scheme = "", given = ""] = /^(Bearer|Basic) +(\S+)$/i.exec(authorization) ?? []
  if (scheme.toLowerCase() !== "basic") return given
  const text = Buffer.from(given, "base64").toString()
  return text.slice(text.indexOf(":") + 1)
}

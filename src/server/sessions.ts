import { createHmac, randomUUID, timingSafeEqual } from "node:crypto"
import { limits } from "../core/limits.ts"
import type { Login } from "../core/login.ts"
import type { Person, Role } from "./person.ts"

/** What the cookie of somebody who has logged in says. */
interface Session extends Login {
  readonly role: Role
  readonly seenAt: number
}

/** Somebody with a valid cookie; `renewed`: the cookie that takes its place, when it is time for one. */
export interface Recognised {
  readonly person: Person
  readonly login: Login
  readonly renewed: string | null
}

/**
 * Logins of people, as cookies that every server with the same signing key can check: signed, short when idle, and bound to the key
 * that was given, so that they end when it is taken away. Who has logged out the store remembers.
 */
export class Sessions {
  readonly #secrets: readonly Buffer[]
  readonly #people: readonly Person[]

  /** @param signing keys that sign; the first one is used */
  constructor(signing: readonly string[], people: readonly Person[]) {
    this.#secrets = signing.map((key) => createHmac("sha256", key).update("fanfare session").digest())
    this.#people = people
  }

  begin({ role, keyId }: Person, now: number): string {
    return this.#seal({ id: randomUUID(), role, keyId, beganAt: now, seenAt: now })
  }

  recognise(cookie: string | undefined, now: number): Recognised | null {
    const session = this.#open(cookie, now)
    if (session === null) return null
    const person = this.#people.find(({ role, keyId }) => role === session.role && keyId === session.keyId)
    if (person === undefined) return null
    const { id, keyId, beganAt } = session
    return {
      person,
      login: { id, keyId, beganAt },
      renewed: now - session.seenAt < limits.sessionRenewMs ? null : this.#seal({ ...session, seenAt: now }),
    }
  }

  #seal(session: Session): string {
    const text = Buffer.from(JSON.stringify(session)).toString("base64url")
    const [secret] = this.#secrets
    return secret === undefined ? "" : `${text}.${macOf(secret, text).toString("base64url")}`
  }

  #open(cookie: string | undefined, now: number): Session | null {
    const [text = "", given = ""] = (cookie ?? "").split(".")
    const mac = Buffer.from(given, "base64url")
    const known = this.#secrets.map((secret) => macOf(secret, text))
    if (known.filter((right) => right.length === mac.length && timingSafeEqual(right, mac)).length === 0) return null
    const session = JSON.parse(Buffer.from(text, "base64url").toString()) as Session
    const over = now - session.beganAt > limits.sessionMs || now - session.seenAt > limits.sessionIdleMs
    return over ? null : session
  }
}

function macOf(secret: Buffer, text: string): Buffer {
  return createHmac("sha256", secret).update(text).digest()
}

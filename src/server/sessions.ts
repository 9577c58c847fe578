import { createHmac, timingSafeEqual } from "node:crypto"
import { limits } from "../core/limits.ts"
import type { Person, Role } from "./person.ts"

/** What the cookie of somebody who has logged in says. */
interface Session {
  readonly id: string
  readonly role: Role
  readonly keyId: string
  readonly beganAt: number
  readonly seenAt: number
}

/** Somebody with a valid cookie; `renewed`: the cookie that takes its place, when it is time for one. */
export interface Recognised {
  readonly person: Person
  readonly renewed: string | null
}

/**
 * Logins of people, as cookies that every server with the same signing key can check: signed, short when idle, and bound to the key
 * that was given, so that they end when it is taken away. Who logs out is remembered here until the cookie would have ended.
 */
export class Sessions {
  readonly #secrets: readonly Buffer[]
  readonly #people: readonly Person[]
  readonly #ended = new Map<string, number>()
  #last = 0

  /** @param signing keys that sign; the first one is used */
  constructor(signing: readonly string[], people: readonly Person[]) {
    this.#secrets = signing.map((key) => createHmac("sha256", key).update("fanfare session").digest())
    this.#people = people
  }

  begin({ role, keyId }: Person, now: number): string {
    return this.#seal({ id: `${process.pid}.${now}.${++this.#last}`, role, keyId, beganAt: now, seenAt: now })
  }

  recognise(cookie: string | undefined, now: number): Recognised | null {
    const session = this.#open(cookie, now)
    if (session === null) return null
    const person = this.#people.find(({ role, keyId }) => role === session.role && keyId === session.keyId)
    if (person === undefined) return null
    return { person, renewed: now - session.seenAt < limits.sessionRenewMs ? null : this.#seal({ ...session, seenAt: now }) }
  }

  end(cookie: string | undefined, now: number): void {
    const session = this.#open(cookie, now)
    if (session === null) return
    for (const [id, at] of this.#ended) if (at < now) this.#ended.delete(id)
    this.#ended.set(session.id, session.beganAt + limits.sessionMs)
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
    return over || this.#ended.has(session.id) ? null : session
  }
}

function macOf(secret: Buffer, text: string): Buffer {
  return createHmac("sha256", secret).update(text).digest()
}

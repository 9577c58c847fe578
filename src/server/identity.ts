import type { HttpBindings } from "@hono/node-server"
import type { Context } from "hono"
import { getCookie, setCookie } from "hono/cookie"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Login } from "../core/login.ts"
import type { Clock } from "../core/ports.ts"
import type { Access } from "./access.ts"
import type { Person } from "./person.ts"
import type { Recognised } from "./sessions.ts"
import type { WrongKeys } from "./wrong-keys.ts"

export interface IdentityParts {
  readonly access: Access
  readonly clock: Pick<Clock, "now">
  readonly wrongKeys: WrongKeys
  readonly logouts: Logouts
}

/** Logins that have ended before their cookies do, on whichever server it was asked for. */
export interface Logouts {
  logOut(login: Login): Promise<void>
  isLoggedOut(login: Login): Promise<boolean>
}

/** Who makes requests: by the key in the header, else by the cookie of a login. */
export class Identity {
  readonly access: Access
  readonly #clock: Pick<Clock, "now">
  readonly #wrongKeys: WrongKeys
  readonly #logouts: Logouts

  constructor({ access, clock, wrongKeys, logouts }: IdentityParts) {
    this.access = access
    this.#clock = clock
    this.#wrongKeys = wrongKeys
    this.#logouts = logouts
  }

  /**
   * Whoever makes the request; null when that is nobody we know. A cookie that has grown old is renewed with the answer.
   * @throws FanfareError `busy` after too many wrong keys from one address
   */
  async of(c: Context): Promise<Person | null> {
    const authorization = c.req.header("authorization")
    const owner = this.access.owner(authorization)
    if (owner !== null) return owner
    const recognised = this.#recognise(c)
    if (recognised !== null && !(await this.#logouts.isLoggedOut(recognised.login))) {
      if (recognised.renewed !== null) giveCookie(c, recognised.renewed)
      return recognised.person
    }
    if (authorization !== undefined) this.wrong(c)
    return null
  }

  /** @throws FanfareError `busy` after too many wrong keys from one address */
  wrong(c: Context): void {
    try {
      this.#wrongKeys.count(addressOf(c), this.#clock.now())
    } catch (error) {
      if (error instanceof FanfareError && error.bound !== undefined) c.header("retry-after", String(error.bound))
      throw error
    }
  }

  /** Begins a session for whoever has the key. @throws FanfareError `not_allowed`, `busy` */
  login(c: Context, key: unknown): Person {
    const person = typeof key === "string" ? this.access.keyOwner(key.trim()) : null
    if (person === null) {
      this.wrong(c)
      throw new FanfareError("not_allowed", "this is no key of this server", { field: "key" })
    }
    const { sessions } = this.access
    if (sessions !== null) giveCookie(c, sessions.begin(person, this.#clock.now()))
    return person
  }

  async logout(c: Context): Promise<void> {
    const recognised = this.#recognise(c)
    if (recognised !== null) await this.#logouts.logOut(recognised.login)
    giveCookie(c, "")
  }

  #recognise(c: Context): Recognised | null {
    return this.access.sessions?.recognise(cookieOf(c), this.#clock.now()) ?? null
  }
}

/** Where the request comes from: the other end of the connection. */
export function addressOf(c: Context): string {
  return (c.env as HttpBindings | undefined)?.incoming?.socket.remoteAddress ?? ""
}

/** Behind TLS the browser gives it to this host only, over TLS only; else it would not keep such a one. */
const cookies = { secure: "__Host-fanfare", plain: "fanfare" } as const

function cookieOf(c: Context): string | undefined {
  return getCookie(c, cookies.secure) ?? getCookie(c, cookies.plain)
}

function giveCookie(c: Context, value: string): void {
  const secure = c.req.header("x-forwarded-proto") === "https" || c.req.url.startsWith("https:")
  setCookie(c, secure ? cookies.secure : cookies.plain, value, {
    httpOnly: true,
    sameSite: "Strict",
    path: "/",
    maxAge: value === "" ? 0 : limits.sessionMs / 1_000,
    ...(secure ? { secure } : {}),
  })
}

/**
 * Whether a page of another site makes the browser send this: the browser says so itself, an older one at least where the page is from.
 * Programs that are no browser say neither.
 */
export function isCrossSite(header: (name: string) => string | undefined): boolean {
  const site = header("sec-fetch-site")
  if (site !== undefined) return site !== "same-origin" && site !== "none"
  const origin = header("origin")
  if (origin === undefined) return false
  const host = URL.canParse(origin) ? new URL(origin).host : null
  return host !== header("host") && host !== header("x-forwarded-host")
}

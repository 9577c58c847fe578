import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Engine } from "../engine/engine.ts"
import { Loop } from "../engine/loop.ts"
import { canonicalJson } from "../protocol/canonical.ts"
import { headers } from "../protocol/names.ts"
import { isObject } from "../protocol/ops.ts"
import { checkUrl, parseRegistration } from "../protocol/registration.ts"
import type { RawReply } from "../protocol/reply.ts"
import { sha1 } from "../protocol/sha1.ts"
import type { HttpClient, HttpRequest } from "../transport/http-client.ts"
import type { Access } from "./access.ts"

export interface AppsParts {
  readonly engine: Engine
  readonly client: Pick<HttpClient, "send" | "check">
  readonly access: Access
  readonly clock: Clock
}

/** How the last look at an app went. `error`: null when it answered. */
export interface AppLook {
  readonly url: string
  readonly error: string | null
}

/** Apps that are called over HTTP: how they come to be known, and are looked at again while they are developed. */
export class Apps {
  readonly #parts: AppsParts
  readonly #looks = new Map<string, AppLook>()
  #poll: Loop | null = null

  constructor(parts: AppsParts) {
    this.#parts = parts
  }

  get looks(): readonly AppLook[] {
    return [...this.#looks.values()]
  }

  /**
   * Makes what an app says of itself its functions from now on; gives whether that changes anything.
   * @throws FanfareError naming what is wrong with it: nothing of it is used then
   */
  async register(body: unknown): Promise<boolean> {
    const { engine, client } = this.#parts
    const { appId: id, url, sdk, framework, functions, content } = parseRegistration(body)
    for (const called of [{ url }, ...functions]) client.check(called.url)
    const calls = Object.fromEntries(functions.map(({ definition, url: call }) => [definition.id, call]))
    const definitions = functions.map(({ definition }) => definition)
    return engine.registerHttp({ id, url, sdk, framework, calls, checksum: sha1(content) }, definitions)
  }

  /**
   * Asks an app to register: with a signature it answers what it is; without, it posts it to its own idea of this server.
   * @throws FanfareError `not_connected`: it does not answer as an app does
   */
  async sync(url: string): Promise<void> {
    checkUrl(url, "url")
    try {
      await this.#sync(url)
      this.#looks.set(url, { url, error: null })
    } catch (error) {
      this.#looks.set(url, { url, error: error instanceof Error ? error.message : String(error) })
      throw error
    }
  }

  /**
   * Forgets the app at a URL: its functions are offered no more, and their runs wait until it registers again.
   * @throws FanfareError `not_found`
   */
  async forget(url: unknown): Promise<void> {
    const { engine } = this.#parts
    const called = checkUrl(url, "url")
    const known = engine.registry.apps.find((app) => app.url === called)
    if (known === undefined) throw new FanfareError("not_found", `there is no app at ${called}`, { field: "url" })
    await engine.forgetHttp(known.id)
    this.#looks.delete(called)
  }

  /** Looks at these URLs, and at all that are registered, every 5 s. `heard` is told when the answer of one has changed. */
  follow(urls: readonly string[], heard: (look: AppLook) => void): void {
    const { engine, clock } = this.#parts
    const agent = {
      name: "apps",
      tick: async () => {
        const all = new Set([...urls, ...engine.registry.apps.map(({ url }) => url)])
        await Promise.all(
          [...all].map(async (url) => {
            const before = this.#looks.get(url)
            await this.sync(url).catch(() => undefined)
            const now = this.#looks.get(url)
            if (now !== undefined && now.error !== before?.error) heard(now)
          }),
        )
        return limits.appPollMs
      },
    }
    this.#poll = new Loop(agent, clock, () => undefined)
    this.#poll.start()
  }

  async close(): Promise<void> {
    await this.#poll?.stop()
  }

  async #sync(url: string): Promise<void> {
    const { clock, access } = this.#parts
    const body = canonicalJson({ url })
    const signature = await access.signing?.sign(body, clock.now())
    const reply = await this.#ask(url, {
      "content-type": "application/json",
      [headers.serverKind]: access.kind,
      ...(signature === undefined ? {} : { [headers.syncKind]: "in_band", [headers.signature]: signature }),
    })
    const answer = jsonOf(reply.body)
    if (reply.status !== 200) {
      const said = isObject(answer) ? (answer["message"] ?? answer["error"]) : undefined
      throw unfit(url, `answered with status ${reply.status}${typeof said === "string" ? `: ${said.slice(0, 500)}` : ""}`)
    }
    if (reply.headers[headers.syncKind] !== "in_band") {
      // The app has registered on its own way, or says that it is something else.
      if (isObject(answer) && "modified" in answer) return
      throw unfit(url, "answers, but not as an app does")
    }
    if (!(await this.#isSigned(reply))) throw unfit(url, "did not sign what it said of itself with our signing key")
    await this.register(answer)
  }

  async #isSigned({ body, headers: given }: RawReply): Promise<boolean> {
    const { access, clock } = this.#parts
    return access.signing === null || access.signing.verify(given[headers.signature], body, clock.now())
  }

  async #ask(url: string, given: HttpRequest["headers"]): Promise<RawReply> {
    const { client, clock } = this.#parts
    const controller = new AbortController()
    const cancel = clock.after(limits.appAnswerMs, () => controller.abort())
    try {
      return await client.send({ method: "PUT", url, headers: given, body: canonicalJson({ url }), signal: controller.signal })
    } catch (cause) {
      throw unfit(url, `does not answer: ${cause instanceof Error ? cause.message : String(cause)}`, cause)
    } finally {
      cancel()
    }
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function unfit(url: string, what: string, cause?: unknown): FanfareError {
  return new FanfareError("not_connected", `${url} ${what}`, { field: "url", cause })
}

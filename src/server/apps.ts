import { FanfareError } from "../core/errors.ts"
import { connectedUrl } from "../core/http-app.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Engine } from "../engine/engine.ts"
import { Loop } from "../engine/loop.ts"
import { canonicalJson } from "../protocol/canonical.ts"
import type { WorkerHello } from "../protocol/connect.ts"
import { headers } from "../protocol/names.ts"
import { isObject } from "../protocol/ops.ts"
import { checkUrl, parseRegistration, type Registration } from "../protocol/registration.ts"
import type { RawReply } from "../protocol/reply.ts"
import { sha1 } from "../protocol/sha1.ts"
import type { HttpClient, HttpRequest } from "../transport/http-client.ts"
import type { WorkerApp, Workers } from "../transport/workers.ts"
import type { Access } from "./access.ts"

export interface AppsParts {
  readonly engine: Engine
  readonly client: Pick<HttpClient, "send" | "check">
  readonly workers: Pick<Workers, "count">
  readonly access: Access
  readonly clock: Clock
}

/** How the last look at an app went. `error`: null when it answered. */
export interface AppLook {
  readonly url: string
  readonly error: string | null
}

/** Apps elsewhere: how they come to be known, and are looked at again while they are developed. */
export class Apps {
  readonly #parts: AppsParts
  readonly #looks = new Map<string, AppLook>()
  /** What was said of an app that connects before what is registered now. */
  readonly #replaced = new Map<string, Set<string>>()
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
    const registration = parseRegistration(body)
    for (const called of [registration, ...registration.functions]) this.#parts.client.check(called.url)
    return this.#register(registration, sha1(registration.content))
  }

  /**
   * Makes what a worker that connects says of its apps their functions from now on; gives the apps. An old version that connects again
   * while the new one is connected changes nothing.
   * @throws FanfareError naming what is wrong with it
   */
  async registerWorker({ sdk, apps }: WorkerHello): Promise<ReadonlyMap<string, WorkerApp>> {
    if (apps.length === 0 || apps.length > limits.appsPerWorker) {
      throw new FanfareError("too_many", `a worker has 1 to ${limits.appsPerWorker} apps`, { field: "apps", bound: limits.appsPerWorker })
    }
    const all = apps.map(({ id: appName, functions }) =>
      parseRegistration({ appName, sdk, framework: "connect", functions: jsonOf(functions) }, "ws"),
    )
    const known = new Map<string, WorkerApp>()
    for (const registration of all) {
      const checksum = sha1(registration.content)
      if (!this.#isOutdated(registration.appId, checksum)) await this.#register(registration, checksum)
      known.set(registration.appId, { checksum, functionIds: new Set(registration.functions.map(({ definition }) => definition.id)) })
    }
    return known
  }

  #isOutdated(appId: string, checksum: string): boolean {
    const current = this.#current(appId)
    const replaced = this.#replaced.get(appId) ?? new Set()
    this.#replaced.set(appId, replaced)
    if (current === undefined || current === checksum) return false
    if (replaced.has(checksum) && this.#parts.workers.count(appId, current) > 0) return true
    if (replaced.size === replacedMax) replaced.clear()
    replaced.add(current)
    return false
  }

  #current(appId: string): string | undefined {
    return this.#parts.engine.registry.apps.find(({ id }) => id === appId)?.checksum
  }

  #register({ appId: id, url, sdk, framework, functions }: Registration, checksum: string): Promise<boolean> {
    const calls = Object.fromEntries(functions.map(({ definition, url: call }) => [definition.id, call]))
    const definitions = functions.map(({ definition }) => definition)
    return this.#parts.engine.registerHttp({ id, url, sdk, framework, calls, checksum }, definitions)
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
        all.delete(connectedUrl)
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

/** Versions of an app that are remembered. */
const replacedMax = 100

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

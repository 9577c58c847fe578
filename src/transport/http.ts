import type { Attempt } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import { toFailure } from "../core/failure.ts"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import type { KnownFunctions } from "../core/views.ts"
import { type Call, callBody, callUrl, canonicalBody } from "../protocol/call.ts"
import { headers } from "../protocol/names.ts"
import { parseReply, type Reply } from "../protocol/reply.ts"
import type { SigningKeys } from "../protocol/signature.ts"
import { HttpAttempt } from "./http-attempt.ts"
import type { HttpClient } from "./http-client.ts"
import type { Transport } from "./transport.ts"

/** Where a function is called, and how often it may be tried. */
export interface CalledFunction {
  readonly url: string
  /** The same, to be asked for whatever comes next. */
  readonly nextUrl: string
  readonly retries: number
}

export interface HttpTransportOptions {
  readonly client: Pick<HttpClient, "send">
  /** Null for apps that are developed: nothing is signed. */
  readonly keys: SigningKeys | null
  readonly kind: "dev" | "cloud"
}

/** User code elsewhere, called over HTTP. */
export class HttpTransport implements Transport {
  readonly #options: HttpTransportOptions
  #functions: ReadonlyMap<string, CalledFunction> = new Map()

  constructor(options: HttpTransportOptions) {
    this.#options = options
  }

  learn({ functions, apps }: KnownFunctions): void {
    const retries = new Map(functions.map(({ definition }) => [definition.id, definition.retries]))
    this.#functions = new Map(
      apps.flatMap(({ calls }) =>
        Object.entries(calls).map(
          ([id, url]) => [id, { url, nextUrl: callUrl(url, null), retries: retries.get(id) ?? limits.retriesDefault }] as const,
        ),
      ),
    )
  }

  hosts(): readonly string[] {
    return [...this.#functions.keys()]
  }

  async execute(attempt: Attempt): Promise<Outcome> {
    const called = this.#functions.get(attempt.run.functionId)
    if (called === undefined) return { kind: "returned" }
    return new HttpAttempt(attempt, called.retries, (call, signal) => this.#call(called, call, attempt.recorder.now(), signal)).outcome()
  }

  /** Never rejects: no answer is a failure that is tried again. */
  async #call({ url, nextUrl }: CalledFunction, call: Call, now: number, signal: AbortSignal): Promise<Reply> {
    const { client, keys, kind } = this.#options
    try {
      let body = callBody(call)
      // Bytes are counted only near the bound: a text has at most three per character.
      if (body.length * 3 > limits.callBytes && Buffer.byteLength(body) > limits.callBytes) body = callBody({ ...call, byApi: true })
      if (keys !== null) body = canonicalBody(body)
      const raw = await client.send({
        method: "POST",
        url: call.stepId === null ? nextUrl : callUrl(url, call.stepId),
        headers: {
          "content-type": "application/json",
          "user-agent": "fanfare",
          [headers.serverKind]: kind,
          [headers.runId]: call.runId,
          [headers.stepId]: call.stepId ?? "step",
          [headers.requestVersion]: String(call.version),
          ...(keys === null ? {} : { [headers.signature]: await keys.sign(body, now) }),
        },
        body,
        signal,
      })
      return parseReply(raw, now)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const refused = error instanceof FanfareError
      return {
        kind: "failed",
        failure: toFailure({ name: "AppUnreachable", message: `${new URL(url).host}: ${why}` }),
        retry: refused ? "never" : "policy",
      }
    }
  }
}

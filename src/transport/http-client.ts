import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http"
import { Agent as HttpsAgent, request as httpsRequest } from "node:https"
import { limits } from "../core/limits.ts"
import type { RawReply } from "../protocol/reply.ts"
import { type AddressRule, checkHost, guardedLookup } from "./address.ts"

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT"
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal: AbortSignal
}

/** Asks apps over HTTP: bounded answers, no redirects, and only addresses that may be called. */
export class HttpClient {
  readonly #mayCall: AddressRule
  readonly #http: HttpAgent
  readonly #https: HttpsAgent

  constructor(mayCall: AddressRule) {
    this.#mayCall = mayCall
    const options = { keepAlive: true, maxSockets: limits.callsPerApp, maxFreeSockets: limits.callsPerApp, lookup: guardedLookup(mayCall) }
    this.#http = new HttpAgent(options)
    this.#https = new HttpsAgent(options)
  }

  /** @throws FanfareError when the URL's host is an address that may not be called */
  check(url: string): void {
    checkHost(new URL(url).hostname, this.#mayCall)
  }

  /** Rejects when there is no answer, or none that fits the bounds. */
  async send(request: HttpRequest): Promise<RawReply> {
    const url = new URL(request.url)
    this.check(request.url)
    try {
      return await this.#send(url, request)
    } catch (error) {
      // A connection that was kept open may just have been closed by the other side, before it saw anything of this request.
      if (error instanceof StaleConnection) return this.#send(url, request)
      throw error
    }
  }

  close(): void {
    this.#http.destroy()
    this.#https.destroy()
  }

  #send(url: URL, { method, headers, body = "", signal }: HttpRequest): Promise<RawReply> {
    const secure = url.protocol === "https:"
    return new Promise((resolve, reject) => {
      const asked = (secure ? httpsRequest : httpRequest)(
        url,
        {
          method,
          agent: secure ? this.#https : this.#http,
          signal,
          headers: { ...headers, ...(method === "GET" ? {} : { "content-length": Buffer.byteLength(body) }) },
        },
        (answer) => {
          read(answer).then(resolve, (error: unknown) => {
            asked.destroy()
            reject(error)
          })
        },
      )
      asked.on("error", (error: NodeJS.ErrnoException) => {
        const stale = asked.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE")
        reject(stale ? new StaleConnection(error.message) : new Error(reason(error), { cause: error }))
      })
      asked.end(body)
    })
  }
}

class StaleConnection extends Error {}

async function read(answer: IncomingMessage): Promise<RawReply> {
  // Nothing was asked for that is packed, so nothing has to be unpacked.
  const encoding = answer.headers["content-encoding"]
  if (encoding !== undefined && encoding !== "identity")
    throw new Error(`the app's answer is packed (${encoding}), which was not asked for`)
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > limits.replyBytes) throw new Error(`the app's answer is over ${limits.replyBytes} bytes`)
    chunks.push(chunk)
  }
  const headers = Object.fromEntries(
    Object.entries(answer.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value]),
  )
  return { status: answer.statusCode ?? 0, headers, body: Buffer.concat(chunks).toString("utf8") }
}

function reason({ code, message }: NodeJS.ErrnoException): string {
  return message === "" ? (code ?? "the connection failed") : message
}

import { Agent as HttpAgent, type IncomingMessage, request as httpRequest, type RequestOptions } from "node:http"
import { Agent as HttpsAgent, request as httpsRequest } from "node:https"
import { limits } from "../core/limits.ts"
import { calling } from "../otel/spans.ts"
import type { RawReply } from "../protocol/reply.ts"
import { type AddressRule, checkHost, guardedLookup } from "./address.ts"

export interface HttpRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal: AbortSignal
  /** What it is part of in a trace; of nothing without. */
  readonly trace?: string | null
}

/** Asks apps over HTTP: bounded answers, no redirects, and only addresses that may be called. */
export class HttpClient {
  readonly #mayCall: AddressRule
  readonly #http: HttpAgent
  readonly #https: HttpsAgent
  readonly #targets = new Map<string, Target>()

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
    const target = this.#target(request.url)
    return calling(request, request.trace ?? null, async (headers) => {
      const asked = { ...request, headers: { ...headers, ...request.headers } }
      try {
        return await this.#send(target, asked)
      } catch (error) {
        // A connection that was kept open may just have been closed by the other side, before it saw anything of this request.
        if (error instanceof StaleConnection) return this.#send(target, asked)
        throw error
      }
    })
  }

  close(): void {
    this.#http.destroy()
    this.#https.destroy()
  }

  /** What Node's client wants to know of a URL, made once for each of the few that are called again and again. */
  #target(url: string): Target {
    const known = this.#targets.get(url)
    if (known !== undefined) return known
    const { protocol, hostname, port, pathname, search, host } = new URL(url)
    checkHost(hostname, this.#mayCall)
    const secure = protocol === "https:"
    const target: Target = {
      request: secure ? httpsRequest : httpRequest,
      options: {
        agent: secure ? this.#https : this.#http,
        hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
        port: port === "" ? (secure ? 443 : 80) : Number(port),
        path: pathname + search,
      },
      host,
    }
    if (this.#targets.size >= targetsMax) this.#targets.clear()
    this.#targets.set(url, target)
    return target
  }

  #send({ request, options, host }: Target, { method, headers, body = "", signal }: HttpRequest): Promise<RawReply> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(new Error("it was given up before it was asked"))
        return
      }
      const length = method === "GET" ? {} : { "content-length": Buffer.byteLength(body) }
      const asked = request({ ...options, method, headers: { host, ...headers, ...length } }, (answer) => {
        read(answer, end, (error) => {
          asked.destroy()
          fail(error)
        })
      })
      // Listening to the signal by hand: what Node does with one that it is given costs as much as the rest of a call.
      const abort = (): void => void asked.destroy(new Error("it was given up"))
      const fail = (error: Error): void => {
        signal.removeEventListener("abort", abort)
        reject(error)
      }
      const end = (reply: RawReply): void => {
        signal.removeEventListener("abort", abort)
        resolve(reply)
      }
      signal.addEventListener("abort", abort)
      asked.on("error", (error: NodeJS.ErrnoException) => {
        const stale = asked.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE")
        fail(stale ? new StaleConnection(error.message) : new Error(reason(error), { cause: error }))
      })
      asked.end(body)
    })
  }
}

/** URLs that are kept taken apart. */
const targetsMax = 1_000

interface Target {
  readonly request: typeof httpRequest
  readonly options: RequestOptions
  /** As it stands in the URL. */
  readonly host: string
}

class StaleConnection extends Error {}

function read(answer: IncomingMessage, end: (reply: RawReply) => void, fail: (error: Error) => void): void {
  // Nothing was asked for that is packed, so nothing has to be unpacked.
  const encoding = answer.headers["content-encoding"]
  if (encoding !== undefined && encoding !== "identity") {
    fail(new Error(`the app's answer is packed (${encoding}), which was not asked for`))
    return
  }
  const chunks: Buffer[] = []
  let bytes = 0
  answer.on("data", (chunk: Buffer) => {
    bytes += chunk.length
    chunks.push(chunk)
    if (bytes > limits.replyBytes) fail(new Error(`the app's answer is over ${limits.replyBytes} bytes`))
  })
  answer.on("error", (cause) => fail(new Error(`the answer broke off (${cause.message})`, { cause })))
  answer.on("end", () => {
    const [first] = chunks
    const body = chunks.length === 1 && first !== undefined ? first.toString("utf8") : Buffer.concat(chunks).toString("utf8")
    end({ status: answer.statusCode ?? 0, headers: headersOf(answer), body })
  })
}

function headersOf({ headers }: IncomingMessage): RawReply["headers"] {
  const named: Record<string, string | undefined> = {}
  for (const name in headers) {
    const value = headers[name]
    named[name] = Array.isArray(value) ? value.join(", ") : value
  }
  return named
}

function reason({ code, message }: NodeJS.ErrnoException): string {
  return message === "" ? (code ?? "the connection failed") : message
}

import { isObject, type Op, ProtocolError } from "../protocol/ops.ts"
import type { HttpClient, HttpRequest } from "./http-client.ts"

const kinds = new Set(["Gateway", "AIGateway"])

/** Whether an app asks us to make a request for it. */
export function isGateway(kind: string): boolean {
  return kinds.has(kind)
}

/** What a request that was made for an app could not give. */
export class GatewayError extends Error {
  override readonly name: string

  constructor(name: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = name
  }
}

/**
 * Makes the request that an app asks for, so that nothing of the app waits for the answer. Only addresses that may be called; answers are
 * bounded as those of apps are.
 * @throws GatewayError when there is no answer, or of a language model none that is one; ProtocolError when it is no request
 */
export async function askFor(op: Op, client: Pick<HttpClient, "send">, way: Pick<HttpRequest, "signal" | "trace">): Promise<unknown> {
  const isModel = op.kind === "AIGateway"
  const name = isModel ? "AIGatewayError" : "GatewayError"
  const request = isModel ? modelRequest(op) : plainRequest(op)
  try {
    const { status, headers, body } = await client.send({ ...request, ...way })
    if (!isModel) return { url: request.url, headers, body, status_code: status }
    if (status > 299) throw new GatewayError(name, `the model answered with status ${status}: ${body.slice(0, 2_000)}`)
    return JSON.parse(body) as unknown
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause
    throw new GatewayError(name, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

interface Request {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

/** What only the connection itself may say. */
const ours = new Set(["host", "content-length", "connection", "transfer-encoding", "accept-encoding", "upgrade"])

function plainRequest({ key, opts }: Op): Request {
  const { method, body } = opts
  const verb = typeof method === "string" && method !== "" ? method.toUpperCase() : "GET"
  if (!/^[A-Z]{1,16}$/.test(verb) || verb === "CONNECT") throw new ProtocolError(`the step "${key}" asks with the method ${verb}`)
  return {
    method: verb,
    url: urlOf(key, opts["url"]).href,
    headers: headersOf(opts["headers"]),
    ...(typeof body === "string" && body !== "" ? { body } : {}),
  }
}

function modelRequest({ key, opts }: Op): Request {
  const { format, auth_key: given, body } = opts
  const url = urlOf(key, opts["url"])
  const secret = typeof given === "string" ? given : ""
  if (format === "gemini" && secret !== "") url.searchParams.set("key", secret)
  const authorization =
    secret === "" || format === "gemini"
      ? {}
      : format === "anthropic"
        ? { "x-api-key": secret, "anthropic-version": "2023-06-01" }
        : { authorization: format === "bedrock" ? secret : `Bearer ${secret}` }
  return {
    method: "POST",
    url: url.href,
    headers: { "content-type": "application/json", ...authorization, ...headersOf(opts["headers"]) },
    body: typeof body === "string" ? body : JSON.stringify(body ?? {}),
  }
}

function urlOf(key: string, value: unknown): URL {
  const url = typeof value === "string" ? URL.parse(value) : null
  if (url !== null && (url.protocol === "http:" || url.protocol === "https:")) return url
  throw new ProtocolError(`the step "${key}" asks for ${JSON.stringify(value)}, which is no URL`)
}

/** Values that are lists, as some SDKs have them, are joined. */
function headersOf(value: unknown): Record<string, string> {
  if (!isObject(value)) return {}
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, given]) => {
      const text = Array.isArray(given) ? given.join(", ") : given
      const usable = typeof text === "string" && /^[\w!#$%&'*+.^`|~-]+$/.test(name) && /^[\t\u0020-\u007e\u0080-\u00ff]*$/.test(text)
      return usable && !ours.has(name.toLowerCase()) ? [[name.toLowerCase(), text]] : []
    }),
  )
}

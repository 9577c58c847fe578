import { serve as serveWeb, type ServeOptions } from "../serve.ts"
import { responseOf } from "./node.ts"

export type { ServeOptions } from "../serve.ts"

/** What API Gateway (both kinds) and function URLs hand over. */
interface LambdaEvent {
  readonly httpMethod?: string
  readonly path?: string
  readonly queryStringParameters?: Readonly<Record<string, string | undefined>> | null
  readonly requestContext?: { readonly http?: { readonly method?: string } }
  readonly rawPath?: string
  readonly rawQueryString?: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body?: string | null
  readonly isBase64Encoded?: boolean
}

interface LambdaAnswer {
  readonly statusCode: number
  readonly headers: Record<string, string>
  readonly body: string
}

/**
 * A handler for AWS Lambda behind API Gateway or a function URL.
 * @example export const handler = serve({ client: fanfare })
 */
export function serve(options: ServeOptions): (event: LambdaEvent) => Promise<LambdaAnswer> {
  const handle = serveWeb(options)
  return async (event) => {
    const query = event.rawQueryString ?? new URLSearchParams(definite(event.queryStringParameters ?? {})).toString()
    const { status, headers, text } = await responseOf(handle, {
      method: event.requestContext?.http?.method ?? event.httpMethod,
      url: `${event.rawPath ?? event.path ?? "/"}${query === "" ? "" : `?${query}`}`,
      headers: Object.fromEntries(
        Object.entries({ "x-forwarded-proto": "https", ...event.headers }).map(([name, value]) => [name.toLowerCase(), value]),
      ),
      body: event.isBase64Encoded === true ? bytesOf(event.body ?? "") : (event.body ?? ""),
    })
    return { statusCode: status, headers: Object.fromEntries(headers), body: text }
  }
}

function definite(query: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))
}

import { serve as serveWeb, type ServeOptions } from "../serve.ts"
import type { Incoming } from "./incoming.ts"
import { responseOf } from "./node.ts"

export type { ServeOptions } from "../serve.ts"

interface KoaContext {
  readonly req: Incoming
  readonly request: { readonly body?: unknown }
  status: number
  body: unknown
  set(name: string, value: string): void
}

/**
 * A middleware for Koa.
 * @example router.all("/api/fanfare", serve({ client: fanfare }))
 */
export function serve(options: ServeOptions): (context: KoaContext) => Promise<void> {
  const handle = serveWeb(options)
  return async (context) => {
    const { body } = context.request
    const incoming = body === undefined ? context.req : { ...pick(context.req), body }
    const { status, headers, text } = await responseOf(handle, incoming)
    context.status = status
    for (const [name, value] of headers) context.set(name, value)
    context.body = text
  }
}

function pick({ method, url, headers }: Incoming): Incoming {
  return { method, url, headers }
}

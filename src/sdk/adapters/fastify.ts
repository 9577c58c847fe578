import { serve as serveWeb, type ServeOptions } from "../serve.ts"
import type { Incoming } from "./incoming.ts"
import { responseOf } from "./node.ts"

export type { ServeOptions } from "../serve.ts"

interface Reply {
  code(status: number): Reply
  header(name: string, value: string): Reply
  send(body: string): unknown
}

/**
 * A handler for Fastify.
 * @example fastify.route({ method: ["GET", "POST", "PUT"], url: "/api/fanfare", handler: serve({ client: fanfare }) })
 */
export function serve(options: ServeOptions): (request: Incoming, reply: Reply) => Promise<unknown> {
  const handle = serveWeb(options)
  return async (request, reply) => {
    const { status, headers, text } = await responseOf(handle, request)
    reply.code(status)
    for (const [name, value] of headers) reply.header(name, value)
    return reply.send(text)
  }
}

import { serve as serveWeb, type ServeOptions } from "../serve.ts"

export type { ServeOptions } from "../serve.ts"

/**
 * A handler for Hono.
 * @example app.on(["GET", "POST", "PUT"], "/api/fanfare", serve({ client: fanfare }))
 */
export function serve(options: ServeOptions): (context: { readonly req: { readonly raw: Request } }) => Promise<Response> {
  const handle = serveWeb(options)
  return ({ req }) => handle(req.raw)
}

import { serve as serveWeb, type ServeOptions } from "../serve.ts"

export type { ServeOptions } from "../serve.ts"

type Handler = (request: Request) => Promise<Response>

/**
 * The handlers of a route of Next.js (App Router).
 * @example export const { GET, POST, PUT } = serve({ client: fanfare })
 */
export function serve(options: ServeOptions): { readonly GET: Handler; readonly POST: Handler; readonly PUT: Handler } {
  const handle = serveWeb(options)
  return { GET: handle, POST: handle, PUT: handle }
}

import { serve as serveWeb, type ServeOptions } from "../serve.ts"

export type { ServeOptions } from "../serve.ts"

type Variables = Readonly<Record<string, unknown>>

/**
 * The default export of a Cloudflare Worker: keys and URL come from its variables when they are not given.
 * @example export default serve({ client: fanfare })
 */
export function serve(options: ServeOptions): { fetch(request: Request, env: Variables): Promise<Response> } {
  let handle: ((request: Request) => Promise<Response>) | null = null
  return {
    fetch(request, env) {
      handle ??= serveWeb({ ...fromVariables(env), ...options })
      return handle(request)
    },
  }
}

const variables = {
  url: "FANFARE_URL",
  signingKey: "FANFARE_SIGNING_KEY",
  signingKeyFallback: "FANFARE_SIGNING_KEY_FALLBACK",
  eventKey: "FANFARE_EVENT_KEY",
} as const

function fromVariables(env: Variables): Partial<ServeOptions> {
  return Object.fromEntries(
    Object.entries(variables).flatMap(([option, name]) => (typeof env[name] === "string" && env[name] !== "" ? [[option, env[name]]] : [])),
  )
}

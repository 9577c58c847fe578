import { serve as serveWeb, type ServeOptions } from "../serve.ts"
import { type Incoming, requestOf } from "./incoming.ts"

export type { ServeOptions } from "../serve.ts"

interface Outgoing {
  statusCode: number
  setHeader(name: string, value: string): unknown
  end(body: string): unknown
}

/**
 * A listener for `http.createServer`, and a handler for Express and Connect.
 * @example app.use("/api/fanfare", serve({ client: fanfare }))
 */
export function serve(options: ServeOptions): (request: Incoming, response: Outgoing) => void {
  const handle = serveWeb(options)
  return (request, response) => {
    void answer(handle, request, response)
  }
}

async function answer(handle: (request: Request) => Promise<Response>, request: Incoming, response: Outgoing): Promise<void> {
  try {
    const { status, headers, text } = await responseOf(handle, request)
    response.statusCode = status
    for (const [name, value] of headers) response.setHeader(name, value)
    response.end(text)
  } catch {
    // What cannot be read is no call.
    response.statusCode = 400
    response.end("")
  }
}

/** The answer, read: for frameworks with an answer of their own. */
export async function responseOf(
  handle: (request: Request) => Promise<Response>,
  request: Incoming,
): Promise<{ status: number; headers: [string, string][]; text: string }> {
  const response = await handle(await requestOf(request))
  return { status: response.status, headers: [...response.headers], text: await response.text() }
}

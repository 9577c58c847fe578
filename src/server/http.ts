import { type ServerType, serve } from "@hono/node-server"
import { FanfareError } from "../core/errors.ts"
import { type ApiParts, createApi } from "./api.ts"

/** The HTTP API, listening. */
export interface Api {
  readonly url: string
  close(): Promise<void>
}

/** Listens on 127.0.0.1 only: the API has no keys yet, so it must not be reachable from elsewhere. */
export async function startHttp(parts: ApiParts, port: number): Promise<Api> {
  const api = createApi(parts)
  const server = await new Promise<ServerType>((resolve, reject) => {
    const listening = serve({ fetch: api.fetch, port, hostname: "127.0.0.1" }, () => resolve(listening))
    listening.once("error", (cause: NodeJS.ErrnoException) => {
      const why = cause.code === "EADDRINUSE" ? `port ${port} is in use` : cause.message
      reject(
        new FanfareError("invalid_option", `the HTTP API cannot listen on 127.0.0.1: ${why}`, {
          field: "http.port",
          cause,
          hint: "Choose another with --port.",
        }),
      )
    })
  })
  const address = server.address()
  const actual = typeof address === "object" && address !== null ? address.port : port
  return {
    url: `http://127.0.0.1:${actual}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        if ("closeAllConnections" in server) server.closeAllConnections()
      }),
  }
}

import { createServer, type Server } from "node:http"
import { createAdaptorServer } from "@hono/node-server"
import { FanfareError } from "../core/errors.ts"
import { type ApiParts, createApi } from "./api.ts"
import { acceptWorkers, isUpgrade } from "./connect.ts"

/** The HTTP API, listening. */
export interface Api {
  readonly url: string
  close(): Promise<void>
}

/**
 * Node's own bounds are lax: a client that sends slowly, or much before its request, is let go of. Connections are kept for longer than
 * balancers keep theirs, so that none is closed from here just when it is used.
 */
const bounds = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 16 * 1024,
  // Node before 22.21 and 24.9 knows no such option: there whoever asks to upgrade to anything else is refused.
  shouldUpgradeCallback: isUpgrade,
}
const connectionsMax = 10_000
const headersMax = 100

/** A server of Node, within bounds. `timeouts`: for tests, which cannot wait so long. */
export function boundedServer(fetch: (request: Request) => Response | Promise<Response>, timeouts: Partial<typeof bounds> = {}): Server {
  const server = createAdaptorServer({ fetch, createServer, serverOptions: { ...bounds, ...timeouts } }) as Server
  server.maxConnections = connectionsMax
  server.maxHeadersCount = headersMax
  return server
}

export async function startHttp(parts: ApiParts, host: string, port: number): Promise<Api> {
  const server = boundedServer(createApi(parts).fetch)
  acceptWorkers(server, parts.connections, parts.access.kind === "dev")
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const why = cause.code === "EADDRINUSE" ? `port ${port} is in use` : cause.message
      reject(
        new FanfareError("invalid_option", `the HTTP API cannot listen on ${host}: ${why}`, {
          field: "http.port",
          cause,
          hint: "Stop what listens there, or choose another port: --port, or http.port of createServer.",
        }),
      )
    })
    server.listen(port, host, resolve)
  })
  const address = server.address()
  const actual = typeof address === "object" && address !== null ? address.port : port
  return {
    url: `http://${isAnywhere(host) ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host}:${actual}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const loopback = new Set(["127.0.0.1", "localhost", "::1"])

/** Whether only this machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  return loopback.has(host)
}

function isAnywhere(host: string): boolean {
  return host === "0.0.0.0" || host === "::"
}

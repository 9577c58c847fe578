import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import express from "express"
import { Inngest, NonRetriableError, RetryAfterError } from "inngest"
import { serve as serveExpress } from "inngest/express"
import { createServer as nodeAdapter } from "inngest/node"
import { Inngest as Inngest3, NonRetriableError as NonRetriable3, RetryAfterError as RetryAfter3 } from "inngest-v3"
import { serve as serveExpress3 } from "inngest-v3/express"
import { createServer as nodeAdapter3 } from "inngest-v3/node"

/** How an app finds its server. */
export interface Home {
  readonly baseUrl: string
  readonly isDev: boolean
  readonly signingKey?: string
  readonly eventKey?: string
}

/** What handlers see, as far as both majors agree. */
export interface Seen {
  readonly event: { readonly id?: string; readonly name: string; readonly data: Record<string, unknown>; readonly ts?: number }
  readonly attempt: number
  readonly runId: string
  readonly step: Steps
}

interface Steps {
  run<T>(id: string, work: () => T | Promise<T>): Promise<T>
  sleep(id: string, time: string): Promise<void>
  sendEvent(id: string, events: object): Promise<{ ids: string[] }>
}

export interface Fn {
  readonly id: string
  readonly triggers: readonly ({ readonly event: string; readonly if?: string } | { readonly cron: string })[]
  readonly retries?: number
  readonly concurrency?: number
  readonly handler: (seen: Seen) => unknown
}

export interface SdkApp {
  readonly url: string
  send(events: object): Promise<{ ids: string[] }>
  close(): Promise<void>
}

/** One major of the official SDK behind one of its adapters. */
export interface Sdk {
  readonly name: string
  readonly NonRetriable: new (message: string) => Error
  readonly RetryAfter: new (message: string, after: number | string | Date) => Error
  start(id: string, home: Home, functions: readonly Fn[]): Promise<SdkApp>
}

const quiet = { info: () => {}, warn: () => {}, error: () => {}, debug: () => {} }
const path = "/api/inngest"

export const sdks: readonly Sdk[] = [
  {
    name: "inngest 4, Express",
    NonRetriable: NonRetriableError,
    RetryAfter: RetryAfterError,
    async start(id, home, functions) {
      const client = new Inngest({ id, ...home, logger: quiet })
      const made = functions.map(({ handler, triggers, ...options }) =>
        client.createFunction({ ...options, triggers: [...triggers] } as never, handler as never),
      )
      return listen(withExpress(serveExpress({ client, functions: made })), client)
    },
  },
  {
    name: "inngest 4, node",
    NonRetriable: NonRetriableError,
    RetryAfter: RetryAfterError,
    async start(id, home, functions) {
      const client = new Inngest({ id, ...home, logger: quiet })
      const made = functions.map(({ handler, triggers, ...options }) =>
        client.createFunction({ ...options, triggers: [...triggers] } as never, handler as never),
      )
      return listen(nodeAdapter({ client, functions: made }), client)
    },
  },
  {
    name: "inngest 3, Express",
    NonRetriable: NonRetriable3,
    RetryAfter: RetryAfter3,
    async start(id, home, functions) {
      const { client, made, signingKey } = three(id, home, functions)
      return listen(withExpress(serveExpress3({ client, functions: made, ...signingKey })), client)
    },
  },
  {
    name: "inngest 3, node",
    NonRetriable: NonRetriable3,
    RetryAfter: RetryAfter3,
    async start(id, home, functions) {
      const { client, made, signingKey } = three(id, home, functions)
      return listen(nodeAdapter3({ client, functions: made, ...signingKey }), client)
    },
  },
]

function three(id: string, { signingKey, ...home }: Home, functions: readonly Fn[]) {
  const client = new Inngest3({ id, ...home, logger: quiet })
  const made = functions.map(({ handler, triggers, ...options }) =>
    client.createFunction(options as never, triggers as never, handler as never),
  )
  return { client, made, signingKey: signingKey === undefined ? {} : { signingKey } }
}

function withExpress(handler: ReturnType<typeof serveExpress>): RequestListener {
  const app = express()
  app.use(express.json({ limit: "10mb" }))
  app.use(path, handler)
  return app
}

async function listen(listener: RequestListener | Server, client: { send(events: never): Promise<unknown> }): Promise<SdkApp> {
  const server = typeof listener === "function" ? createServer(listener) : listener
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`,
    send: (events) => client.send(events as never) as Promise<{ ids: string[] }>,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

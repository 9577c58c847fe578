import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import express, { type RequestHandler } from "express"

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
  readonly events: readonly { readonly data: Record<string, unknown> }[]
  readonly attempt: number
  readonly runId: string
  readonly step: Steps
}

interface Steps {
  run<T>(id: string, work: () => T | Promise<T>): Promise<T>
  sleep(id: string, time: string): Promise<void>
  sendEvent(id: string, events: object): Promise<{ ids: string[] }>
  waitForEvent(id: string, options: object): Promise<{ name: string; data: Record<string, unknown> } | null>
  sleepUntil(id: string, moment: Date): Promise<void>
  waitForSignal(id: string, options: { signal: string; timeout: string }): Promise<{ signal: string; data: unknown } | null>
  sendSignal(id: string, options: { signal: string; data?: unknown }): Promise<unknown>
  fetch(url: string, init?: object): Promise<Response>
  readonly ai: {
    infer(id: string, options: { model: unknown; body: object }): Promise<unknown>
    wrap<T>(id: string, work: (value: number) => Promise<T>, value: number): Promise<T>
  }
  invoke(id: string, options: { function: unknown; data?: object; timeout?: string }): Promise<unknown>
}

export interface Fn {
  readonly id: string
  readonly triggers: readonly ({ readonly event: string; readonly if?: string } | { readonly cron: string })[]
  readonly retries?: number
  readonly concurrency?: number
  readonly batchEvents?: object
  readonly singleton?: object
  readonly idempotency?: string
  readonly debounce?: object
  readonly throttle?: object
  readonly rateLimit?: object
  readonly priority?: object
  readonly cancelOn?: readonly object[]
  readonly onFailure?: (seen: Seen & { readonly error: Error }) => unknown
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
  /** Whether it tells of steps during a call, and of the run in which something is sent. */
  readonly checkpoints: boolean
  readonly linked: boolean
  readonly NonRetriable: new (message: string) => Error
  readonly RetryAfter: new (message: string, after: number | string | Date) => Error
  /** A function by its ids, to be invoked. */
  reference(functionId: string, appId?: string): unknown
  start(id: string, home: Home, functions: readonly Fn[]): Promise<SdkApp>
}

export const quiet = { info: () => {}, warn: () => {}, error: () => {}, debug: () => {} }
const path = "/api/inngest"

export function withExpress(handler: RequestHandler): RequestListener {
  const app = express()
  app.use(express.json({ limit: "10mb" }))
  app.use(path, handler)
  return app
}

export async function listen(listener: RequestListener | Server, client: { send(events: never): Promise<unknown> }): Promise<SdkApp> {
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

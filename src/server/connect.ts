import type { IncomingMessage, Server } from "node:http"
import type { Duplex } from "node:stream"
import type { Context, Hono } from "hono"
import { WebSocketServer } from "ws"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { connectProtocol, flushAnswer, gatewayPath, readReply, startAnswer } from "../protocol/connect.ts"
import type { Workers } from "../transport/workers.ts"
import { isLocalName } from "./guard.ts"
import { isCrossSite } from "./identity.ts"
import { prefixOf } from "./prefix.ts"
import type { WorkerConnections } from "./worker-connections.ts"

export interface ConnectParts {
  readonly connections: WorkerConnections
  readonly workers: Pick<Workers, "reply">
}

/** What workers ask over HTTP: where to connect, and to take answers whose connection broke. */
export function connectRoutes(door: Hono, { connections, workers }: ConnectParts): void {
  door.post("/v0/connect/start", async (c) => {
    if (connections.full) throw new FanfareError("busy", `this server has as many workers as it takes: ${limits.workers}`)
    const { connectionId, token } = await connections.invite()
    return protobuf(c, startAnswer(connectionId, gatewayOf(c), token))
  })
  door.post("/v0/connect/flush", async (c) => {
    const body = new Uint8Array(await c.req.arrayBuffer())
    if (body.length > limits.workerMessageBytes) {
      throw new FanfareError("too_large", `an answer is at most ${limits.workerMessageBytes} bytes`, {
        field: "body",
        bound: limits.workerMessageBytes,
      })
    }
    const reply = readReply(body)
    workers.reply(null, reply)
    return protobuf(c, flushAnswer(reply.requestId))
  })
}

function protobuf(c: Context, message: Uint8Array<ArrayBuffer>): Response {
  return c.body(message, 200, { "content-type": "application/protobuf" })
}

/** Where this server is for whoever asks: by the name that it was asked by, also behind a proxy. */
function gatewayOf(c: Context): string {
  const asked = new URL(c.req.url)
  const secure = c.req.header("x-forwarded-proto") === "https" || asked.protocol === "https:"
  const host = c.req.header("x-forwarded-host") ?? asked.host
  return `${secure ? "wss" : "ws"}://${host}${prefixOf(c)}${gatewayPath}`
}

/**
 * Lets workers open their WebSockets on a server. What a browser would open for a page is refused: it says where the page is from.
 * @param localOnly whether only those are let in who call us by a local name
 */
export function acceptWorkers(server: Server, connections: WorkerConnections, localOnly: boolean): void {
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.workerMessageBytes,
    handleProtocols: (offered) => offered.has(connectProtocol) && connectProtocol,
  })
  server.on("upgrade", (request, socket, head) => {
    const status = refusalOf(request, connections, localOnly)
    if (status === null) sockets.handleUpgrade(request, socket, head, (opened) => connections.accept(opened))
    else refuse(socket, status)
  })
}

/** Whether a request asks for the WebSocket of a worker: what else somebody wants to upgrade to is answered as if it did not. */
export function isUpgrade({ headers, url }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === "websocket" && pathOf(url) === gatewayPath
}

function refusalOf(request: IncomingMessage, connections: WorkerConnections, localOnly: boolean): string | null {
  const header = (name: string): string | undefined => request.headers[name]?.toString()
  if (!isUpgrade(request)) return "404 Not Found"
  const host = URL.parse(`http://${header("host") ?? ""}`)
  if ((localOnly && !isLocalName(host?.hostname ?? "")) || isCrossSite(header)) return "403 Forbidden"
  const offered = (header("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim())
  if (!offered.includes(connectProtocol)) return "400 Bad Request"
  return connections.full ? "503 Service Unavailable" : null
}

function pathOf(url: string | undefined): string {
  return (url ?? "").split("?", 1)[0] ?? ""
}

function refuse(socket: Duplex, status: string): void {
  socket.on("error", () => undefined)
  socket.once("finish", () => socket.destroy())
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
}

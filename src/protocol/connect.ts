import { traceHeaders } from "../core/trace.ts"
import { headers as names } from "./names.ts"
import { readMessage, writeMessage } from "./protobuf.ts"
import type { RawReply } from "./reply.ts"

/**
 * How apps that connect to us, instead of being called, talk with us: messages of protobuf over a WebSocket that a worker of the app
 * opens. Only the fields that one of the two sides looks at are here; the numbers are the protocol's.
 */
export const connectProtocol = "v0.connect.inngest.com"

/** The path of that WebSocket. The protocol leaves it to us: a worker is told of it when it begins. */
export const gatewayPath = "/v0/connect/gateway"

const kinds = {
  hello: 0,
  connect: 1,
  connectionReady: 2,
  request: 3,
  ready: 4,
  requestAck: 5,
  reply: 6,
  replyAck: 7,
  pause: 8,
  heartbeat: 9,
  heartbeatBack: 10,
  closing: 11,
  extendLease: 12,
  extendLeaseAck: 13,
} as const

/** What a worker says. */
export type WorkerMessage =
  | { readonly kind: "connect"; readonly worker: WorkerHello }
  /** It takes requests from now on. */
  | { readonly kind: "ready" }
  /** It takes no more requests, and ends those that it has. */
  | { readonly kind: "pause" }
  | { readonly kind: "heartbeat" }
  /** It has begun with a request. */
  | { readonly kind: "requestAck"; readonly requestId: string }
  /** It is still at it. */
  | { readonly kind: "extendLease"; readonly requestId: string; readonly leaseId: string }
  | { readonly kind: "reply"; readonly reply: WorkerReply }
  /** What we have no use for. */
  | { readonly kind: "other" }

/** Who a worker is. */
export interface WorkerHello {
  readonly connectionId: string
  readonly sessionToken: string
  /** As `sdk` of a registration is. */
  readonly sdk: string
  readonly apps: readonly { readonly id: string; readonly functions: string }[]
  /** It will say when it is ready for requests. */
  readonly saysWhenReady: boolean
  /** Requests that it takes at the same time; 0: it does not say. */
  readonly capacity: number
}

/** The answer to a request. */
export interface WorkerReply {
  readonly requestId: string
  /** As it would have come over HTTP. */
  readonly raw: RawReply
}

/** @throws ProtocolError it is no message */
export function readWorkerMessage(bytes: Uint8Array): WorkerMessage {
  const message = readMessage(bytes)
  const payload = message.bytes(2)
  switch (message.number(1)) {
    case kinds.connect:
      return { kind: "connect", worker: readHello(payload) }
    case kinds.ready:
      return { kind: "ready" }
    case kinds.pause:
      return { kind: "pause" }
    case kinds.heartbeat:
      return { kind: "heartbeat" }
    case kinds.requestAck:
      return { kind: "requestAck", requestId: readMessage(payload).text(1) }
    case kinds.extendLease: {
      const lease = readMessage(payload)
      return { kind: "extendLease", requestId: lease.text(1), leaseId: lease.text(10) }
    }
    case kinds.reply:
      return { kind: "reply", reply: readReply(payload) }
    default:
      return { kind: "other" }
  }
}

function readHello(payload: Uint8Array): WorkerHello {
  const hello = readMessage(payload)
  const language = hello.text(12)
  return {
    connectionId: hello.text(1),
    sessionToken: readMessage(hello.bytes(3)).text(1),
    sdk: `${language === "typescript" ? "js" : language}:${hello.text(11)}`,
    apps: hello.all(5).map((part) => {
      const app = readMessage(part)
      return { id: app.text(1), functions: app.text(4) }
    }),
    saysWhenReady: hello.number(6) !== 0,
    capacity: hello.number(14),
  }
}

const statuses = { notCompleted: 0, done: 1 } as const

/**
 * Reads the answer to a request. A function that says never to try again is "done" here: SDKs have a word for three statuses only.
 * @throws ProtocolError it is none
 */
export function readReply(payload: Uint8Array): WorkerReply {
  const reply = readMessage(payload)
  const noRetry = reply.number(7) !== 0
  const retryAfter = reply.text(8)
  const said = reply.number(5)
  return {
    requestId: reply.text(1),
    raw: {
      status: said === statuses.notCompleted ? 206 : said !== statuses.done ? 500 : noRetry ? 400 : 200,
      headers: {
        [names.sdk]: reply.text(9),
        [names.requestVersion]: String(reply.number(10)),
        ...(noRetry ? { [names.noRetry]: "true" } : {}),
        ...(retryAfter === "" ? {} : { [names.retryAfter]: retryAfter }),
      },
      body: reply.text(6),
    },
  }
}

/** A call, for a worker. */
export interface WorkerRequest {
  readonly requestId: string
  readonly appId: string
  readonly functionId: string
  readonly runId: string
  /** The only step to do; null: whatever comes next. */
  readonly stepId: string | null
  /** As over HTTP. */
  readonly body: string
  /** Where the attempt stands in a trace, if it does. */
  readonly trace: string | null
  readonly leaseId: string
}

/** What we say to workers. */
export const toWorker = {
  hello: () => enveloped(kinds.hello),
  /** It is who it says it is, and its functions are registered. Intervals in milliseconds. */
  connectionReady: (heartbeatMs: number, extendLeaseMs: number) =>
    enveloped(kinds.connectionReady, writeMessage({ 1: `${heartbeatMs}ms`, 2: `${extendLeaseMs}ms` })),
  request: ({ requestId, appId, functionId, runId, stepId, body, trace, leaseId }: WorkerRequest) =>
    enveloped(
      kinds.request,
      writeMessage({
        1: requestId,
        4: appId,
        5: appId,
        6: functionId,
        7: functionId,
        8: stepId ?? "",
        9: body,
        // Both must be there.
        11: trace === null ? "" : JSON.stringify({ tracestate: "", ...traceHeaders(trace) }),
        12: runId,
        13: leaseId,
        14: requestId,
      }),
    ),
  /** The answer has come, and need not be kept any more. */
  replyAck: (requestId: string) => enveloped(kinds.replyAck, writeMessage({ 1: requestId })),
  heartbeat: () => enveloped(kinds.heartbeatBack),
  /** @param leaseId null: nobody waits for the answer any more */
  extendLeaseAck: (requestId: string, leaseId: string | null) =>
    enveloped(kinds.extendLeaseAck, writeMessage({ 1: requestId, 6: leaseId ?? "" })),
  /** It should connect again, to another server if there is one. */
  closing: () => enveloped(kinds.closing),
} as const

function enveloped(kind: number, payload: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  return writeMessage({ 1: kind, 2: payload })
}

/** What a worker that wants to connect is told: its name, where to connect, and what to show there. */
export function startAnswer(connectionId: string, gateway: string, sessionToken: string): Uint8Array<ArrayBuffer> {
  return writeMessage({ 1: connectionId, 2: gateway, 3: "fanfare", 4: sessionToken })
}

/** What a worker is told whose answer came over HTTP, because its connection broke. */
export function flushAnswer(requestId: string): Uint8Array<ArrayBuffer> {
  return writeMessage({ 1: requestId })
}

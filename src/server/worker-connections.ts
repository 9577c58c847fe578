import { randomBytes } from "node:crypto"
import type { WebSocket } from "ws"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Telemetry } from "../engine/telemetry.ts"
import { readWorkerMessage, toWorker, type WorkerHello, type WorkerMessage } from "../protocol/connect.ts"
import { ProtocolError } from "../protocol/ops.ts"
import { type SigningKeys, signingKeys } from "../protocol/signature.ts"
import type { Worker, Workers } from "../transport/workers.ts"
import type { Apps } from "./apps.ts"

export interface ConnectionsParts {
  readonly workers: Workers
  readonly apps: Pick<Apps, "registerWorker">
  /** Null on a server without keys: then its own, for as long as it runs. */
  readonly signing: SigningKeys | null
  readonly clock: Clock
  readonly telemetry: Pick<Telemetry, "emit">
}

/** Why a connection is closed, in the numbers of WebSockets. */
const closings = { normal: 1000, refused: 4000, garbage: 1007, text: 1003, again: 1013 } as const

interface Connection {
  readonly socket: WebSocket
  heardAt: number
  /** Null until it has said who it is. */
  worker: Worker | null
  /** It has said so, and what it says is being looked at. */
  joining: boolean
  /** It has our token. */
  invited: boolean
  /** It has said that it goes. */
  paused: boolean
}

/** The connections that workers have opened: who they are, what they say, and that they are still there. */
export class WorkerConnections {
  readonly #parts: ConnectionsParts
  readonly #tokens: Promise<SigningKeys>
  readonly #connections = new Set<Connection>()
  #draining = false
  #cancelLook: (() => void) | null = null

  constructor(parts: ConnectionsParts) {
    this.#parts = parts
    this.#tokens = parts.signing === null ? signingKeys([randomBytes(32).toString("hex")]) : Promise.resolve(parts.signing)
  }

  /** Whether there is no place for another one. */
  get full(): boolean {
    if (this.#draining || this.#connections.size >= limits.workers) return true
    let unknown = 0
    for (const { worker } of this.#connections) if (worker === null) unknown++
    return unknown >= limits.workersNew
  }

  /** What a worker shows when it connects; every server with the same key understands it, for five minutes. */
  async invite(): Promise<{ readonly connectionId: string; readonly token: string }> {
    const connectionId = randomBytes(16).toString("hex")
    return { connectionId, token: await (await this.#tokens).sign(invitation(connectionId), this.#parts.clock.now()) }
  }

  /** A WebSocket is open. It has to say soon who it is. */
  accept(socket: WebSocket): void {
    const { clock } = this.#parts
    const connection: Connection = { socket, heardAt: clock.now(), worker: null, joining: false, invited: false, paused: false }
    this.#connections.add(connection)
    const cancelHello = clock.after(limits.workerHelloMs, () => {
      if (connection.worker === null) socket.terminate()
    })
    this.#cancelLook ??= clock.after(limits.workerBeatMs, () => this.#look())
    socket.on("message", (data, isBinary) => {
      connection.heardAt = clock.now()
      // Several buffers or an ArrayBuffer come only to those who ask for them.
      if (isBinary && data instanceof Uint8Array) this.#heard(connection, data)
      else socket.close(closings.text, "messages are binary")
    })
    // Whatever breaks the rules of WebSockets closes it.
    socket.on("error", () => undefined)
    socket.on("close", () => {
      cancelHello()
      this.#connections.delete(connection)
      if (connection.worker === null) return
      this.#parts.telemetry.emit({ name: "worker.left", apps: [...connection.worker.apps.keys()] })
      this.#parts.workers.leave(connection.worker, !connection.paused)
    })
    socket.send(toWorker.hello())
  }

  /** No new ones. Each worker is told to go elsewhere as soon as it has nothing to do here. */
  drain(): void {
    this.#draining = true
    for (const connection of this.#connections) {
      if (connection.worker === null) connection.socket.close(closings.again, "this server stops")
      else this.#parts.workers.pause(connection.worker, false)
      this.#letGo(connection)
    }
  }

  /** Closes what is still open. */
  close(): void {
    this.#cancelLook?.()
    for (const { socket } of this.#connections) socket.close(closings.normal, "this server stops")
    for (const { socket } of this.#connections) socket.terminate()
    this.#parts.workers.close()
  }

  #heard(connection: Connection, data: Uint8Array): void {
    try {
      const message = readWorkerMessage(data)
      if (message.kind === "connect") void this.#join(connection, message.worker)
      else if (connection.worker !== null) this.#take(connection, connection.worker, message)
      else throw new ProtocolError("a worker says first who it is")
    } catch (error) {
      this.#refuse(connection, closings.garbage, error)
    }
  }

  async #join(connection: Connection, hello: WorkerHello): Promise<void> {
    const { apps, workers, clock, telemetry } = this.#parts
    const { socket } = connection
    try {
      if (connection.joining) throw new ProtocolError("a worker says once who it is")
      connection.joining = true
      const known = await (await this.#tokens).verify(hello.sessionToken, invitation(hello.connectionId), clock.now())
      if (!known) throw new FanfareError("not_allowed", "the session token is none of this server")
      connection.invited = true
      const registered = await apps.registerWorker(hello)
      if (socket.readyState !== socket.OPEN || this.#draining) {
        socket.close(closings.again)
        return
      }
      const worker: Worker = {
        apps: registered,
        capacity: hello.capacity > 0 ? Math.min(hello.capacity, limits.concurrencyMax) : limits.workerRequests,
        get writable() {
          return socket.readyState === socket.OPEN && socket.bufferedAmount < limits.workerUnreadBytes
        },
        send: (message) => socket.send(message),
      }
      connection.worker = worker
      socket.send(toWorker.connectionReady(limits.workerBeatMs, limits.workerExtendMs))
      workers.join(worker, !hello.saysWhenReady)
      telemetry.emit({ name: "worker.connected", apps: [...registered.keys()] })
    } catch (error) {
      this.#refuse(connection, closings.refused, error)
    }
  }

  #take(connection: Connection, worker: Worker, message: Exclude<WorkerMessage, { kind: "connect" }>): void {
    const { workers } = this.#parts
    const { socket } = connection
    switch (message.kind) {
      case "ready":
        if (!this.#draining) workers.ready(worker)
        return
      case "pause":
        connection.paused = true
        workers.pause(worker, true)
        return
      case "heartbeat":
        socket.send(toWorker.heartbeat())
        return
      case "requestAck":
        workers.begun(worker, message.requestId)
        return
      case "extendLease": {
        const { requestId, leaseId } = message
        socket.send(toWorker.extendLeaseAck(requestId, workers.extend(worker, requestId) ? leaseId : null))
        return
      }
      case "reply":
        workers.reply(worker, message.reply)
        socket.send(toWorker.replyAck(message.reply.requestId))
        if (this.#draining) this.#letGo(connection)
        return
      case "other":
        return
      default:
        message satisfies never
    }
  }

  #letGo({ socket, worker }: Connection): void {
    if (worker !== null && this.#parts.workers.busy(worker) === 0) socket.send(toWorker.closing())
  }

  /** Only the reason goes to the other side. It is told here of workers alone: strangers must not fill the log. */
  #refuse({ socket, invited }: Connection, code: number, error: unknown): void {
    const known = error instanceof FanfareError || error instanceof ProtocolError
    const reason = known ? error.message : "something went wrong inside Fanfare"
    if (invited) this.#parts.telemetry.emit({ name: "worker.refused", reason: known ? reason : String(error) })
    // A reason has at most 123 bytes.
    socket.close(code, reason.replaceAll(/[^\u0020-\u007e]/g, "?").slice(0, 120))
  }

  /** Connections that nothing is heard of are closed. */
  #look(): void {
    const { clock } = this.#parts
    const now = clock.now()
    for (const { socket, heardAt } of this.#connections) if (now - heardAt > limits.workerSilentMs) socket.terminate()
    this.#cancelLook = this.#connections.size > 0 ? clock.after(limits.workerBeatMs, () => this.#look()) : null
  }
}

/** No body of a call or a sync begins so: a signature of one is none of the other. */
function invitation(connectionId: string): string {
  return `connect ${connectionId}`
}

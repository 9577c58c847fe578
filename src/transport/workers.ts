import { randomBytes } from "node:crypto"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import type { Clock } from "../core/ports.ts"
import { toWorker, type WorkerReply, type WorkerRequest } from "../protocol/connect.ts"
import type { RawReply } from "../protocol/reply.ts"

/** A process of apps that has connected to this node. */
export interface Worker {
  readonly apps: ReadonlyMap<string, WorkerApp>
  /** Requests that it takes at the same time. */
  readonly capacity: number
  /** False: it has not taken yet what was sent to it, or goes. */
  readonly writable: boolean
  send(message: Uint8Array): void
}

/** An app as one of its workers has it. */
export interface WorkerApp {
  readonly functionIds: ReadonlySet<string>
  /** Equal for those that say the same of it. */
  readonly checksum: string
}

/** Functions, and requests at the same time. */
export interface Reach {
  readonly functionIds: ReadonlySet<string>
  readonly capacity: number
}

/** There is no answer to a call, and will be none: how the attempt ends. */
export interface Gone {
  readonly kind: "gone"
  readonly outcome: Extract<Outcome, { kind: "lost" | "returned" }>
}

export type WorkerCall = Pick<WorkerRequest, "appId" | "functionId" | "runId" | "stepId" | "body" | "trace">

interface Request extends WorkerRequest {
  /** Null while it waits for a worker: a free one, or its own, whose connection broke. */
  worker: Worker | null
  /** Its worker has begun with it. */
  begun: boolean
  /** It is lost when nothing is heard of it until then; null while it waits for a free worker. */
  until: number | null
  readonly end: (answer: RawReply | Gone) => void
}

interface State {
  /** It takes new requests. */
  ready: boolean
  readonly requests: Set<Request>
}

/**
 * The workers that are connected to this node, and the calls that they have: each call goes to the worker with the most room, or waits for
 * one. A worker whose connection broke may come back, by another connection, and go on with its calls.
 */
export class Workers {
  readonly #clock: Clock
  /** Called when other functions, or more of them, can be called. */
  readonly #changed: () => void
  readonly #workers = new Map<Worker, State>()
  readonly #requests = new Map<string, Request>()
  /** In the order in which they came. */
  readonly #waiting = new Set<Request>()
  /** Answers to requests of another node, or of this one before it began anew, are none to ours. */
  readonly #name = randomBytes(12).toString("hex")
  #count = 0
  /** By app; null: to be looked at again. Asked for with each claim, so not made each time. */
  #reach: ReadonlyMap<string, Reach> | null = null
  #cancelLook: (() => void) | null = null

  constructor(clock: Clock, changed: () => void) {
    this.#clock = clock
    this.#changed = changed
  }

  /** How many of an app are connected; of those that say this of it, if given. */
  count(appId: string, checksum?: string): number {
    const versions = Array.from(this.#workers.keys(), ({ apps }) => apps.get(appId)).filter((app) => app !== undefined)
    return checksum === undefined ? versions.length : versions.filter((each) => each.checksum === checksum).length
  }

  /** What the workers of an app that take requests can do together. */
  reach(appId: string): Reach {
    this.#reach ??= this.#lookAround()
    return this.#reach.get(appId) ?? nothing
  }

  #lookAround(): Map<string, Reach> {
    const reach = new Map<string, { functionIds: Set<string>; capacity: number }>()
    for (const [{ apps, capacity }, { ready }] of this.#workers) {
      if (!ready) continue
      for (const [appId, { functionIds }] of apps) {
        const known = reach.get(appId) ?? { functionIds: new Set(), capacity: 0 }
        for (const id of functionIds) known.functionIds.add(id)
        known.capacity += capacity
        reach.set(appId, known)
      }
    }
    return reach
  }

  #moved(): void {
    this.#reach = null
    this.#changed()
  }

  /** A worker has connected. */
  join(worker: Worker, ready: boolean): void {
    this.#workers.set(worker, { ready: false, requests: new Set() })
    if (ready) this.ready(worker)
  }

  /** It takes requests from now on. */
  ready(worker: Worker): void {
    const state = this.#workers.get(worker)
    if (state === undefined) return
    state.ready = true
    this.#moved()
    this.#assign()
  }

  /** It gets no more requests. `drops`: whatever it has not begun with it never will. */
  pause(worker: Worker, drops: boolean): void {
    const state = this.#workers.get(worker)
    if (state === undefined) return
    state.ready = false
    if (drops) for (const request of state.requests) if (!request.begun) this.#putBack(request)
    this.#moved()
    this.#assign()
  }

  /** Its connection is gone. `returns`: it may connect again and go on with what it has begun. */
  leave(worker: Worker, returns: boolean): void {
    const state = this.#workers.get(worker)
    if (state === undefined) return
    this.#workers.delete(worker)
    for (const request of state.requests) {
      request.worker = null
      if (!returns) this.#lose(request)
      else this.#expect(request, limits.workerReturnMs)
    }
    this.#moved()
    this.#assign()
  }

  /** Requests that a worker has. */
  busy(worker: Worker): number {
    return this.#workers.get(worker)?.requests.size ?? 0
  }

  /** Resolves with the answer of a worker, or when it is known that there is none. Never rejects. */
  send(call: WorkerCall, signal: AbortSignal): Promise<RawReply | Gone> {
    return new Promise((resolve) => {
      const requestId = `${this.#name}.${++this.#count}`
      const abort = (): void => this.#end(request, returned)
      const request: Request = {
        appId: call.appId,
        functionId: call.functionId,
        runId: call.runId,
        stepId: call.stepId,
        body: call.body,
        trace: call.trace,
        requestId,
        leaseId: requestId,
        worker: null,
        begun: false,
        until: null,
        end: (answer) => {
          signal.removeEventListener("abort", abort)
          resolve(answer)
        },
      }
      this.#requests.set(requestId, request)
      this.#waiting.add(request)
      signal.addEventListener("abort", abort)
      if (signal.aborted) abort()
      else this.#place(request)
    })
  }

  /** A worker has begun with a request. */
  begun(worker: Worker, requestId: string): void {
    const request = this.#requests.get(requestId)
    if (request?.worker === worker) request.begun = true
  }

  /** A worker is still at a request, which it may have got over another connection. False: nobody waits for the answer. */
  extend(worker: Worker, requestId: string): boolean {
    const request = this.#requests.get(requestId)
    const state = this.#workers.get(worker)
    if (request === undefined || state === undefined || this.#waiting.has(request) || !isOf(worker, request)) return false
    if (request.worker !== worker) {
      if (request.worker !== null) this.#workers.get(request.worker)?.requests.delete(request)
      request.worker = worker
      state.requests.add(request)
    }
    request.begun = true
    this.#expect(request, limits.workerLeaseMs)
    return true
  }

  /** The answer to a request has come. `worker`: null when it came over HTTP. */
  reply(worker: Worker | null, { requestId, raw }: WorkerReply): void {
    const request = this.#requests.get(requestId)
    if (request !== undefined && (worker === null || isOf(worker, request))) this.#end(request, raw)
  }

  /** Nobody connects any more, and what is under way is lost. */
  close(): void {
    this.#cancelLook?.()
    for (const request of this.#requests.values()) this.#lose(request)
  }

  /** Gives a request that waits to a worker, if one has room; hands it back if none has its function. */
  #place(request: Request): void {
    let best: [Worker, State] | null = null
    let least = 1
    let known = false
    for (const [worker, state] of this.#workers) {
      if (!state.ready || !isOf(worker, request)) continue
      known = true
      const load = state.requests.size / worker.capacity
      if (worker.writable && load < least) [best, least] = [[worker, state], load]
    }
    if (best === null) {
      if (known) this.#watch()
      else this.#end(request, returned)
      return
    }
    const [worker, state] = best
    worker.send(toWorker.request(request))
    this.#waiting.delete(request)
    request.worker = worker
    state.requests.add(request)
    this.#expect(request, limits.workerLeaseMs)
    // Of those with the same room it is the last one to get the next.
    this.#workers.delete(worker)
    this.#workers.set(worker, state)
  }

  /** @param freed the only worker that has more room than before; undefined: others may have, or be gone */
  #assign(freed?: Worker): void {
    for (const request of this.#waiting) {
      if (freed !== undefined && this.busy(freed) >= freed.capacity) return
      this.#place(request)
    }
  }

  #putBack(request: Request): void {
    if (request.worker !== null) this.#workers.get(request.worker)?.requests.delete(request)
    request.worker = null
    request.until = null
    this.#waiting.add(request)
  }

  #lose(request: Request): void {
    this.#end(request, { kind: "gone", outcome: { kind: "lost", reason: "its worker went away before it answered" } })
  }

  #end(request: Request, answer: RawReply | Gone): void {
    if (!this.#requests.delete(request.requestId)) return
    this.#waiting.delete(request)
    if (request.worker !== null) this.#workers.get(request.worker)?.requests.delete(request)
    request.end(answer)
    if (request.worker !== null && this.#waiting.size > 0) this.#assign(request.worker)
  }

  #expect(request: Request, ms: number): void {
    request.until = this.#clock.now() + ms
    this.#watch()
  }

  #watch(): void {
    this.#cancelLook ??= this.#clock.after(lookMs, () => this.#look())
  }

  /** Requests of which nothing was heard. One that has not begun goes to another worker: its own may have dropped it. */
  #look(): void {
    this.#cancelLook = null
    const now = this.#clock.now()
    for (const request of this.#requests.values()) {
      if (request.until === null || request.until > now) continue
      if (request.begun || request.worker === null) this.#lose(request)
      else this.#putBack(request)
    }
    this.#assign()
    if (this.#requests.size > 0) this.#watch()
  }
}

const lookMs = 1_000
const nothing: Reach = { functionIds: new Set(), capacity: 0 }

const returned: Gone = { kind: "gone", outcome: { kind: "returned" } }

function isOf({ apps }: Worker, { appId, functionId }: Pick<WorkerCall, "appId" | "functionId">): boolean {
  return apps.get(appId)?.functionIds.has(functionId) === true
}

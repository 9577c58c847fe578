import type { Attempt } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import { toFailure } from "../core/failure.ts"
import { encodeJson } from "../core/json.ts"
import { connectedUrl } from "../core/http-app.ts"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import type { Quota } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import type { KnownFunctions } from "../core/views.ts"
import { type Call, callBody, callUrl, canonicalBody } from "../protocol/call.ts"
import { headers } from "../protocol/names.ts"
import { uuidOf } from "../protocol/op-id.ts"
import type { Op } from "../protocol/ops.ts"
import { parseReply, type RawReply, type Reply } from "../protocol/reply.ts"
import type { SigningKeys } from "../protocol/signature.ts"
import { askFor } from "./gateway.ts"
import { HttpAttempt } from "./http-attempt.ts"
import type { HttpClient, HttpRequest } from "./http-client.ts"
import type { Transport } from "./transport.ts"
import type { Gone, Workers } from "./workers.ts"

/** Where a function is called, and how often it may be tried. */
export interface CalledFunction {
  readonly id: string
  readonly appId: string
  /** `connectedUrl`: through the workers of its app. */
  readonly url: string
  /** The same, to be asked for whatever comes next. */
  readonly nextUrl: string
  readonly retries: number
  readonly uuid: string
  /** Its SDK hands on the sessions of a run's events to what it sends. */
  readonly linked: boolean
  /** Its SDK can tell of steps during a call. */
  readonly checkpoints: boolean
}

export interface HttpTransportOptions {
  readonly workers: Workers
  readonly client: Pick<HttpClient, "send">
  /** Null for apps that are developed: nothing is signed. */
  readonly keys: SigningKeys | null
  readonly kind: "dev" | "cloud"
  /** Whether what an app tells during a call comes to this node: there is no other. */
  readonly alone: boolean
  /** Keeps steps of a run that another node has in its hands; false: nobody has. */
  readonly keepElsewhere: (runId: string, fence: number, steps: readonly StepRecord[]) => Promise<boolean>
}

/** User code elsewhere, called over HTTP, or over a connection that a worker of its app has opened. */
export class HttpTransport implements Transport {
  readonly #options: HttpTransportOptions
  #functions: ReadonlyMap<string, CalledFunction> = new Map()
  /** Those that are called over HTTP; the others can be called while a worker has them. */
  #fixed: readonly string[] = []
  #connected: readonly { readonly id: string; readonly functionIds: readonly string[] }[] = []
  /** Attempts under way of apps that connect. */
  readonly #underWay = new Map<string, number>()
  /** Attempts under way, each in a place of its own; not a Map, for the same reason as in the executor. */
  readonly #places: (HttpAttempt | null)[] = []
  readonly #freePlaces: number[] = []

  constructor(options: HttpTransportOptions) {
    this.#options = options
  }

  learn({ functions, apps }: KnownFunctions): void {
    const retries = new Map(functions.map(({ definition }) => [definition.id, definition.retries]))
    const named = apps.map(({ id, url, calls }) => ({ id, url, functionIds: Object.keys(calls) }))
    this.#fixed = named.flatMap(({ url, functionIds }) => (url === connectedUrl ? [] : functionIds))
    this.#connected = named.filter(({ url }) => url === connectedUrl)
    this.#functions = new Map(
      apps.flatMap(({ id: appId, calls, sdk }) =>
        Object.entries(calls).map(([id, url]) => {
          const traits = { uuid: uuidOf(id), linked: linking.test(sdk), checkpoints: checkpointing.test(sdk) }
          return [
            id,
            { id, appId, url, nextUrl: callUrl(url, null), retries: retries.get(id) ?? limits.retriesDefault, ...traits },
          ] as const
        }),
      ),
    )
  }

  hosts(): readonly string[] {
    if (this.#connected.length === 0) return this.#fixed
    const { workers } = this.#options
    return [
      ...this.#fixed,
      ...this.#connected.flatMap(({ id, functionIds }) => functionIds.filter((each) => workers.reach(id).functionIds.has(each))),
    ]
  }

  quotas(): readonly Quota[] {
    const { workers } = this.#options
    return this.#connected.map(({ id, functionIds }) => ({
      functionIds,
      most: Math.max(0, workers.reach(id).capacity - (this.#underWay.get(id) ?? 0)),
    }))
  }

  async execute(attempt: Attempt): Promise<Outcome> {
    const called = this.#functions.get(attempt.run.functionId)
    if (called === undefined) return { kind: "returned" }
    const place = this.#freePlaces.pop() ?? this.#places.length
    const { trace = null } = attempt.run
    const live = new HttpAttempt(attempt, {
      retries: called.retries,
      linked: called.linked,
      shared: !this.#options.alone,
      ticket: called.checkpoints ? { functionUuid: called.uuid, item: `${place}.${attempt.run.fence}` } : null,
      ask: (op, signal) => askFor(op, this.#options.client, { signal, trace }),
      send: (call, signal) => this.#call(called, call, attempt.recorder.now(), { signal, trace }),
    })
    this.#places[place] = live
    this.#count(called, 1)
    const outcome = await live.outcome()
    this.#count(called, -1)
    this.#places[place] = null
    this.#freePlaces.push(place)
    return outcome
  }

  /** Keeps steps that an app has ended during a call. False: the attempt that it belongs to is over. */
  async checkpoint(runId: string, item: string, ops: readonly Op[], now: number): Promise<boolean> {
    const { alone, keepElsewhere } = this.#options
    const [place = -1, fence = 0] = item.split(".").map(Number)
    if ((await this.#places[place]?.checkpoint(runId, fence, ops)) === true) return true
    return !alone && Number.isSafeInteger(fence) && keepElsewhere(runId, fence, stepsOf(ops, now))
  }

  #count({ url, appId }: CalledFunction, attempts: 1 | -1): void {
    if (url === connectedUrl) this.#underWay.set(appId, (this.#underWay.get(appId) ?? 0) + attempts)
  }

  /** Never rejects: no answer is a failure that is tried again. */
  async #call(called: CalledFunction, call: Call, now: number, way: Way): Promise<Reply | Gone> {
    try {
      let body = callBody(call)
      // Bytes are counted only near the bound: a text has at most three per character.
      if (body.length * 3 > limits.callBytes && Buffer.byteLength(body) > limits.callBytes) body = callBody({ ...call, byApi: true })
      const answer = await (called.url === connectedUrl
        ? this.#options.workers.send({ ...call, appId: called.appId, functionId: called.id, body, trace: way.trace ?? null }, way.signal)
        : this.#post(called, call, body, now, way))
      return "kind" in answer ? answer : parseReply(answer, now)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const refused = error instanceof FanfareError
      return {
        kind: "failed",
        failure: toFailure({ name: "AppUnreachable", message: `${new URL(called.url).host}: ${why}` }),
        retry: refused ? "never" : "policy",
      }
    }
  }

  async #post({ url, nextUrl }: CalledFunction, call: Call, text: string, now: number, way: Way): Promise<RawReply> {
    const { client, keys, kind } = this.#options
    const body = keys === null ? text : canonicalBody(text)
    return client.send({
      method: "POST",
      url: call.stepId === null ? nextUrl : callUrl(url, call.stepId),
      headers: {
        "content-type": "application/json",
        "user-agent": "fanfare",
        [headers.serverKind]: kind,
        [headers.runId]: call.runId,
        [headers.stepId]: call.stepId ?? "step",
        [headers.requestVersion]: String(call.version),
        ...(keys === null ? {} : { [headers.signature]: await keys.sign(body, now) }),
      },
      body,
      ...way,
    })
  }
}

/** How a request is given up, and what it is part of in a trace. */
type Way = Pick<HttpRequest, "signal" | "trace">

/** Steps that an app has ended, as they are kept. @throws FanfareError `too_large` */
function stepsOf(ops: readonly Op[], now: number): StepRecord[] {
  return ops
    .filter(({ kind }) => kind === "StepRun" || kind === "Step")
    .map(({ key, data }) => {
      const output = encodeJson(data, { field: `the result of step "${key}"`, bytes: limits.outputBytes })
      return { key, kind: "run", state: "completed", attempts: 1, output, failure: null, dueAt: null, startedAt: now, endedAt: now }
    })
}

/** The official SDK for JavaScript: from version 4 on sessions are handed on, and from 3 on it may tell of steps during a call. */
const linking = /^js:v?([4-9]|\d\d)\./
const checkpointing = /^js:v?([3-9]|\d\d)\./

import type { HostedFunction } from "../core/app.ts"
import type { Attempt, FanOutWish, Recorder, SendResult, SendWay, SignalResult, StepReport } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import type { Failure } from "../core/failure.ts"
import type { Outcome } from "../core/outcome.ts"
import { limits } from "../core/limits.ts"
import type { RetryWish } from "../core/retry.ts"
import type { Pull } from "../core/source.ts"
import type { StepRecord } from "../core/step.ts"
import { traceHeaders } from "../core/trace.ts"
import { activeTrace, within } from "../otel/spans.ts"
import type { CalledEvent, parseCall, SourceAsked } from "../protocol/call.ts"
import { eventNameToWire, headers as names } from "../protocol/names.ts"
import { isObject } from "../protocol/ops.ts"
import { conditionOf } from "../protocol/registration-body.ts"
import { sha1 } from "../protocol/sha1.ts"
import { below } from "./below.ts"
import { runAttempt } from "./runner.ts"
import { platformClock } from "./serve-clock.ts"
import { notNow } from "./step-bounds.ts"

type Call = Extract<ReturnType<typeof parseCall>, { call: unknown }>["call"]
type Op = Readonly<Record<string, unknown>>

/** What a handler knows of itself and its server. */
export interface Served {
  readonly appId: string
  readonly functions: ReadonlyMap<string, HostedFunction>
  readonly url: string
  readonly eventKey: string
  readonly bearer: string | null
}

/** What one call adds: the step that it names. */
export interface ServedCall extends Served {
  readonly stepId: string | null
  /** Where the call stands in a trace, if it does. */
  readonly trace: string | null
}

export interface CallAnswer {
  readonly status: number
  readonly content: unknown
  readonly headers: Record<string, string>
}

/** Runs a function as far as it comes in one call: up to the end of the steps that it begins now. */
export async function answerCall(hosted: HostedFunction, call: Call, served: ServedCall): Promise<CallAnswer> {
  const { events, memos } = call.byApi ? await fetched(call, served) : call
  const [event = noEvent] = events
  const steps = new Memos(memos)
  const recording = new CallRecording(call, served, steps, event.ts)
  const now = platformClock.now()
  const attempt: Attempt = {
    run: {
      id: call.runId,
      functionId: hosted.definition.id,
      attempt: call.attempt + 1,
      fence: 0,
      losses: 0,
      rank: 0,
      fanoutId: null,
      createdAt: event.ts,
      claimedAt: now,
      event,
      events,
      limits: [],
      logLines: 0,
      trace: served.trace,
    },
    steps,
    kindless: true,
    signal: new AbortController().signal,
    recorder: recording,
  }
  const outcome = await within(served.trace, () => runAttempt(hosted, attempt))
  if (!recording.pulling || outcome.kind === "failed") return answerOf(outcome, recording)
  return { status: 206, content: recording.part === null ? [] : [recording.part], headers: {} }
}

function answerOf(outcome: Outcome, { ops, retry }: CallRecording): CallAnswer {
  switch (outcome.kind) {
    case "completed": {
      const data: unknown = JSON.parse(outcome.output)
      if (ops.length === 0) return { status: 200, content: data, headers: {} }
      return { status: 206, content: [...ops, { id: sha1("complete"), op: "RunComplete", name: "complete", data }], headers: {} }
    }
    case "parked":
      return { status: 206, content: ops, headers: retryHeaders(retry) }
    case "failed":
      return { status: outcome.retry === "never" ? 400 : 500, content: serialized(outcome.failure), headers: retryHeaders(outcome.retry) }
    case "lost":
    case "returned":
    case "superseded":
      return { status: 500, content: { name: "Error", message: outcome.kind }, headers: retryHeaders("policy") }
    default:
      return outcome satisfies never
  }
}

function retryHeaders(retry: RetryWish): Record<string, string> {
  const after: Record<string, string> = { [names.noRetry]: String(retry === "never") }
  if (typeof retry === "object") {
    after[names.retryAfter] = new Date(retry.at).toISOString()
    if (retry.limit !== undefined) after[names.limit] = encodeURIComponent(retry.limit)
  }
  return after
}

function serialized(failure: Failure): Record<string, unknown> {
  return { ...failure, __serialized: true }
}

/** The engine's side of one call: what happens at steps is gathered for the answer. */
class CallRecording implements Recorder {
  readonly ops: Op[] = []
  /** The items that the server asked for. */
  part: Op | null = null
  /** What failed steps of this call wish. */
  retry: RetryWish = "policy"
  readonly closed = false
  readonly #call: Call
  readonly #served: ServedCall
  readonly #steps: Memos
  readonly #seedMs: number

  constructor(call: Call, served: ServedCall, steps: Memos, seedMs: number) {
    this.#call = call
    this.#served = served
    this.#steps = steps
    this.#seedMs = seedMs
  }

  now(): number {
    return platformClock.now()
  }

  turn(): Promise<void> {
    return platformClock.turn()
  }

  after(ms: number): readonly [Promise<void>, () => void] {
    return platformClock.after(ms)
  }

  async register(): Promise<void> {}

  /** The function goes on when the server has made it durable: in another call. */
  async report(report: StepReport): Promise<StepRecord> {
    const { key } = report
    const now = this.now()
    this.ops.push(this.#opOf(report))
    return notNow(key, now)
  }

  /** Sent at once, with ids that are the same each time: a call that is repeated sends nothing twice. */
  async send(key: string, events: readonly EventInput[], { rules = {}, functionId }: Omit<SendWay, "joined"> = {}): Promise<SendResult> {
    if (functionId !== undefined) throw notOverHttp("a send of items")
    const kept = this.#steps.get(key)
    if (kept?.output !== undefined && kept.output !== null) return JSON.parse(kept.output) as SendResult
    if (events.length === 0) return { ids: [], fanoutId: null }
    const { url, eventKey } = this.#served
    const answer = await fetch(below(url, `/e/${encodeURIComponent(eventKey)}`), {
      method: "POST",
      headers: {
        "content-type": "application/json",
        [names.eventSeed]: this.#seed(key),
        [names.sendingRun]: this.#call.runId,
        ...traceHeaders(activeTrace() ?? this.#served.trace),
        ...(Object.keys(rules).length === 0 ? {} : { [names.rules]: JSON.stringify(rules) }),
      },
      body: JSON.stringify(events),
    })
    const said = (await answer.json().catch(() => null)) as { ids?: string[]; error?: string } | null
    if (!answer.ok || said?.ids === undefined) {
      throw new FanfareError(
        answer.status === 400 ? "invalid_event" : "not_connected",
        said?.error ?? `the server answered ${answer.status}`,
      )
    }
    const result: SendResult = { ids: said.ids, fanoutId: answer.headers.get(names.fanoutId) }
    this.ops.push({ ...nameOf(key), op: "StepRun", opts: { type: "step.sendEvent" }, data: result })
    return result
  }

  get pulling(): boolean {
    return this.#call.source !== undefined
  }

  /** The server asks for the items in calls of their own, and tells when the join is over. */
  async fanOut({ key, ...opts }: FanOutWish, pull: Pull): Promise<StepRecord> {
    const { source } = this.#call
    if (source === undefined) this.ops.push({ ...nameOf(key), op: "FanOut", opts })
    else if (this.#served.stepId === sha1(key)) this.part = { ...nameOf(key), op: "SourcePart", opts: await partOf(pull, source) }
    return notNow(key, this.now())
  }

  async sendSource(): Promise<string> {
    throw notOverHttp("a fan-out from a source")
  }

  async sendSignal(signal: string, data: unknown): Promise<SignalResult> {
    const { url, bearer } = this.#served
    const answer = await fetch(below(url, "/v1/signals"), {
      method: "POST",
      headers: { "content-type": "application/json", ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }) },
      body: JSON.stringify({ signal, data }),
    })
    if (answer.status === 404) return { delivered: false, runId: null }
    const said = (await answer.json().catch(() => null)) as { data?: { run_id?: string } } | null
    if (!answer.ok) throw new FanfareError("not_connected", `the server answered ${answer.status}`)
    return { delivered: true, runId: said?.data?.run_id ?? null }
  }

  /** What is sent here names its run. */
  sent(): void {}

  log(level: "debug" | "info" | "warn" | "error", message: string, fields?: Readonly<Record<string, unknown>>): void {
    // oxlint-disable-next-line no-console -- where functions are served, the platform gathers what is written there
    console[level](message, ...(fields === undefined ? [] : [fields]))
  }

  #seed(key: string): string {
    const bytes = (sha1(`${this.#call.runId} ${key}`).match(/../g) ?? []).slice(0, 10).map((pair) => Number.parseInt(pair, 16))
    return `${this.#seedMs},${btoa(String.fromCharCode(...bytes))}`
  }

  #opOf(report: StepReport): Op {
    const named = nameOf(report.key)
    const until = (moment: number): string => new Date(moment).toISOString()
    switch (report.kind) {
      case "run":
        if ("output" in report) return { ...named, op: "StepRun", data: JSON.parse(report.output) as unknown }
        if (typeof report.retry === "object") this.retry = report.retry
        return { ...named, op: report.retry === "never" ? "StepFailed" : "StepError", error: serialized(report.failure) }
      case "sleep":
        return { ...named, op: "Sleep", name: until(report.until) }
      case "event": {
        const { event, match, if: given } = report.demand
        const condition = match === null ? given : conditionOf(match)
        const opts = { timeout: until(report.timeoutAt), ...(condition === null ? {} : { if: condition }), since: report.since }
        return { ...named, op: "WaitForEvent", name: eventNameToWire(event), opts }
      }
      case "signal": {
        const opts = { signal: report.signal, timeout: until(report.timeoutAt), conflict: report.replace ? "replace" : "fail" }
        return { ...named, op: "WaitForSignal", opts }
      }
      case "invoke": {
        const payload = { data: JSON.parse(report.data) as unknown }
        return { ...named, op: "InvokeFunction", opts: { function_id: report.functionId, payload, timeout: until(report.timeoutAt) } }
      }
      case "join":
        throw notOverHttp("a join of its own")
      default:
        return report satisfies never
    }
  }
}

/** As many items as one call gives: so many, or so much text. */
async function partOf(pull: Pull, from: SourceAsked): Promise<Record<string, unknown>> {
  const source = pull(from)
  const events: EventInput[] = []
  let { cursor } = from
  let chars = 0
  for (;;) {
    const piece = await source.next()
    if (piece.done === true) return { events, cursor, last: true }
    for (const event of piece.value.events) {
      events.push(event)
      chars += JSON.stringify(event).length
    }
    cursor = piece.value.cursor
    if (piece.value.last === true) return { events, cursor, last: true }
    if (events.length >= limits.eventsPerPart || chars >= limits.callBytes / 4) {
      await source.return?.()
      return { events, cursor, last: false }
    }
  }
}

function notOverHttp(what: string): FanfareError {
  return new FanfareError("invalid_step", `${what} needs an engine in the same process; over HTTP it is not there yet`, {
    field: "step",
    hint: "Send the events with step.sendEvent, or run this function where the engine is.",
  })
}

function nameOf(key: string): { id: string; name: string; displayName: string } {
  return { id: sha1(key), name: key, displayName: key }
}

/** The steps that the server told of, by their keys here. */
class Memos extends Map<string, StepRecord> {
  constructor(memos: Call["memos"]) {
    super()
    for (const [id, text] of memos) this.set(id, recordOf(id, JSON.parse(text)))
  }

  override get(key: string): StepRecord | undefined {
    return super.get(sha1(key))
  }
}

function recordOf(key: string, memo: unknown): StepRecord {
  const base = { key, attempts: 1, failure: null, dueAt: null, startedAt: 0, endedAt: 0 }
  if (isWrapped(memo, "data")) return { ...base, kind: "run", state: "completed", output: JSON.stringify(memo["data"]) }
  if (isWrapped(memo, "error") && isObject(memo["error"])) {
    return { ...base, kind: "run", state: "failed", output: null, failure: memo["error"] as unknown as Failure }
  }
  return { ...base, kind: "sleep", state: "completed", output: JSON.stringify(memo) }
}

/** What waits bring is bare, whatever fields it has. */
function isWrapped(memo: unknown, field: "data" | "error"): memo is Record<string, unknown> {
  return isObject(memo) && field in memo && Object.keys(memo).every((name) => name === field || name === "type")
}

const noEvent: CalledEvent = { id: "", name: "", data: "{}", ts: 0 }

/** What was too much for one call. */
async function fetched({ runId, events }: Call, { url, bearer }: Served): Promise<Pick<Call, "events" | "memos">> {
  const ask = async (path: string): Promise<unknown> => {
    const answer = await fetch(below(url, `/v0/runs/${encodeURIComponent(runId)}/${path}`), {
      headers: bearer === null ? {} : { authorization: `Bearer ${bearer}` },
    })
    if (!answer.ok) throw new FanfareError("not_connected", `the server answered ${answer.status} when it was asked for the steps`)
    return answer.json()
  }
  const actions = await ask("actions")
  const memos = isObject(actions) ? Object.entries(actions).map(([id, memo]) => [id, JSON.stringify(memo)] as const) : []
  return { events, memos }
}

import type { StepRecord } from "../core/step.ts"
import { canonicalJson } from "./canonical.ts"
import { eventNameFromWire, eventNameToWire } from "./names.ts"
import { opIdOf } from "./op-id.ts"
import { isObject } from "./ops.ts"
import { dataFromWire, dataToWire } from "./system-events.ts"

/** An event as it is kept; `data` is JSON text. */
export interface CalledEvent {
  readonly id: string
  readonly name: string
  readonly data: string
  readonly ts: number
}

/** What one call tells the app. */
export interface Call {
  readonly runId: string
  /** From 0. */
  readonly attempt: number
  readonly maxAttempts: number
  /** The only step to do; null: whatever comes next. */
  readonly stepId: string | null
  /** Report a step instead of doing it at once: others are under way. */
  readonly planOnly: boolean
  /** -1 while it is not known. */
  readonly version: number
  readonly events: readonly CalledEvent[]
  /** By their names on the wire, in the order in which they ended; values are JSON text. */
  readonly memos: readonly (readonly [opId: string, memo: string])[]
  /** The app is to fetch events and steps itself. */
  readonly byApi: boolean
  /** Where the app tells of steps that it ends during the call; null: it answers after each. */
  readonly ticket: CallTicket | null
  /** The app is to say in what it sends which run it sends from. */
  readonly linked: boolean
  /** Functions that the run defers, which the app has told of, and whether it may give each up. */
  readonly defers: readonly (readonly [id: string, abortable: boolean])[]
  /** The step is only asked for the next items of its fan-out: those after `taken`. Ours: other SDKs never ask for it. */
  readonly source?: SourceAsked
}

export interface SourceAsked {
  readonly taken: number
  readonly cursor: string | null
}

/** Begins keys under which it is kept what a run defers: no steps, and nothing that an app is told of as one. */
export const deferKey = "$defer/"

export interface CallTicket {
  /** The function's, in the form of a UUID. */
  readonly functionUuid: string
  /** Names the attempt. */
  readonly item: string
}

/** The session in which an app sends what it sends from a run. */
export const runSession = "fanfare_run"

/** The body of a call, as text. */
export function callBody(call: Call): string {
  const { memos, byApi, ticket } = call
  const events = call.events.map((event) => eventText(event, call.linked ? call.runId : null))
  const stack = byApi ? [] : memos.map(([id]) => id)
  const ctx = {
    run_id: call.runId,
    env: "",
    step_id: call.stepId ?? "step",
    attempt: call.attempt,
    max_attempts: call.maxAttempts,
    stack: { stack, current: stack.length },
    disable_immediate_execution: call.planOnly,
    use_api: byApi,
    ...(ticket === null ? {} : { fn_id: ticket.functionUuid, qi_id: ticket.item, request_id: ticket.item, generation_id: 1 }),
  }
  const defers = JSON.stringify(Object.fromEntries(call.defers.map(([id, abortable]) => [id, { abortable }])))
  const steps = byApi ? "" : memos.map(([id, memo]) => `${JSON.stringify(id)}:${memo}`).join(",")
  return `{"ctx":${JSON.stringify(ctx)},"defers":${defers},"event":${events[0] ?? "{}"},"events":[${byApi ? "" : events.join(",")}]${call.source === undefined ? "" : `,"source":${JSON.stringify(call.source)}`},"steps":{${steps}},"use_api":${byApi},"version":${call.version}}`
}

/** The same, as it has to be to be signed. */
export function canonicalBody(body: string): string {
  return canonicalJson(JSON.parse(body))
}

/** @param runId the run that the SDK is to name in what it sends: it hands on the sessions of the events of a run */
export function eventText({ id, name, data, ts }: CalledEvent, runId: string | null = null): string {
  const meta = runId === null ? "" : `"meta":{"sessions":{"${runSession}":${JSON.stringify(runId)}}},`
  return `{"data":${dataToWire(name, data)},"id":${JSON.stringify(id)},${meta}"name":${JSON.stringify(eventNameToWire(name))},"ts":${ts}}`
}

/** The steps that an app may be told of by `moment`, in the order in which they ended. */
export function memosOf(
  steps: Iterable<StepRecord>,
  moment: number,
  idOf: (key: string) => string = opIdOf,
): (readonly [opId: string, memo: string])[] {
  return [...steps]
    .flatMap((step) => {
      const memo = step.key.startsWith(deferKey) ? null : memoOf(step, moment)
      return memo === null ? [] : [{ step, memo, at: step.state === "waiting" ? (step.dueAt ?? 0) : step.endedAt }]
    })
    .toSorted((a, b) => a.at - b.at || (a.step.key < b.step.key ? -1 : 1))
    .map(({ step, memo }) => [idOf(step.key), memo] as const)
}

/** What the app is told of a step; null when it is not over. Results of steps are wrapped, what waits bring is bare. */
function memoOf({ kind, state, output, failure, dueAt }: StepRecord, moment: number): string | null {
  switch (state) {
    case "completed":
      if (kind === "sleep") return "null"
      if (kind === "event") return eventMemo(output ?? "null")
      if (kind === "signal" && (output ?? "null") === "null") return "null"
      return `{"data":${output ?? "null"}}`
    case "failed":
      return JSON.stringify({ error: failure ?? { name: "Error", message: "unknown" } })
    case "waiting":
      return kind === "sleep" && (dueAt ?? 0) <= moment ? "null" : null
    case "retrying":
      return null
    default:
      return state satisfies never
  }
}

function eventMemo(output: string): string {
  const event = JSON.parse(output) as { id: string; name: string; data: unknown; ts: number } | null
  return event === null ? "null" : eventText({ ...event, data: JSON.stringify(event.data) })
}

/** The URL of one call: the function's, with the step that is meant. Other parameters stay as the app gave them. */
export function callUrl(url: string, stepId: string | null): string {
  const target = new URL(url)
  target.searchParams.set("stepId", stepId ?? "step")
  return target.href
}

/** A call as an app reads it. `error`: it is not one. */
export function parseCall(
  body: unknown,
): { readonly call: Omit<Call, "stepId" | "maxAttempts" | "ticket" | "linked" | "defers"> } | { readonly error: string } {
  if (!isObject(body)) return { error: "the body is no object" }
  const { ctx, event, events, steps } = body
  if (!isObject(ctx) || typeof ctx["run_id"] !== "string") return { error: "ctx.run_id is missing" }
  if (!isObject(event) || typeof event["name"] !== "string") return { error: "event is missing" }
  const stack = isObject(ctx["stack"]) && Array.isArray(ctx["stack"]["stack"]) ? ctx["stack"]["stack"] : []
  const memos = isObject(steps) ? Object.entries(steps) : []
  const place = new Map(stack.map((id, i) => [id, i]))
  const list = Array.isArray(events) && events.length > 0 ? events : [event]
  return {
    call: {
      runId: ctx["run_id"],
      attempt: typeof ctx["attempt"] === "number" ? ctx["attempt"] : 0,
      planOnly: ctx["disable_immediate_execution"] === true,
      version: -1,
      events: list.filter(isObject).map(calledEvent),
      memos: memos
        .toSorted(([a], [b]) => (place.get(a) ?? stack.length) - (place.get(b) ?? stack.length))
        .map(([id, memo]) => [id, JSON.stringify(memo)] as const),
      byApi: body["use_api"] === true || ctx["use_api"] === true,
      ...sourceAsked(body["source"]),
    },
  }
}

function sourceAsked(value: unknown): { source?: SourceAsked } {
  if (!isObject(value) || typeof value["taken"] !== "number") return {}
  const { taken, cursor } = value
  return { source: { taken, cursor: typeof cursor === "string" ? cursor : null } }
}

function calledEvent({ id, name, data, ts }: Record<string, unknown>): CalledEvent {
  const wireName = typeof name === "string" ? name : ""
  return {
    id: typeof id === "string" ? id : "",
    name: eventNameFromWire(wireName),
    data: JSON.stringify(dataFromWire(wireName, data) ?? {}),
    ts: typeof ts === "number" ? ts : 0,
  }
}

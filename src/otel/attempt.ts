import type { Attributes, Context, Span } from "@opentelemetry/api"
import type { StepReport } from "../core/attempt.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import { systemEventPrefix } from "../core/event.ts"
import type { Outcome } from "../core/outcome.ts"
import type { ClaimedRun } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import { endSpan, fail, placeOf, startSpan, toSpanContext, type Tracing, tracing } from "./api.ts"
import { contextHere } from "./spans.ts"

/** The span of one attempt, and those of the steps whose code it runs. */
export class AttemptTrace {
  /** Its place, for all that it causes; null when the SDK gave it none: then that of its cause holds. */
  readonly place: string | null
  /** Whether an SDK keeps it: not when it was left out of the sample. */
  readonly isKept: boolean
  /** What its code runs in. */
  readonly context: Context
  readonly #tools: Tracing
  readonly #run: ClaimedRun
  readonly #span: Span
  /** Spans of steps whose code is running. */
  readonly #steps = new Map<string, Span>()

  private constructor(tools: Tracing, run: ClaimedRun, definition: FunctionDefinition | undefined) {
    const { api } = tools
    this.#tools = tools
    this.#run = run
    // Not the active context: that is of whoever happened to have this run claimed.
    const cause = run.trace == null ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, toSpanContext(api, run.trace))
    const kind = run.event.name.startsWith(systemEventPrefix) ? api.SpanKind.INTERNAL : api.SpanKind.CONSUMER
    const links = (run.events ?? []).slice(1).flatMap(({ trace }) => (trace == null ? [] : [{ context: toSpanContext(api, trace) }]))
    this.#span = startSpan(tools, `run ${run.functionId}`, { kind, links, attributes: attributesOf(run, definition) }, cause)
    this.context = api.trace.setSpan(cause, this.#span)
    this.place = placeOf(this.#span.spanContext())
    this.isKept = this.#span.isRecording()
  }

  /** Null when nobody traces. */
  static begin(run: ClaimedRun, definition: FunctionDefinition | undefined): AttemptTrace | null {
    const tools = tracing()
    return tools === null ? null : new AttemptTrace(tools, run, definition)
  }

  /** Runs what carries the attempt to its code. */
  around<T>(work: () => T): T {
    return this.#tools.api.context.with(this.context, work)
  }

  /** Runs the code of a step; its span ends when the step is kept. */
  step<T>(key: string, work: () => Promise<T>): Promise<T> {
    const { api } = this.#tools
    const here = contextHere(this.#tools, this.context)
    const span = this.#startStep(key, here)
    this.#steps.set(key, span)
    return api.context.with(api.trace.setSpan(here, span), work)
  }

  /** What became of a step whose code ran: here, or elsewhere and only its report came. */
  kept(report: StepReport, { attempts, state }: StepRecord): void {
    if (report.kind !== "run") return
    const { key, startedAt } = report
    const span = this.#steps.get(key) ?? this.#startStep(key, this.context, startedAt)
    this.#steps.delete(key)
    span.setAttributes({ "fanfare.step.attempt": attempts, "fanfare.step.state": state })
    if ("failure" in report) fail(this.#tools, span, report.failure)
    endSpan(span)
  }

  end(outcome: Outcome): void {
    // Code that is still running, of an attempt that is over.
    for (const span of this.#steps.values()) endSpan(span)
    this.#span.setAttribute("fanfare.attempt.outcome", outcome.kind)
    if (outcome.kind === "failed") fail(this.#tools, this.#span, outcome.failure)
    if (outcome.kind === "lost") fail(this.#tools, this.#span, { name: "AttemptLost", message: outcome.reason })
    endSpan(this.#span)
  }

  #startStep(key: string, parent: Context, startedAt?: number): Span {
    const attributes = { "fanfare.step.id": key, "fanfare.run.id": this.#run.id, "fanfare.function.id": this.#run.functionId }
    return startSpan(
      this.#tools,
      `step ${key}`,
      startedAt === undefined ? { attributes } : { attributes, startTime: new Date(startedAt) },
      parent,
    )
  }
}

function attributesOf(run: ClaimedRun, definition: FunctionDefinition | undefined): Attributes {
  const { event, events = [] } = run
  return {
    "messaging.system": "fanfare",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": event.name,
    "messaging.message.id": event.id,
    "messaging.consumer.group.name": run.functionId,
    ...(events.length > 1 ? { "messaging.batch.message_count": events.length } : {}),
    "fanfare.run.id": run.id,
    "fanfare.run.attempt": run.attempt,
    "fanfare.run.claim": run.fence,
    "fanfare.function.id": run.functionId,
    ...(definition === undefined ? {} : { "fanfare.app.id": definition.appId }),
    ...(run.fanoutId === null ? {} : { "fanfare.fanout.id": run.fanoutId }),
  }
}

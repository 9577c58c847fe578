import type { App, HostedFunction, ReceivedEvent } from "../core/app.ts"
import type { Intake, SendResult, SignalResult } from "../core/attempt.ts"
import { checkId, defineFunction, type FunctionDefinition, type FunctionOptions, type Trigger, withSchemas } from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import { type Failure, toError } from "../core/failure.ts"
import type { Fanouts } from "../core/fanouts.ts"
import { type EventInput, functionCancelledEvent, functionFailedEvent } from "../core/event.ts"
import { limits } from "../core/limits.ts"
import { type Added, type Chain, chain, encodeEvents, type Middleware } from "../core/middleware.ts"
import type { Functions, Limits } from "../core/flow-control.ts"
import type { Runs } from "../core/runs.ts"
import { producing } from "../otel/spans.ts"
import { currentScope } from "./context.ts"
import type { FanOutRules } from "../core/gate.ts"
import type { SourceResult } from "../core/source.ts"
import type { DataOf, FailureContext, Handler } from "./function.ts"
import { type FanfareFunction, toItem } from "./target.ts"
import { remoteIntake } from "./remote.ts"
import type { SqlFanout, SqlFanoutResult, Transaction } from "../core/transaction.ts"
import { type AppSchedules, appSchedules } from "./schedules.ts"
import { checkSchema, type EventSchemas, jsonSchemaOf } from "./schema.ts"
import type { SendableEvent } from "./sendable.ts"
import { pullOf, type Source } from "./source.ts"
import type { ItemOptions, Jsonify } from "./step.ts"

export interface FanfareOptions<S extends EventSchemas, M extends readonly Middleware<object>[]> {
  /** Names the app: at most 128 of letters, digits, `-`, `_`, `.`. */
  readonly id: string
  /** Event names → Standard Schemas. Events are checked when they are sent and when they reach a function. */
  readonly schemas?: S
  /** What stands around runs, steps and sends, the outermost first; see `Middleware` and `encryption`. */
  readonly middleware?: M
  /**
   * Where `send` goes when no engine runs in this process: the URL of a Fanfare server. Default: the environment's
   * `FANFARE_URL`.
   */
  readonly url?: string
}

/** Rules are for several events: a fan-out. */
export interface SendOptions extends FanOutRules {
  /**
   * Your own open transaction, in the database that the store is in: made by an adapter of `fanfare/postgres` or `fanfare/sqlite`. Roll
   * back and nothing was sent; commit and all of it was.
   */
  readonly tx?: Transaction
}

/** A fan-out of the events of a source. */
export interface EventSource<S extends EventSchemas> extends FanOutRules {
  /** Names it: the same name goes on where it stopped. 1 to 256 characters. */
  readonly id: string
  /** Where the events come from. */
  readonly source: Source<SendableEvent<S>>
}

/** A fan-out of one run of a function for each item of a source. */
export interface ItemSource<Data> extends FanOutRules, ItemOptions<Data> {
  readonly id: string
  readonly function: FanfareFunction<Data>
  readonly source: Source<Data>
}

export type SourceOptions<S extends EventSchemas, Data> = EventSource<S> | ItemSource<Data>

/** An app: functions that belong together, and the way to send events. */
export class Fanfare<const S extends EventSchemas = EventSchemas, const M extends readonly Middleware<object>[] = readonly []>
  implements App
{
  /** As it was given. */
  readonly id: string
  readonly #schemas: EventSchemas
  readonly #functions = new Map<string, HostedFunction>()
  readonly #remote: Intake
  readonly #chain: Chain | null
  #local: Intake | null = null

  /** @throws FanfareError `invalid_option` when the id is not one */
  constructor(options: FanfareOptions<S, M>) {
    checkId(options?.id, "new Fanfare({ id })", "invalid_option")
    this.id = options.id
    this.#schemas = options.schemas ?? {}
    this.#chain = chain(options.middleware ?? [])
    this.#remote = remoteIntake(options.url)
  }

  /**
   * Registers a function of this app. Its runs start by its triggers, each with its own retries, logs and record. `onFailure` is run,
   * as a function of its own with the id `<id>-failure`, for each run that has failed for good.
   * @throws FanfareError `invalid_function` or `invalid_trigger`, naming field and bound; also when the id is taken
   */
  createFunction<const T extends readonly Trigger[], R>(
    options: FunctionOptions<T> & { readonly onFailure?: (context: FailureContext<S, T> & Added<M>) => unknown },
    handler: Handler<S, T, Added<M>, R>,
  ): FanfareFunction<DataOf<S, T[number]>, Jsonify<Awaited<R>>> {
    const definition = withSchemas(defineFunction(this.id, options), (event) => this.#jsonSchema(event))
    if (typeof handler !== "function") {
      throw new FanfareError("invalid_function", `function "${options.id}": the second argument must be its handler`, { field: "handler" })
    }
    const { onFailure } = options
    if (onFailure !== undefined && typeof onFailure !== "function") {
      throw new FanfareError("invalid_function", `function "${options.id}": onFailure must be a function`, { field: "onFailure" })
    }
    const hosted = this.#host(options.id, definition, handler)
    if (onFailure !== undefined) this.#hostFailure(definition, onFailure)
    if (options.onCancel !== undefined) this.#hostCompensation(definition, options.onCancel, handler)
    return hosted
  }

  #host(
    id: string,
    definition: FunctionDefinition,
    handler: HostedFunction["handler"],
    compensates = false,
  ): FanfareFunction<unknown, never> {
    if (this.#functions.has(definition.id)) {
      throw new FanfareError("invalid_function", `two functions share the id "${id}"`, {
        field: "id",
        hint: "Ids name stored runs, so they must be unique in an app: rename one of the two.",
      })
    }
    if (this.#functions.size >= limits.functionsPerApp) {
      throw new FanfareError("too_many", `app "${this.id}" has ${limits.functionsPerApp} functions already`, {
        bound: limits.functionsPerApp,
      })
    }
    const receive = (event: ReceivedEvent): ReceivedEvent | Promise<ReceivedEvent> => this.#receive(event)
    const hosted: FanfareFunction<unknown, never> = { id, definition, handler, chain: this.#chain, compensates, receive }
    this.#functions.set(definition.id, hosted)
    return hosted
  }

  #hostCompensation({ id, localId, name, retries }: FunctionDefinition, onCancel: unknown, handler: HostedFunction["handler"]): void {
    if (onCancel !== "compensate") {
      throw new FanfareError("invalid_function", `function "${localId}": onCancel must be "compensate"`, { field: "onCancel" })
    }
    const compensationId = `${localId}-compensation`
    const triggers = [{ event: functionCancelledEvent, if: `event.data.functionId == ${JSON.stringify(id)}` }]
    const definition = defineFunction(this.id, { id: compensationId, name: `${name} (compensation)`, triggers, retries })
    this.#host(compensationId, { ...definition, compensates: id }, handler, true)
  }

  #hostFailure({ id, localId, name }: FunctionDefinition, onFailure: (context: never) => unknown): void {
    const failureId = `${localId}-failure`
    const definition = defineFunction(this.id, {
      id: failureId,
      name: `${name} (failure)`,
      triggers: [{ event: functionFailedEvent, if: `event.data.functionId == ${JSON.stringify(id)}` }],
    })
    this.#host(failureId, definition, (context: { readonly event: { readonly data: { readonly error: Failure } } }) =>
      onFailure({ ...context, error: toError(context.event.data.error) } as never),
    )
  }

  /**
   * Sends one event or many; resolves when they, and the runs they start, are durable. Several events are a fan-out. Inside a run
   * this is a durable step: a retried run does not send twice. With `tx` it is part of your own transaction instead. `canary`, `breaker`,
   * `spread` and `rate` say how the runs of several events are let loose.
   * @throws FanfareError `invalid_event`, `invalid_option`, `not_json`, `too_large`, `too_many` (over 100,000), `schema_mismatch`: nothing was written;
   * `event_conflict`: an id is in use with another body; `not_connected`: there is no engine to send to
   */
  async send(events: SendableEvent<S> | readonly SendableEvent<S>[], options: SendOptions = {}): Promise<SendResult> {
    const inputs = (Array.isArray(events) ? events : [events]) as readonly EventInput[]
    await this.#checkSchemas(inputs)
    const scope = currentScope()
    const { tx, ...rules } = options
    // Inside a run, the step around the send does what middleware wants of it.
    if (scope !== null && tx === undefined) return scope.send(inputs, rules)
    const intake = this.#local ?? this.#remote
    const joined = tx === undefined ? {} : { joined: { transaction: tx, runId: scope?.runId ?? null } }
    const send = (changed: readonly EventInput[]): Promise<SendResult> =>
      producing(changed, async (trace) => intake.send(await encodeEvents(this.#chain, changed), { rules, trace, ...joined }))
    return this.#chain?.send == null ? send(inputs) : this.#chain.send(inputs, send)
  }

  /**
   * Sends what a source gives, as one fan-out that may be larger than memory: a part at a time, its runs start before the source ends.
   * `id` names it: after a crash, or an error of the source, the same call goes on where it stopped, and once it is whole it does nothing.
   * A fan-out that nobody goes on with is sealed after 24 h.
   * @example await fanfare.fanOut({ id: `digest ${day}`, function: digest, source: (cursor) => usersAfter(cursor), canary: 50 })
   * @throws FanfareError `invalid_option`, `invalid_event` …; `fanout_closed`: another process sends it at the same time; and whatever the
   * source throws. What was sent before that is durable
   */
  async fanOut<Data>(options: SourceOptions<S, Data>): Promise<SourceResult> {
    const { id, source, function: target, key, ...rules } = options as SourceOptions<S, Data> & Partial<ItemSource<Data>>
    if (typeof id !== "string" || id === "" || id.length > limits.eventIdChars) {
      throw new FanfareError("invalid_option", `fanOut: id is ${JSON.stringify(id)}`, {
        field: "id",
        bound: limits.eventIdChars,
        hint: `Name the fan-out with 1 to ${limits.eventIdChars} characters: the same name goes on with it.`,
      })
    }
    const item = toItem(key)
    const toEvent = target === undefined ? (event: unknown, place: number) => this.#checked(event as EventInput, `events[${place}]`) : item
    const send = {
      key: `${this.id}/${id}`,
      runId: currentScope()?.runId ?? null,
      rules,
      ...(target === undefined ? {} : { functionId: target.definition.id }),
    }
    const pull = pullOf(source as Source<unknown>, toEvent)
    return producing(null, (trace) => (this.#local ?? this.#remote).sendSource({ ...send, trace }, pull))
  }

  /**
   * Sends a signal to the run that waits for it with `step.waitForSignal`; says whether one did. A signal is not kept: nobody gets one
   * that was sent before they waited.
   * @throws FanfareError `invalid_step`: not a name; `not_json`, `too_large`
   */
  async sendSignal(signal: string, data?: unknown): Promise<SignalResult> {
    const encode = this.#chain?.encode ?? null
    return (this.#local ?? this.#remote).sendSignal(signal, encode === null ? data : await encode(data, "step"))
  }

  /**
   * Runs, looked at and put right: `get`, `list`, `cancel`, `replay`, `retry`, and `bulk` for many at once.
   * @example const { items } = await fanfare.runs.list({ state: "failed" }); await fanfare.runs.replay(items[0].id)
   */
  get runs(): Runs {
    return (this.#local ?? this.#remote).runs
  }

  /**
   * Functions: `list`, and `pause` and `resume` on all nodes.
   * @example await fanfare.functions.pause("send-digest", { newRuns: "skip" })
   */
  get functions(): Functions {
    return (this.#local ?? this.#remote).functions
  }

  /**
   * Limits while everything runs: `list` who counts against what and who waits, `set` and `reset` the most of one.
   * @example await fanfare.limits.set("env:openai", 5)
   */
  get limits(): Limits {
    return (this.#local ?? this.#remote).limits
  }

  /**
   * Starts a fan-out inside your own transaction with one event per row of a query, made by the database itself: a million rows never
   * pass through this process. Functions whose trigger has an `if` cannot be started this way.
   * @example fanfare.fanOutFromSql({ tx, name: "app/digest.due", query: "select json_build_object('userId', id) as data from users" })
   * @throws FanfareError `invalid_event`: the name, or rows that are no JSON objects of at most 512 KiB, or a trigger with `if`: nothing
   * was sent; `invalid_option`: the transaction is not open, or is not in the store's database
   */
  async fanOutFromSql({ tx, ...fanout }: SqlFanout & Required<Pick<SendOptions, "tx">>): Promise<SqlFanoutResult> {
    const joined = { transaction: tx, runId: currentScope()?.runId ?? null }
    return producing([fanout], (trace) => (this.#local ?? this.#remote).sendFromSql(fanout, { ...joined, trace }))
  }

  /**
   * Fan-outs as one thing: `get`, `list`, `wait` for the end, `failures` by their cause, `retry` what failed, `cancel` the rest.
   * @example const { fanoutId } = await fanfare.send(events); const end = await fanfare.fanouts.wait(fanoutId)
   */
  get fanouts(): Fanouts {
    return (this.#local ?? this.#remote).fanouts
  }

  /**
   * Schedules made at run time, one per end user if need be: `upsert`, `update`, `pause`, `resume`, `delete`, `list`, and a look at their
   * `ticks` and `next` moments. Those of cron triggers are there too, by the id of their function.
   * @example await fanfare.schedules.upsert({ id: "digest-42", cron: "0 9 * * MON", timezone: "Europe/Paris", event: "app/digest.due", data: { user: 42 } })
   */
  get schedules(): AppSchedules<S> {
    return appSchedules(this.id, this.#schemas, () => (this.#local ?? this.#remote).schedules)
  }

  /** For the engine: the functions of this app by their full id. */
  hosted(): ReadonlyMap<string, HostedFunction> {
    return this.#functions
  }

  /** For the engine: from now on `send` goes to `intake`. */
  connect(intake: Intake): () => void {
    this.#local = intake
    return () => {
      if (this.#local === intake) this.#local = null
    }
  }

  #jsonSchema(event: string): string | undefined {
    const schema = Object.hasOwn(this.#schemas, event) ? this.#schemas[event] : undefined
    return schema === undefined ? undefined : jsonSchemaOf(schema)
  }

  async #checkSchemas(events: readonly EventInput[]): Promise<void> {
    for (const [i, event] of events.entries()) {
      const schema = this.#schemas[event?.name]
      if (schema !== undefined) await checkSchema(schema, event.data, `events[${i}].data`)
    }
  }

  #checked(event: EventInput, field: string): EventInput | Promise<EventInput> {
    const schema = this.#schemas[event?.name]
    return schema === undefined ? event : checkSchema(schema, event.data, `${field}.data`).then(() => event)
  }

  #receive(event: ReceivedEvent): ReceivedEvent | Promise<ReceivedEvent> {
    const schema = this.#schemas[event.name]
    if (schema === undefined) return event
    return checkSchema(schema, event.data, "event.data").then((data) => ({ ...event, data }))
  }
}

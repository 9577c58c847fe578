import { activityRanges } from "../../core/activity.ts"
import { limits } from "../../core/limits.ts"
import { type EventsWithRules, paths } from "../../protocol/api.ts"
import { type Answers, type Bodies, methodOf, type Operation, pathOf, type Queries } from "../../protocol/operations.ts"
import { flag, json, list, nullable, object, oneOf, page, ref, type Schema, said, shape, text, whole } from "./schema.ts"
import { runState, type schemas } from "./schemas.ts"

/** A route of the API, as those see it who call it. */
export interface Route {
  readonly method: "get" | "post" | "patch" | "delete"
  readonly path: string
  /** Names it for programs that are made from the document. */
  readonly id: string
  readonly says: string
  readonly query?: Readonly<Record<string, Schema>>
  readonly body?: Schema
  readonly answer: Schema
  /** Default: `application/json`. */
  readonly type?: string
}

const of = <N extends keyof typeof schemas>(name: N): (typeof schemas)[N] => ref(name) as (typeof schemas)[N]

type Query<O extends Operation> = O extends keyof Queries ? [query: { readonly [N in Queries[O]]: Schema }] : []

function get<O extends Operation>(id: O, says: string, answer: Schema<Answers[O]>, ...[query]: Query<O>): Route {
  const method = methodOf(id, false).toLowerCase() as Route["method"]
  return { method, id, path: pathOf(id), says, answer, ...(query === undefined ? {} : { query }) }
}

/** @param body null where there is nothing to say */
function post<O extends keyof Bodies>(
  id: O,
  says: string,
  body: Schema<Bodies[O]> | null,
  answer: Schema<Answers[O]>,
  ...query: Query<O>
): Route {
  const method = methodOf(id, true).toLowerCase() as Route["method"]
  return { ...get(id, says, answer, ...query), method, ...(body === null ? {} : { body }) }
}

/** A body of these fields, none of which must be there unless it is named. */
function fields<T>(
  properties: { readonly [K in keyof NoInfer<T>]-?: Schema },
  ...required: readonly (keyof NoInfer<T> & string)[]
): Schema<T> {
  return { type: "object", properties, ...(required.length === 0 ? {} : { required }) }
}

const after = said(text, "The `next` of the page before.")
const limit: Schema = { type: "integer", minimum: 1, maximum: limits.pageRowsMax, description: `Default ${limits.pageRows}.` }
const paged = { after, limit }
const preview: Schema = {
  type: "integer",
  minimum: 0,
  maximum: limits.previewChars,
  description: `Characters of payloads that are wanted; of the steps of a run together, and of its log lines, at most ${limits.previewAllChars}.`,
}
const app = said(text, "Of whom `id` is an own id; without it `id` is a full one.")

const events: Schema<Bodies["events"]> = {
  anyOf: [
    of("Event"),
    list(of("Event")),
    fields<EventsWithRules>({ events: list(of("Event")), rules: of("FanOutRules") }, "events", "rules"),
  ],
}

const sending: readonly Route[] = [
  post("events", "Sends an event, or many as one fan-out: durable when it is answered.", events, of("Sent")),
  post("fanoutPlan", "What a send of these events would do.", { anyOf: [of("Event"), list(of("Event"))] }, of("FanoutPlan")),
  post("trigger", "Starts a run of a function now.", fields({ data: json }), of("Triggered")),
  post("signals", "Sends a signal to the run that waits for it.", fields({ signal: text, data: json }, "signal"), of("Delivered")),
]

const runs: readonly Route[] = [
  get("runs", "Runs, the newest first.", page(of("Run")), { state: runState, function: text, fanout: text, event: text, ...paged }),
  get("run", "A run with its attempts, steps, log and output.", of("RunDetail"), { preview }),
  get("runFamily", "What caused a run, what it caused, and its neighbours in a fan-out.", of("RunFamily")),
  get("runFanouts", "The fan-outs that a run sent.", page(text)),
  post("runCancel", "Ends a run that has not ended.", fields({ reason: text }), of("Cancelled")),
  post("runReplay", "A new run of the same function for the same event.", fields({ fromStep: text, data: object }), of("Triggered")),
  post("runRetry", "Sets a failed or cancelled run going again where it stopped.", null, of("RunDetail")),
  post(
    "runsCount",
    `How many runs a filter means, counted up to ${limits.bulkCount}.`,
    of("BulkFilter"),
    shape<Answers["runsCount"]>({ count: whole }),
  ),
  post(
    "runsBulk",
    "Cancels, replays or retries all runs that a filter means, in parts.",
    fields({ kind: oneOf("cancel", "replay", "retry"), filter: of("BulkFilter") }, "kind", "filter"),
    of("Operation"),
  ),
  get("operations", "What is or was done to many runs, the newest first.", page(of("Operation")), paged),
  get("operation", "How far an operation is.", of("Operation")),
  post("operationStop", "Stops an operation: what is done stays done.", null, of("Operation")),
  get("failures", "The newest failures of all functions, by their cause.", of("FailureCauses")),
]

const fanouts: readonly Route[] = [
  get("fanouts", "Fan-outs, the newest first.", page(of("Fanout")), paged),
  get("fanout", "A fan-out: its counts, state, rate and rest.", of("Fanout")),
  get("fanoutWait", "Answers when the fan-out has ended, or after `wait`.", of("Fanout"), {
    wait: { type: "integer", minimum: 0, maximum: 20_000, description: "Milliseconds." },
  }),
  get("fanoutFailureTimes", "When its runs failed, by the cause.", of("FailureTimes")),
  get("fanoutFailures", "Its failures by their cause.", page(of("FailureGroup"))),
  { ...get("fanoutCells", "One letter for each run, in the order of sending.", text), type: "text/plain" },
  get("fanoutCell", "The run of a letter.", of("CellRun")),
  post(
    "fanoutRetry",
    "Runs what has failed again: all, one cause or one run.",
    fields({ fingerprint: text, runId: text, data: object }),
    of("Operation"),
  ),
  post("fanoutPause", "Starts no more runs of a fan-out.", null, of("Fanout")),
  post("fanoutResume", "Lets a fan-out go on that a canary, its breaker or somebody stopped.", null, of("Fanout")),
  post("fanoutCancel", "Cancels what has not begun.", null, of("Operation")),
  get("source", "How far a source has come; `id` is `<app>/<its name>`.", of("SourceCourse")),
  post(
    "sourceAdd",
    "The next part of a source: added only where the one before it ended.",
    fields(
      { from: whole, events: list(of("Event")), cursor: nullable(text), last: flag, rules: object, functionId: text },
      "from",
      "events",
      "last",
    ),
    shape<Answers["sourceAdd"]>({ closed: flag, runs: whole }),
  ),
]

const schedules: readonly Route[] = [
  get("schedules", "Schedules, by their ids.", page(of("Schedule")), { tag: text, app: text, ...paged }),
  post(
    "scheduleUpsert",
    "Makes schedules, or changes those that are there.",
    fields({ app: text, schedules: list(object) }, "app", "schedules"),
    of("Upserted"),
  ),
  get("schedule", "A schedule.", of("Schedule"), { app }),
  post("scheduleChange", "Changes a schedule.", object, of("Schedule"), { app }),
  get("scheduleDelete", "Removes a schedule.", object, { app }),
  get("scheduleTicks", "Its decided moments, the newest first.", page(of("Tick")), { app, ...paged }),
  get("scheduleNext", "Its moments to come.", page(of("Moment")), {
    app,
    n: { type: "integer", minimum: 1, maximum: limits.previewMoments },
  }),
  get("scheduleLoad", "How many moments of all schedules come in each quarter of an hour of the next 24 h.", of("ScheduleLoad")),
  post("schedulePause", "Lets its moments pass.", fields({ note: text }), of("Schedule"), { app }),
  post("scheduleResume", "Goes on with the next moment.", null, of("Schedule"), { app }),
  post("scheduleRun", "Starts now what a moment would start.", null, shape<Answers["scheduleRun"]>({ runIds: list(text) }), { app }),
  post(
    "scheduleBackfill",
    "Starts past moments that are not in the ledger.",
    fields(
      { from: { type: ["integer", "string"] }, to: { type: ["integer", "string"] }, overlap: oneOf("allow", "queue"), dryRun: flag },
      "from",
      "to",
    ),
    of("Backfilled"),
    { app },
  ),
]

const paused = shape<Answers["functionPause"]>({ id: text, paused: nullable(oneOf("keep", "skip")) })

const others: readonly Route[] = [
  get("functions", "All functions, with their triggers and rules.", page(of("Function"))),
  get("functionActivity", "What each function did in the last hour.", page(of("FunctionActivity"))),
  post("functionPause", "Starts no more runs of a function.", fields({ newRuns: oneOf("keep", "skip") }), paused),
  post("functionResume", "Lets a paused function go on.", null, paused),
  get("limits", "Limits that runs count against or wait for.", page(of("Limit")), { function: text, ...paged }),
  post(
    "limit",
    "The most of a limit from now on; null: what its functions say.",
    fields({ max: nullable(whole) }, "max"),
    shape<Answers["limit"]>({ id: text, max: nullable(whole) }),
  ),
  get("eventList", "Events, the newest first, without their data.", page(of("StoredEvent")), paged),
  get("eventSchema", "JSON Schema of the data of events of this name; null when no app tells one.", of("EventSchema"), { name: text }),
  get("event", "An event with its data.", of("StoredEventDetail"), { preview }),
  get("activity", "What ended, over time.", of("Activity"), { range: oneOf(...Object.keys(activityRanges)), function: text }),
  get("nodes", "The engines on this store.", page(of("Node"))),
  get("apps", "Apps that are called over HTTP.", page(of("App"))),
  post("appSync", "Asks an app to register.", fields({ url: text }, "url"), shape<Answers["appSync"]>({ url: text })),
  get("status", "This server, and what waits. Counts are capped at 10000.", of("Status")),
  {
    ...get("stream", "What has changed, as server-sent events `change` with a StreamChange as data.", of("StreamChange")),
    type: "text/event-stream",
  },
  get("keys", "The keys of this server, by their fingerprints.", page(of("Key"))),
  get("session", "Who asks.", of("Session")),
  post("login", "Logs in, by a cookie.", fields({ key: text }, "key"), of("Session")),
  get("logout", "Logs out.", of("Session")),
  get("health", "That the server lives.", shape<Answers["health"]>({ status: text, version: text })),
  get("openapi", "This document.", object),
]

interface Said {
  readonly status: number
  readonly message: string
}

interface Taken {
  readonly ids: readonly string[]
  readonly status: number
}

const outside: readonly Route[] = [
  { method: "get", path: "/metrics", id: "metrics", says: "Metrics in the text format of Prometheus.", answer: text, type: "text/plain" },
  {
    method: "get",
    path: "/health",
    id: "lives",
    says: "That the server lives.",
    answer: shape<Said>({ status: whole, message: text }),
  },
  {
    method: "get",
    path: "/ready",
    id: "ready",
    says: "That it takes events; 503 when not.",
    answer: shape<Said>({ status: whole, message: text }),
  },
  {
    method: "post",
    path: "/e/:key",
    id: "ingest",
    says: "Sends events, as the Inngest SDKs do. The event key is in the path.",
    body: { anyOf: [of("Event"), list(of("Event"))] },
    answer: shape<Taken & { error?: string }>({ ids: list(text), status: whole, error: text }, ["error"]),
  },
  {
    method: "post",
    path: "/hooks/:name",
    id: "webhook",
    says: "What a service tells of: signed with the secret of the webhook of this name, it becomes an event.",
    body: object,
    answer: shape<Taken>({ ids: list(text), status: whole }),
  },
]

/** Every route but those of pages, and those that only the Inngest SDKs use. */
export const routes: readonly Route[] = [...sending, ...runs, ...fanouts, ...schedules, ...others, ...outside]

/** Whether a request may say an `Idempotency-Key`: what changes something, but for logins. */
export function takesIdempotencyKey({ method, path }: Pick<Route, "method" | "path">): boolean {
  return method !== "get" && path.startsWith("/api/") && path !== paths.session
}

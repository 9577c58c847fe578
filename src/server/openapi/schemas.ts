import type { Activity, ActivityTotals, Quantiles } from "../../core/activity.ts"
import type { SendResult, SignalResult } from "../../core/attempt.ts"
import type { BulkFilter } from "../../core/bulk.ts"
import type { FailureCause, FailureCauses, FailureTimes } from "../../core/causes.ts"
import { codes } from "../../core/errors.ts"
import type { EventInput } from "../../core/event.ts"
import type { Failure } from "../../core/failure.ts"
import type { FailureGroup, FanoutPlan, Operation } from "../../core/fanouts.ts"
import type { FanOutRules } from "../../core/gate.ts"
import { limits } from "../../core/limits.ts"
import type { ScheduleLoad } from "../../core/load.ts"
import { moves } from "../../core/run.ts"
import type { Cancelled } from "../../core/runs.ts"
import type { Schedule, Tick } from "../../core/schedule.ts"
import type { SourceCourse } from "../../core/source.ts"
import type { BackfillResult, UpcomingMoment, UpsertResult } from "../../core/schedules.ts"
import type {
  EventDetail,
  EventSummary,
  FanoutSummary,
  FunctionActivity,
  FunctionSummary,
  LimitSummary,
  NodeSummary,
  RunDetail,
  RunFamily,
  RunSummary,
  Siblings,
} from "../../core/views.ts"
import type {
  AppSummary,
  CellRun,
  EventSchema,
  KeySummary,
  Problem,
  Refusal,
  SessionView,
  Status,
  StreamChange,
  TriggerResult,
} from "../../protocol/api.ts"
import {
  flag,
  json,
  jsonText,
  list,
  moment,
  nullable,
  number,
  object,
  oneOf,
  ref,
  type Schema,
  said,
  shape,
  text,
  whole,
} from "./schema.ts"

export const runState = oneOf(...Object.keys(moves))
const level = oneOf("debug", "info", "warn", "error")
const changed: Schema = { anyOf: [list(text), oneOf("all")] }
const depth = { ready: whole, running: whole, scheduled: whole, waiting: whole }

const failureGroup = { fingerprint: text, count: whole, firstAt: moment, lastAt: moment, runId: text }

const runSummary = {
  id: text,
  functionId: text,
  state: runState,
  attempt: whole,
  createdAt: moment,
  dueAt: nullable(moment),
  startedAt: nullable(moment),
  endedAt: nullable(moment),
  eventId: text,
  eventName: text,
  fanoutId: nullable(text),
  parentId: nullable(text),
  error: nullable(shape<{ name: string; message: string }>({ name: text, message: text })),
  reason: said(nullable(text), "Why it is not running, when it is neither running nor ended."),
}
const step = shape<RunDetail["steps"][number]>({
  key: text,
  kind: oneOf("run", "sleep", "send", "join", "event", "signal", "invoke"),
  state: oneOf("completed", "failed", "waiting", "retrying"),
  attempts: whole,
  output: nullable(jsonText),
  outputChars: nullable(whole),
  failure: nullable(ref("Failure")),
  dueAt: nullable(moment),
  startedAt: moment,
  endedAt: moment,
})
const attempt = shape<RunDetail["attempts"][number]>({
  attempt: whole,
  fence: whole,
  startedAt: moment,
  endedAt: moment,
  failure: ref("Failure"),
})
const logLine = shape<RunDetail["logs"][number]>({
  at: moment,
  level,
  message: text,
  messageChars: whole,
  fields: nullable(jsonText),
  fieldsChars: nullable(whole),
  fence: whole,
})

const eventSummary = {
  id: text,
  key: nullable(text),
  name: text,
  ts: moment,
  receivedAt: moment,
  fanoutId: nullable(text),
  sourceRunId: nullable(text),
}
const quantiles = shape<Quantiles>({ p50: nullable(number), p95: nullable(number) })
const totals: { readonly [K in keyof ActivityTotals]: Schema } = {
  completed: whole,
  failed: whole,
  retried: whole,
  duration: quantiles,
  delay: quantiles,
}

/** What the API's answers and bodies are, by name. */
export const schemas = {
  Problem: shape<Problem>(
    {
      title: text,
      status: whole,
      detail: text,
      code: oneOf(...Object.keys(codes)),
      field: text,
      bound: { type: ["string", "number"] },
      hint: text,
    },
    ["field", "bound", "hint"],
  ),
  Refusal: shape<Refusal>({ error: text, status: whole, ids: list(text) }, ["ids"]),
  Failure: shape<Failure>({ name: text, message: text, stack: text, cause: ref("Failure"), code: text }, ["stack", "cause", "code"]),
  Event: shape<EventInput>(
    {
      name: { type: "string", maxLength: limits.eventNameChars },
      data: object,
      id: said({ type: "string", maxLength: limits.eventIdChars }, "The same id within 24 h starts nothing twice."),
      ts: moment,
    },
    ["data", "id", "ts"],
  ),
  FanOutRules: shape<FanOutRules>(
    {
      canary: { type: ["integer", "string"] },
      breaker: shape<NonNullable<FanOutRules["breaker"]>>({ failures: { type: ["number", "string"] }, min: whole }, ["min"]),
      spread: { type: ["integer", "string"] },
      rate: { type: ["number", "string"] },
    },
    ["canary", "breaker", "spread", "rate"],
  ),
  Sent: shape<SendResult>({ ids: list(text), fanoutId: nullable(text) }),
  Run: shape<RunSummary>(runSummary),
  RunDetail: shape<RunDetail>({
    ...runSummary,
    eventKey: nullable(text),
    eventTs: moment,
    traceId: said(nullable(text), "Of the OpenTelemetry trace that it is part of."),
    data: jsonText,
    dataChars: whole,
    output: nullable(jsonText),
    outputChars: nullable(whole),
    failure: nullable(ref("Failure")),
    attempts: list(attempt),
    steps: list(step),
    logs: list(logLine),
  }),
  RunFamily: shape<RunFamily>({
    causes: said(list(ref("Run")), "The nearest first, at most 10."),
    children: said(list(ref("Run")), "Those it started one by one, not by a fan-out: the oldest first, at most 50."),
    more: flag,
    siblings: nullable(
      shape<Siblings>({ previous: nullable(text), next: nullable(text), previousFailed: nullable(text), nextFailed: nullable(text) }),
    ),
  }),
  Triggered: shape<TriggerResult>({ runId: text }),
  Cancelled: shape<Cancelled>({ cancelled: flag, run: ref("RunDetail") }),
  Delivered: shape<SignalResult>({ delivered: flag, runId: nullable(text) }),
  BulkFilter: shape<BulkFilter>({ functionId: text, fanoutId: text, fingerprint: text, state: runState, from: moment, to: moment }, [
    "functionId",
    "fanoutId",
    "fingerprint",
    "state",
    "from",
    "to",
  ]),
  Operation: shape<Operation>(
    {
      id: text,
      kind: oneOf("retry", "cancel", "replay", "pause"),
      fanoutId: text,
      filter: ref("BulkFilter"),
      fingerprint: nullable(text),
      runId: nullable(text),
      affected: whole,
      state: oneOf("running", "done", "stopped"),
      createdAt: moment,
      endedAt: nullable(moment),
    },
    ["filter"],
  ),
  Fanout: shape<FanoutSummary>({
    id: text,
    name: text,
    runId: nullable(text),
    events: whole,
    total: whole,
    queued: whole,
    running: whole,
    completed: whole,
    failed: whole,
    cancelled: whole,
    sealed: flag,
    reason: nullable(text),
    createdAt: moment,
    firstStartAt: nullable(moment),
    lastEndAt: nullable(moment),
    state: oneOf("running", "paused", "cancelling", "ended"),
    ratePerSecond: number,
    etaMs: nullable(whole),
  }),
  FanoutPlan: shape<FanoutPlan>({
    events: whole,
    duplicates: whole,
    runs: whole,
    functions: list(shape<FanoutPlan["functions"][number]>({ functionId: text, runs: whole })),
    sample: list(shape<FanoutPlan["sample"][number]>({ name: text, data: json, id: nullable(text) })),
  }),
  SourceCourse: shape<SourceCourse>({
    fanoutId: nullable(text),
    taken: whole,
    cursor: nullable(text),
    events: whole,
    runs: whole,
    sealed: flag,
    cancelled: flag,
  }),
  FailureGroup: shape<FailureGroup>(failureGroup),
  FailureCauses: shape<FailureCauses>({
    items: list(shape<FailureCause>({ ...failureGroup, functionId: text, hours: list(whole) })),
    looked: whole,
    more: flag,
  }),
  FailureTimes: shape<FailureTimes>({
    from: moment,
    to: moment,
    causes: list(shape<FailureTimes["causes"][number]>({ fingerprint: text, counts: said(list(whole), "In each 24th part of the time.") })),
  }),
  CellRun: shape<CellRun>({ runId: text }),
  Function: shape<FunctionSummary>(
    {
      id: text,
      appId: text,
      localId: text,
      name: text,
      triggers: list(object),
      retries: whole,
      retryDelaysMs: nullable(list(whole)),
      flow: nullable(object),
      attemptTimeoutMs: whole,
      startTimeoutMs: nullable(whole),
      finishTimeoutMs: nullable(whole),
      compensates: text,
      cancelOn: list(object),
      paused: oneOf("keep", "skip"),
      active: flag,
      schedules: list(object),
    },
    ["compensates", "paused"],
  ),
  FunctionActivity: shape<FunctionActivity>({ ...totals, functionId: text, ended: list(whole) }),
  Activity: shape<Activity>({ ...totals, from: moment, to: moment, stepMs: whole, buckets: list(object) }),
  Limit: shape<LimitSummary>({
    id: text,
    own: nullable(whole),
    max: nullable(whole),
    setByHand: flag,
    used: whole,
    held: whole,
    heldUntil: nullable(moment),
  }),
  StoredEvent: shape<EventSummary>(eventSummary),
  StoredEventDetail: shape<EventDetail>({ ...eventSummary, data: jsonText, dataChars: whole }),
  Schedule: shape<Schedule>({
    id: text,
    appId: nullable(text),
    functionId: nullable(text),
    event: nullable(text),
    rule: object,
    policies: object,
    data: nullable(jsonText),
    tag: nullable(text),
    createdAt: moment,
    updatedAt: moment,
    lastTickAt: nullable(moment),
    nextTickAt: nullable(moment),
    nextAt: nullable(moment),
    waitingAt: nullable(moment),
    lastEventId: nullable(text),
    pausedAt: nullable(moment),
    note: nullable(text),
  }),
  Upserted: shape<UpsertResult>({ created: whole, changed: whole, unchanged: whole }),
  Tick: shape<Tick>({
    scheduleId: text,
    at: moment,
    outcome: oneOf("fired", "skipped_overlap", "skipped_late", "caught_up", "backfilled", "paused"),
    reason: nullable(text),
    eventId: nullable(text),
    runId: nullable(text),
    decidedAt: moment,
  }),
  Moment: shape<UpcomingMoment>({ at: moment, firesAt: moment, local: text, note: nullable(text) }),
  ScheduleLoad: shape<ScheduleLoad>({
    from: moment,
    stepMs: whole,
    exact: said(flag, "False: there are so many schedules that the numbers are estimates."),
    buckets: list(shape<ScheduleLoad["buckets"][number]>({ at: moment, ticks: whole, schedules: list(text) })),
    next: list(shape<ScheduleLoad["next"][number]>({ scheduleId: text, at: moment, timezone: nullable(text) })),
  }),
  Backfilled: shape<BackfillResult>({ started: whole, known: whole }),
  Node: shape<NodeSummary>({
    id: text,
    host: text,
    pid: whole,
    alive: flag,
    startedAt: moment,
    seenAt: moment,
    functionIds: list(text),
    leased: whole,
  }),
  App: shape<AppSummary>({
    id: text,
    url: text,
    sdk: text,
    framework: nullable(text),
    functionIds: list(text),
    workers: nullable(whole),
    error: nullable(text),
  }),
  Status: shape<Status>({
    version: text,
    nodeId: text,
    store: text,
    startedAt: moment,
    retentionDays: { type: "number", minimum: 1 },
    ...depth,
    completed: whole,
    failed: whole,
    retried: whole,
  }),
  EventSchema: shape<EventSchema>({ schema: nullable(object) }),
  Key: shape<KeySummary>({ kind: oneOf("signing", "event", "admin", "read"), fingerprint: text, signs: flag }),
  Session: shape<SessionView>({ role: nullable(oneOf("admin", "read")), payloads: flag, login: flag }),
  StreamChange: shape<StreamChange>({
    counts: nullable(shape<NonNullable<StreamChange["counts"]>>(depth)),
    runs: flag,
    functions: changed,
    fanouts: changed,
    schedules: changed,
    registry: flag,
    nodes: flag,
  }),
} as const satisfies Readonly<Record<string, Schema>>

/**
 * Every bound of the house, with its unit. Bounds that depend on each other are checked at the end of this file.
 * The event, step and retry bounds follow what users of the Inngest SDKs already know.
 */
const KiB = 1024
const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

export const limits = {
  /** Bytes of one event as JSON (UTF-8). */
  eventBytes: 512 * KiB,
  /** Characters of an event name. */
  eventNameChars: 256,
  /** Characters of an event id given by the sender. */
  eventIdChars: 256,
  /** Characters of an event's JSON Schema; of a longer one nothing is told. */
  eventSchemaChars: 8 * KiB,
  /** Events in one `send`. */
  eventsPerSend: 100_000,
  /** Events of one send that are written in one transaction: all or nothing. */
  eventsPerTransaction: 10_000,
  /** A longer send is written in parts of this many, as one fan-out that is sealed at the end. */
  eventsPerPart: 2_500,
  /** Runs of a fan-out with a breaker between their first start and their end: what may have gone wrong before it pauses. */
  fanoutWindow: 500,
  /** Ended runs before a breaker with a share decides: default. */
  breakerMin: 100,
  /** Causes of failures that are listed of one fan-out. */
  failureGroups: 100,
  /** A fan-out that is not sealed, and did not grow for this long, is sealed: whoever sent it does not come back. */
  unsealedMs: day,
  /** Items of a source are gathered for this long before they are sent, unless a part is full first. */
  sourceGatherMs: 100,
  /** Looks of a cancellation at what is still under way: the first rest, doubled each time, and the longest. */
  lookAgainMs: 250,
  lookAgainMostMs: 30 * second,
  /** Milliseconds for which an event id starts nothing twice. */
  eventIdWindowMs: day,
  /** Earliest and latest `ts` of an event: 1980 and 2100. */
  eventTsMin: 315_532_800_000,
  eventTsMax: 4_102_444_800_000,
  /** Characters of a `tracestate` that is kept and handed on; of a longer one only the `traceparent` is. */
  traceStateChars: 512,
  /** Levels of nesting in event data, step results and outputs. */
  jsonDepth: 64,
  /** Bytes of a step's result or a run's output as JSON. */
  outputBytes: 4 * KiB * KiB,
  /** Bytes of all results of a run's steps together. */
  stateBytes: 32 * KiB * KiB,
  /** Bytes of an event about a run that has ended: it has the run's own event and its error, or output. */
  endEventBytes: 6 * KiB * KiB,

  /** Characters of an app or function id; of a function name. */
  idChars: 128,
  nameChars: 256,
  /** Triggers of one function; functions of one app. */
  triggersPerFunction: 10,
  functionsPerApp: 1_000,
  /** Characters of a cron line; of an expression. */
  cronChars: 256,
  expressionChars: 4_096,
  /** Steps of one evaluation of an expression, characters of a text that it makes, and of one that it matches a pattern on. */
  expressionSteps: 10_000,
  expressionTextChars: 64 * KiB,
  expressionMatchChars: 1_000,

  /** Retries after the first attempt: default and most. */
  retriesDefault: 4,
  retriesMax: 20,
  /** Delay before the n-th retry; the last one repeats. Jitter adds up to half of it. */
  retryDelaysMs: [1 * second, 5 * second, 30 * second, 2 * minute, 10 * minute, 30 * minute, 1 * hour, 2 * hour],
  retryJitter: 0.5,
  /** Bounds of a wish in `RetryAfterError`. */
  retryAfterMaxMs: 7 * day,

  /** Runs that a filter means are counted up to here. */
  bulkCount: 100_000,
  /** A node's clock may be wrong by so much when it makes an id: whoever looks for ids by time begins earlier. */
  clockSkewMs: hour,
  /** Longest sleep, and longest wait for an event, a signal or a run. */
  sleepMaxMs: 366 * day,
  /** Characters of a value by which a wait is found. */
  waitKeyChars: 256,
  /** Runs that may wait for one event name with a condition that has no equality: each such event is held against all of them. */
  waitsUnkeyed: 10_000,
  /** Events that a wait with a look-back looks at. */
  lookBackEvents: 10_000,
  /** Characters of the name of a signal. */
  signalChars: 256,
  /** Names and fields of events that runs wait for, which every sender must know. */
  watches: 10_000,
  /** A node says so again, once in this time, that it waits for a name; what nobody waits for is forgotten after the other. */
  watchFreshMs: day,
  watchMemoryMs: 7 * day,
  /** Rules of one function by which events cancel its runs; how long they hold unless they say otherwise. */
  cancelRules: 5,
  /** What a join gives at most: failed runs, the longest ones, outputs. */
  joinFailures: 100,
  joinSlowest: 5,
  joinOutputs: 1_000,
  /** Steps of one run; characters of the id of one. */
  stepsPerRun: 1_000,
  stepIdChars: 256,

  /** One attempt may take this long unless its function says otherwise; and at most. */
  attemptTimeoutMs: 2 * hour,
  attemptTimeoutMaxMs: 24 * hour,

  /** Log lines kept per run, and characters of one (message and fields together). */
  logLinesPerRun: 1_000,
  logLineChars: 8 * KiB,

  /** Characters kept of an error's message and stack; causes followed. */
  errorMessageChars: 8 * KiB,
  errorStackChars: 16 * KiB,
  errorCauses: 5,

  /** Most that a concurrency limit, or the attempts of one node at the same time, may be set to. */
  concurrencyMax: 100_000,
  /** Concurrency rules of one function. */
  concurrencyRules: 4,
  /** Characters of the value of a key. */
  keyChars: 256,
  /** Starts per period of a throttle or a rate limit; shortest period of any rule; longest of each. */
  flowLimitMax: 100_000,
  flowPeriodMinMs: 1 * second,
  throttlePeriodMaxMs: 7 * day,
  ratePeriodMaxMs: day,
  debounceMaxMs: 7 * day,
  throttleBurstMax: 10_000,
  /** A throttle is looked at no more often; a look that came late makes up for so much at most. */
  throttleLookMs: 10,
  /** Until a limit is looked at again of whose runs one also needs what another transaction was giving out, milliseconds. */
  busyLimitMs: 10,
  throttleLagMs: 1 * second,
  /** Events of one batch, its bytes, and the longest wait for them. */
  batchSizeMax: 1_000,
  batchBytes: 10 * KiB * KiB,
  batchTimeoutMaxMs: 10 * minute,
  /** Seconds by which a priority may move a run. */
  prioritySeconds: 600,
  /** Longest delay of an exponential back-off: default. */
  backoffMaxMs: 2 * hour,
  /** Attempts that one node runs at the same time: default. */
  nodeConcurrency: 200,
  /** Runs claimed ahead of a free place at most, and the milliseconds of work they should last. */
  claimAhead: 1_000,
  claimAheadMs: 50,
  /** Runs in one claim. */
  claimBatch: 1_000,
  /** A busy node looks again, after this many milliseconds, at parts of the line in which only other nodes may have put something. */
  lookMs: 1 * second,
  /** It looks after this time at the latest, also when the last look took long: a machine may have slept in the middle of it. */
  lookMostMs: 1 * minute,
  /** Units gathered into one transaction. */
  unitsPerTransaction: 2_000,

  /** A node says that it lives every `pulseMs`; it is dead after `leaseMs` without. */
  pulseMs: 1 * second,
  leaseMs: 5 * second,
  /** A node whose user code blocks its event loop is kept alive by its store's thread for this long: an endless loop must end. */
  silentMaxMs: 10 * minute,
  /** A dead node is remembered, for people, this long. */
  nodeMemoryMs: hour,
  /** Bells within this time are one. */
  bellMs: 5,
  /** Most rows moved by one sweep. */
  sweepBatch: 1_000,
  /** Longest rest of an agent when nothing rings: polling alone must be enough. */
  restMs: 1 * second,

  /** Ticks that one look at a schedule records: of a longer absence the newest. */
  ticksPerLook: 1_000,
  /** Schedules that one transaction decides, and the ticks from which on it leaves the others to the next one. */
  schedulesPerLook: 1_000,
  ticksPerTransaction: 5_000,
  /** A moment that comes later than this was missed. */
  tickLateMs: 10 * second,
  /** The ticker rests at most this long when something is due: a moment fires that much later at worst. */
  tickRestMs: 250,
  /** What is caught up with `missed: "all"`: default window and number, and the most. */
  missedWithinMs: 24 * hour,
  missedCap: 100,
  missedCapMax: 1_000,
  /** Longest jitter of a schedule; shortest and longest time between the moments of `every`. */
  jitterMaxMs: hour,
  everyMinMs: 1 * second,
  everyMaxMs: 366 * day,
  /** A moment that waits for the one before to end is looked at again after this time at the latest. */
  waitLookMostMs: 30 * second,
  /** Schedules in one bulk upsert, and of it in one transaction. */
  schedulesPerUpsert: 10_000,
  schedulesPerTransaction: 1_000,
  /** Moments of one backfill, and of it in one transaction. */
  backfillTicks: 10_000,
  backfillPart: 1_000,
  /** Characters of a schedule's id, its tag, the note of a pause. */
  scheduleIdChars: 256,
  tagChars: 128,
  noteChars: 1_024,
  /** Moments of one preview. */
  previewMoments: 1_000,

  /** Time for running attempts to end when a node stops. */
  stopGraceMs: 30 * second,
  /** Time to hand back what is left then. */
  stopSettleMs: 10 * second,

  /** A node writes its counts of the minute every `tallyMs`; they are kept this many days. */
  tallyMs: 2 * second,
  tallyDays: 8,
  /** Failed runs, the newest ones, that are grouped by their cause. */
  failuresLooked: 10_000,
  /** Cells of a fan-out's map: one per run, of its first ones. */
  fanoutCells: 100_000,
  /** Characters of a payload that a page shows; the rest is for download. */
  previewChars: 64 * KiB,
  /** The same of all steps of a run together, and of the messages and of the fields of all its log lines. */
  previewAllChars: KiB * KiB,

  /** Bytes of all requests that are under way together. */
  bodiesBytes: 512 * KiB * KiB,
  /** Events per second that a key may be allowed at most. */
  eventsPerSecondMax: 1_000_000,
  /** Characters of an `Idempotency-Key`; answers that a node remembers for them, and characters of one that it does. */
  idempotencyKeyChars: 255,
  idempotencyKeys: 10_000,
  idempotentChars: 16 * KiB,
  /** Runs that are looked at each time metrics are asked for, whether they stand in one place: of the newest ones, and of all in turns. */
  placingRuns: 5_000,
  /** A login of a person ends after this time, or this long after it was last used; its cookie is renewed when it is so old. */
  sessionMs: 12 * hour,
  sessionIdleMs: hour,
  sessionRenewMs: 5 * minute,
  /** Logins of one key that are remembered as ended; with the next one all of that key end. */
  logoutsPerKey: 1_000,
  /** Wrong keys from one address that are answered at once, and the milliseconds after which one more is. Addresses that are remembered. */
  wrongKeys: 100,
  wrongKeyMs: 3 * second,
  wrongKeyAddresses: 10_000,

  /** Live streams that are open at the same time. */
  streams: 200,
  /** Milliseconds between two events of a stream, between two looks of it at the store, and between signs of life. */
  streamGapMs: 300,
  streamLookMs: 1 * second,
  streamBeatMs: 15 * second,
  /** Ids of one kind in one event of a stream: more are told as "all". Events that are kept for those who come back. */
  streamIds: 100,
  streamKept: 100,

  /** Days that finished runs are kept: default. */
  retentionDays: 30,
  /** Rows of one page of a list: default and most. */
  pageRows: 50,
  pageRowsMax: 500,
  /** Bytes of an HTTP request to the API. */
  bodyBytes: 64 * KiB * KiB,

  /** Bytes of a call to an app: beyond, the app fetches the steps itself. Bytes of an app's reply. */
  callBytes: 4 * KiB * KiB,
  replyBytes: 8 * KiB * KiB,
  /** Functions that one run defers until it ends. */
  defersPerRun: 20,
  /** Ops in one reply. */
  opsPerReply: 1_000,
  /** Characters of an app's URL. */
  urlChars: 2_048,
  /** How old, or how far ahead, a signature may be. */
  signatureWindowMs: 5 * minute,
  /** Calls to one app that are open at the same time. */
  callsPerApp: 1_000,
  /** Workers that are connected at the same time, connections that have not said yet who they are, apps of one worker. */
  workers: 1_000,
  workersNew: 50,
  appsPerWorker: 100,
  /** Bytes of one message of a worker: a reply, with what stands around it. */
  workerMessageBytes: 8 * KiB * KiB + 64 * KiB,
  /** Bytes sent to a worker that it has not taken yet, beyond which it gets no more requests. */
  workerUnreadBytes: 16 * KiB * KiB,
  /** Requests that a worker takes at the same time unless it says otherwise. */
  workerRequests: 1_000,
  /** A connection that is no worker's after this time is closed; so is that of a worker of which nothing was heard for the other one. */
  workerHelloMs: 10 * second,
  workerSilentMs: minute,
  /** Milliseconds between two signs of life of a worker, and between two words of it about a request that it is at. */
  workerBeatMs: 10 * second,
  workerExtendMs: 5 * second,
  /** A request that its worker says nothing about for this long is lost; or for the other one, when its connection broke. */
  workerLeaseMs: minute,
  workerReturnMs: 8 * second,

  /** Milliseconds between two looks at the apps that are developed, and for which one of these may take. */
  appPollMs: 5 * second,
  appAnswerMs: 10 * second,
} as const

const relations: readonly [string, boolean][] = [
  ["a lease outlives several pulses", limits.leaseMs >= 3 * limits.pulseMs],
  ["a part fits in a transaction", limits.eventsPerPart <= limits.eventsPerTransaction],
  ["a send of many parts is longer than one transaction", limits.eventsPerSend > limits.eventsPerTransaction],
  ["claims ahead fit in one claim", limits.claimAhead <= limits.claimBatch],
  ["what may be caught up is recorded", limits.missedCapMax <= limits.ticksPerLook],
  ["a worker's reply fits in a message", limits.workerMessageBytes > limits.replyBytes],
  ["a worker whose connection broke has time for another word", limits.workerReturnMs > limits.workerExtendMs],
  ["an attempt's default time is allowed", limits.attemptTimeoutMs <= limits.attemptTimeoutMaxMs],
]
for (const [relation, holds] of relations) if (!holds) throw new Error(`core/limits.ts: ${relation} does not hold`)

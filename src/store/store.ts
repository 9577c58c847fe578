import type { Tally } from "../core/activity.ts"
import type { BulkFilter } from "../core/bulk.ts"
import type { FailureCauses, FailureTimes } from "../core/causes.ts"
import type { PausePolicy } from "../core/definition.ts"
import type { ExpressionEvent } from "../core/expression.ts"
import type { FailureGroup, Operation } from "../core/fanouts.ts"
import { limits } from "../core/limits.ts"
import type { ScheduleLoad } from "../core/load.ts"
import type { Login } from "../core/login.ts"
import type { Clock } from "../core/ports.ts"
import type { RunEvent } from "../core/run.ts"
import type { Schedule, Tick } from "../core/schedule.ts"
import type { CheckedSchedule, ScheduleFilter, UpsertResult } from "../core/schedules.ts"
import type {
  Backlog,
  Depth,
  EventDetail,
  EventSummary,
  FanoutSummary,
  FunctionSummary,
  KnownFunctions,
  LimitSummary,
  NodeSummary,
  Page,
  Placing,
  RunDetail,
  RunFamily,
  RunFilter,
  RunSummary,
  Standing,
} from "../core/views.ts"
import type { Watch } from "../core/wait.ts"
import { eventsOf } from "./claim.ts"
import type { Db } from "./db.ts"
import { Known, type Offered } from "./known.ts"
import { limitList, pauseFunction, setLimit } from "./limits.ts"
import { isLoggedOut, logOut } from "./logouts.ts"
import { Marks } from "./marks.ts"
import { migrate } from "./migrate.ts"
import { type Lines, runsIn } from "./queue.ts"
import * as read from "./read.ts"
import { failureGroups } from "./failure-groups.ts"
import { attributeFanout } from "./fanout-row.ts"
import { declareDead, type NodeRow, type Pulse, pulse } from "./node-row.ts"
import { addOperation, type NewOperation, type Operated, operate, operation, operations, stopOperation } from "./operate.ts"
import { resumeFanout } from "./pause-fanout.ts"
import { type FanoutCourse, fanout, fanoutCourse, fanouts, finishedFanouts, knownKeys } from "./read-fanouts.ts"
import { countRuns, retryRun } from "./operate-runs.ts"
import { tallies, talliesByFunction } from "./read-activity.ts"
import { fanoutCell, fanoutCells, sentFanouts } from "./read-cells.ts"
import { event, events } from "./read-events.ts"
import { runFamily } from "./read-family.ts"
import { failureCauses, failureTimes } from "./read-failures.ts"
import { type JoinedFanout, joinedFanout } from "./read-join.ts"
import { nodes, otherNodes } from "./read-nodes.ts"
import * as readSchedules from "./read-schedules.ts"
import { backlog, placing } from "./read-backlog.ts"
import { standing } from "./read-standing.ts"
import * as schedules from "./schedule-operate.ts"
import { forgetLimits, goneClaims, type LostRun, lostRuns, pruneRuns, pruneTicks, type Woken, wakeRuns } from "./sweep.ts"
import { type Chance, contextOf, type Ticked, tickSchedules } from "./tick.ts"
import { releaseBatch } from "./held.ts"
import { type Released, releaseGate, releaseMissed } from "./release.ts"
import { type TurnRequest, type TurnResult, turnWith } from "./turn.ts"
import { type CancelFacts, cancelFacts, doomedRuns, recentEvents, unkeyedWaits, watch } from "./waits.ts"

export type { NodeRow, Pulse } from "./node-row.ts"

/** The only way to the rows for the engine. Each method is one transaction: it happened, or it did not. */
export interface Store {
  turn(request: TurnRequest): Promise<TurnResult>
  wake(limit: number): Promise<Woken>
  /** Runs in the hands of nodes that are dead; never those of `nodeId`, which asks. */
  lost(nodeId: string, limit: number): Promise<readonly LostRun[]>
  /** Releases a page of what limits hold although they have room; gives how many runs, and whether there are more limits to look at. */
  releaseMissed(): Promise<{ readonly runs: number; readonly more: boolean }>
  /** Sets the most of a limit in place of what its runs say; null: what they say. Gives when runs may go on by time, if any wait for it. */
  setLimit(key: string, max: number | null): Promise<{ readonly dueAt: number | null }>
  /** Stops a function's runs from starting, or with null lets them go on. */
  pause(functionId: string, policy: PausePolicy | null): Promise<{ readonly dueAt: number | null }>
  /** Of these claims those that are not theirs any more: another node, or a cancellation, has taken them. */
  gone(claims: readonly (readonly [runId: string, fence: number])[]): Promise<readonly (readonly [runId: string, fence: number])[]>
  prune(before: number, limit: number): Promise<number>
  /** This node lives; `alone`: whoever else is recorded does not (the file can have one engine only). */
  pulse(node: NodeRow, alone: boolean): Promise<Pulse>
  leave(nodeId: string): Promise<void>
  /** Ids of the other nodes of the last hour. */
  others(nodeId: string): Promise<readonly string[]>
  /** Whoever says so knows that the processes of these nodes have ended: their runs are lost from now on. */
  declareDead(nodeIds: readonly string[]): Promise<void>
  functions(): Promise<KnownFunctions>
  /**
   * Begins an operation on a fan-out's runs, or on those that a filter means; `operate` does it.
   * @throws FanfareError `not_found`, `invalid_option`
   */
  addOperation(operation: NewOperation): Promise<Operation>
  /**
   * Sets a run that failed or was cancelled going again where it stopped.
   * @throws FanfareError `not_found`, `invalid_option`
   */
  retry(runId: string): Promise<void>
  stopOperation(id: string): Promise<void>
  /** Lets a fan-out that was stopped go on; false when it has no gate, or was cancelled. */
  resume(fanoutId: string): Promise<boolean>
  /** Releases what the gate of a fan-out held, now that it is open. */
  releaseGate(fanoutId: string): Promise<void>
  /** The fan-out that an event belongs to was sent by this run, unless another one is known. */
  attribute(eventId: string, runId: string): Promise<void>
  /** Ends a login of a person, for all servers that share the store. */
  logOut(login: Login): Promise<void>
  /** How far a fan-out has come; by its id, or its sender's name for it. */
  course(by: "id" | "key", value: string): Promise<FanoutCourse | null>
  /** Makes names of events, and the fields that runs look at, known to every sender. False: not now, ask again. */
  watch(watches: readonly Watch[]): Promise<boolean>
  /** Waits for a topic that have to be looked at one by one, counted up to `most`. */
  unkeyedWaits(topic: string, most: number): Promise<number>
  recentEvents(name: string, since: number): Promise<readonly ExpressionEvent[]>
  /** Runs that are to be cancelled. */
  doomed(limit: number): Promise<readonly CancelFacts[]>
  cancelFacts(id: string, reason: string): Promise<CancelFacts | null>
  /** Does the next part of the operation whose turn it is. */
  operate(chance: Chance): Promise<Omit<Operated, "lines">>
  /** Of one fan-out all that a join gives; null when there is none. */
  joined(fanoutId: string, outputs: boolean): Promise<JoinedFanout | null>
  /** Fan-outs that have ended and were not announced yet. */
  finished(limit: number): Promise<readonly FanoutSummary[]>
  /** Those of the cron triggers of these apps, and whatever else has one of these ids. */
  schedules(appIds: readonly string[], ids: readonly string[]): Promise<{ readonly stored: readonly Schedule[]; readonly now: number }>
  /** Decides the moments of schedules that are due. */
  tick(chance: Chance): Promise<Omit<Ticked, "lines">>
  upsertSchedules(wanted: readonly CheckedSchedule[]): Promise<UpsertResult | schedules.Refused>
  pauseSchedule(id: string, note: string | null): Promise<Schedule | null>
  resumeSchedule(id: string): Promise<Schedule | null>
  removeSchedule(id: string): Promise<boolean>
  backfill(chance: Chance, request: schedules.BackfillRequest): Promise<Omit<schedules.BackfillPart, "lines"> | null>
  runSchedule(chance: Chance, id: string): Promise<{ readonly runIds: readonly string[]; readonly nobody: string | null } | null>
  close(): Promise<void>
}

/** What people ask. On its own connection, so that no question delays a commit. */
export interface Reader {
  /** @param chars of its payloads that are wanted; default: all */
  run(id: string, chars?: number): Promise<RunDetail | null>
  /** The events of a run that has several, but for the first. */
  batch(runId: string): Promise<readonly RunEvent[]>
  runs(filter: RunFilter): Promise<Page<RunSummary>>
  /** Runs that a filter means, counted up to `limits.bulkCount`. */
  countRuns(filter: BulkFilter): Promise<number>
  fanout(id: string): Promise<FanoutSummary | null>
  fanouts(after: string | null, limit: number): Promise<Page<FanoutSummary>>
  failureGroups(fanoutId: string): Promise<readonly FailureGroup[]>
  operation(id: string): Promise<Operation | null>
  operations(after: string | null, limit: number): Promise<Page<Operation>>
  /** Of several ids the first that there is. */
  schedule(ids: readonly string[]): Promise<Schedule | null>
  schedules(filter: ScheduleFilter): Promise<Page<Schedule>>
  /** What schedules will start in the next 24 h. */
  scheduleLoad(): Promise<ScheduleLoad>
  /** Newest first; `after`: older than this moment. */
  ticks(scheduleId: string, after: number | null, limit: number): Promise<Page<Tick>>
  /** Those of the senders' ids that were sent within the last 24 h. */
  knownKeys(keys: readonly string[]): Promise<readonly string[]>
  functionList(): Promise<readonly FunctionSummary[]>
  /** Live runs by where they stand, each count capped at 10,000. */
  depth(): Promise<Depth>
  standing(): Promise<Standing>
  backlog(): Promise<Backlog>
  /** Looks at so many runs before this one, the newest ones without one. */
  placing(before: string | null, limit: number): Promise<Placing>
  nodes(): Promise<readonly NodeSummary[]>
  /** Limits that runs count against or wait for, and those set by hand, in the order of their keys; of one function those of its own. */
  limits(after: string | null, limit: number, functionId?: string): Promise<Page<LimitSummary>>
  /** What was counted from a moment on: of one function, or of all together with an empty id. */
  tallies(functionId: string, from: number): Promise<readonly Tally[]>
  talliesByFunction(from: number): Promise<readonly Tally[]>
  events(after: string | null, limit?: number): Promise<Page<EventSummary>>
  event(id: string, chars: number): Promise<EventDetail | null>
  failureCauses(): Promise<FailureCauses>
  /** When runs of a fan-out failed; null when there is no such fan-out. */
  failureTimes(fanoutId: string): Promise<FailureTimes | null>
  /** The states of a fan-out's runs, one letter each, in the order in which they were sent. */
  fanoutCells(fanoutId: string): Promise<string>
  /** The id of the run of a cell, counted from 0. */
  fanoutCell(fanoutId: string, index: number): Promise<string | null>
  /** What stands around a run; null when there is no such run. */
  runFamily(id: string): Promise<RunFamily | null>
  /** Ids of the fan-outs that a run sent. */
  sentFanouts(runId: string): Promise<readonly string[]>
  isLoggedOut(login: Login): Promise<boolean>
  close(): Promise<void>
}

/** Brings the database to this program's schema and gives the store on it. */
export async function openStore(db: Db, clock: Pick<Clock, "now">): Promise<Store> {
  await migrate(db)
  return storeOn(db, clock)
}

/** @param pulses a way of its own for the heartbeat, so that no long transaction delays it */
export function storeOn(db: Db, clock: Pick<Clock, "now">, pulses: Db = db): Store {
  const marks = new Marks(clock)
  const known = new Known()
  const inTx = <T>(work: (tx: Db, now: number) => Promise<T>): Promise<T> => db.tx(async (tx) => work(tx, await tx.now()))
  const released = (lines: Lines): number => {
    marks.lined(lines)
    return runsIn(lines)
  }
  const openGate = async (fanoutId: string): Promise<void> => {
    while (released((await inTx((tx, now) => releaseGate(tx, fanoutId, now))).lines) >= releaseBatch);
  }
  return {
    turn: (request) => turnWith(db, request, marks),
    async wake(limit) {
      const woken = await inTx((tx, now) => wakeRuns(tx, limit, now))
      marks.lined(woken.lines)
      return woken
    },
    ...flowCommands(db, released),
    gone: (claims) => goneClaims(db, claims),
    prune: async (before, limit) =>
      Math.max(
        await inTx((tx, now) => pruneRuns(tx, before, limit, now)),
        await db.tx((tx) => pruneTicks(tx, before, limit)),
        await inTx((tx, now) => forgetLimits(tx, limit, now)),
      ),
    ...nodeCommands(db, pulses),
    functions: () => db.tx(read.knownFunctions),
    stopOperation: (id) => inTx((tx, now) => stopOperation(tx, id, now)),
    async addOperation(asked) {
      const begun = await inTx((tx, now) => addOperation(tx, asked, now))
      // Apart from it: the lock of a limit comes before that of a fan-out.
      if (asked.kind === "retry" && asked.filter === undefined) await openGate(asked.fanoutId)
      return begun
    },
    async retry(runId) {
      const lines = await inTx(async (tx, now) => retryRun(tx, runId, { functions: (await known.offered(tx)).functions, now }))
      marks.lined(lines)
    },
    async resume(fanoutId) {
      const resumed = await inTx((tx, now) => resumeFanout(tx, fanoutId, now))
      if (resumed) await openGate(fanoutId)
      return resumed
    },
    releaseGate: openGate,
    ...waitCommands(db),
    ...fanoutCommands(db),
    logOut: (login) => inTx((tx, now) => logOut(tx, login, now)),
    async operate(chance) {
      const { lines, ...operated } = await inTx(async (tx, now) => operate(tx, contextOf(await known.offered(tx), chance, now)))
      marks.lined(lines)
      return operated
    },
    ...scheduleCommands(db, marks, known),
    close: async () => {
      await db.close()
      if (pulses !== db) await pulses.close()
    },
  }
}

function nodeCommands(db: Db, pulses: Db): Pick<Store, "pulse" | "leave" | "others" | "declareDead" | "lost"> {
  return {
    pulse: (node, alone) => pulses.tx(async (tx) => pulse(tx, node, alone, await tx.now())),
    leave: async (nodeId) => void (await db.execute("delete from node where id = $1", [nodeId])),
    others: (nodeId) => otherNodes(db, nodeId),
    declareDead: (nodeIds) => db.tx(async (tx) => declareDead(tx, nodeIds, await tx.now())),
    lost: (nodeId, limit) => db.tx(async (tx) => lostRuns(tx, nodeId, limit, limits.leaseMs, await tx.now())),
  }
}

function flowCommands(db: Db, lined: (lines: Lines) => number): Pick<Store, "setLimit" | "pause" | "releaseMissed"> {
  // Where the next look at limits for missed releases goes on.
  let missedAfter = ""
  const applied = async (change: (tx: Db, now: number) => Promise<Released>): Promise<{ readonly dueAt: number | null }> => {
    const { lines, dueAt } = await db.tx(async (tx) => change(tx, await tx.now()))
    lined(lines)
    return { dueAt }
  }
  return {
    async releaseMissed() {
      const { lines, last } = await db.tx(async (tx) => releaseMissed(tx, missedAfter, await tx.now()))
      missedAfter = last ?? ""
      return { runs: lined(lines), more: last !== null }
    },
    setLimit: (key, max) => applied((tx, now) => setLimit(tx, key, max, now)),
    pause: (functionId, policy) => applied((tx, now) => pauseFunction(tx, functionId, policy, now)),
  }
}

function waitCommands(db: Db): Pick<Store, "watch" | "unkeyedWaits" | "recentEvents" | "doomed" | "cancelFacts"> {
  return {
    watch: (watches) => watch(db, watches),
    unkeyedWaits: (topic, most) => unkeyedWaits(db, topic, most),
    recentEvents: (name, since) => recentEvents(db, name, since),
    doomed: (limit) => doomedRuns(db, limit),
    cancelFacts: (id, reason) => cancelFacts(db, id, reason),
  }
}

function fanoutCommands(db: Db): Pick<Store, "attribute" | "course" | "joined" | "finished"> {
  return {
    attribute: (eventId, runId) => attributeFanout(db, eventId, runId),
    course: (by, value) => fanoutCourse(db, by, value),
    joined: (fanoutId, outputs) => db.tx((tx) => joinedFanout(tx, fanoutId, outputs)),
    finished: (limit) => finishedFanouts(db, limit),
  }
}

type ScheduleCommands = Pick<
  Store,
  "schedules" | "tick" | "upsertSchedules" | "pauseSchedule" | "resumeSchedule" | "removeSchedule" | "backfill" | "runSchedule"
>

function scheduleCommands(db: Db, marks: Marks, known: Known): ScheduleCommands {
  const inTx = <T>(work: (tx: Db, offered: Offered, now: number) => Promise<T>): Promise<T> =>
    db.tx(async (tx) => work(tx, await known.offered(tx), await tx.now()))
  /** What a command puts in line is noted when it is durable. */
  const lined = <T extends { readonly lines: Lines }>({ lines, ...rest }: T): Omit<T, "lines"> => {
    marks.lined(lines)
    return rest
  }
  return {
    schedules: (appIds, ids) => db.tx(async (tx) => ({ stored: await readSchedules.registered(tx, appIds, ids), now: await tx.now() })),
    tick: async (chance) => lined(await inTx((tx, offered, now) => tickSchedules(tx, offered, chance, now))),
    upsertSchedules: (wanted) => db.tx(async (tx) => schedules.upsertSchedules(tx, wanted, await tx.now())),
    pauseSchedule: (id, note) => db.tx(async (tx) => schedules.pauseSchedule(tx, id, note, await tx.now())),
    resumeSchedule: (id) => inTx((tx, offered, now) => schedules.resumeSchedule(tx, offered, id, now)),
    removeSchedule: (id) => db.tx((tx) => schedules.removeSchedule(tx, id)),
    async backfill(chance, request) {
      const part = await inTx((tx, offered, now) => schedules.backfillSchedule(tx, offered, chance, request, now))
      return part === null ? null : lined(part)
    },
    async runSchedule(chance, id) {
      const run = await inTx((tx, offered, now) => schedules.runSchedule(tx, offered, chance, id, now))
      return run === null ? null : lined(run)
    },
  }
}

export function openReader(db: Db): Reader {
  return {
    run: (id, chars) => read.run(db, id, chars),
    batch: async (runId) => (await eventsOf(db, [runId])).get(runId) ?? [],
    runs: (filter) => read.runs(db, filter),
    countRuns: (filter) => countRuns(db, filter),
    fanout: (id) => fanout(db, id),
    fanouts: (after, limit) => fanouts(db, after, limit),
    failureGroups: (fanoutId) => failureGroups(db, fanoutId),
    operation: (id) => operation(db, id),
    operations: (after, limit) => operations(db, after, limit),
    schedule: (ids) => readSchedules.schedule(db, ids),
    schedules: (filter) => readSchedules.scheduleList(db, filter),
    scheduleLoad: () => readSchedules.scheduleLoad(db),
    ticks: (scheduleId, after, limit) => readSchedules.ticks(db, scheduleId, after, limit),
    knownKeys: (keys) => knownKeys(db, keys),
    functionList: () => read.functionList(db),
    depth: () => read.depth(db),
    standing: () => standing(db),
    backlog: () => backlog(db),
    placing: (before, limit) => placing(db, before, limit),
    nodes: () => nodes(db),
    limits: (after, limit, functionId) => limitList(db, after, limit, functionId),
    tallies: (functionId, from) => tallies(db, functionId, from),
    talliesByFunction: (from) => talliesByFunction(db, from),
    events: (after, limit) => events(db, after, limit),
    event: (id, chars) => event(db, id, chars),
    failureCauses: () => failureCauses(db),
    failureTimes: (fanoutId) => failureTimes(db, fanoutId),
    fanoutCells: (fanoutId) => fanoutCells(db, fanoutId),
    fanoutCell: (fanoutId, index) => fanoutCell(db, fanoutId, index),
    runFamily: (id) => runFamily(db, id),
    sentFanouts: (runId) => sentFanouts(db, runId),
    isLoggedOut: (login) => isLoggedOut(db, login),
    close: () => db.close(),
  }
}

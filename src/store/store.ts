import type { Unit, UnitResult } from "../core/change.ts"
import type { PausePolicy } from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import type { FailureGroup, Operation, OperationKind } from "../core/fanouts.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Schedule } from "../core/schedule.ts"
import type {
  FanoutSummary,
  FunctionSummary,
  KnownFunctions,
  LimitSummary,
  NodeSummary,
  Page,
  RunDetail,
  RunFilter,
  RunSummary,
} from "../core/views.ts"
import { type Claim, type ClaimRequest, claimRuns } from "./claim.ts"
import { type Committed, commitUnits } from "./commit.ts"
import type { Db } from "./db.ts"
import { limitList, pauseFunction, setLimit } from "./limits.ts"
import { Marks } from "./marks.ts"
import { migrate } from "./migrate.ts"
import { runsIn } from "./queue.ts"
import * as read from "./read.ts"
import { addOperation, type Operated, operate, operation } from "./operate.ts"
import { type JoinedFanout, joinedFanout } from "./read-join.ts"
import { nodes } from "./read-nodes.ts"
import { releaseMissed } from "./release.ts"
import { type LostRun, lostRuns, pruneRuns, type Woken, wakeRuns } from "./sweep.ts"

/** One transaction: units made durable, then runs claimed. */
export interface TurnRequest {
  readonly units: readonly Unit[]
  readonly claim: ClaimRequest | null
}

export interface TurnResult {
  readonly results: readonly UnitResult[]
  readonly claim: Claim | null
  /** The earliest of the timers that were set; null when none was. */
  readonly timerAt: number | null
  /** Runs put in line that this turn did not claim: other nodes may want to know. */
  readonly left: number
  /** Fan-outs whose last run has ended. */
  readonly ended: number
  /** Runs that a node was executing, and that a new run has cancelled. */
  readonly cancelled: readonly string[]
  /** The time that counts. */
  readonly now: number
}

export interface NodeRow {
  readonly id: string
  readonly host: string
  readonly pid: number
  /** Ids of the functions whose code it has. */
  readonly functionIds: readonly string[]
}

/** The only way to the rows for the engine. Each method is one transaction: it happened, or it did not. */
export interface Store {
  turn(request: TurnRequest): Promise<TurnResult>
  wake(limit: number): Promise<Woken>
  /** Runs in the hands of nodes that are dead; never those of `nodeId`, which asks. */
  lost(nodeId: string, limit: number): Promise<readonly LostRun[]>
  /** A page of limits at a time; gives whether there are more to look at. */
  releaseMissed(): Promise<boolean>
  /** Sets the most of a limit in place of what its runs say; null: what they say. Gives when runs may go on by time, if any wait for it. */
  setLimit(key: string, max: number | null): Promise<{ readonly dueAt: number | null }>
  /** Stops a function's runs from starting, or with null lets them go on. */
  pause(functionId: string, policy: PausePolicy | null): Promise<{ readonly dueAt: number | null }>
  prune(before: number, limit: number): Promise<number>
  /** This node lives; `alone`: whoever else is recorded does not (the file can have one engine only). */
  pulse(node: NodeRow, alone: boolean): Promise<void>
  leave(nodeId: string): Promise<void>
  functions(): Promise<KnownFunctions>
  /** Begins an operation on a fan-out's runs; `operate` does it. */
  addOperation(operation: {
    readonly id: string
    readonly kind: OperationKind
    readonly fanoutId: string
    readonly fingerprint: string | null
  }): Promise<void>
  /** Does the next part of the oldest open operation. */
  operate(): Promise<Omit<Operated, "lines">>
  /** Of one fan-out all that a join gives; null when there is none. */
  joined(fanoutId: string, outputs: boolean): Promise<JoinedFanout | null>
  /** Fan-outs that have ended and were not announced yet. */
  finished(limit: number): Promise<readonly FanoutSummary[]>
  schedules(): Promise<readonly Schedule[]>
  dueSchedules(limit: number): Promise<{ readonly due: readonly Schedule[]; readonly nextAt: number | null; readonly now: number }>
  close(): Promise<void>
}

/** What people ask. On its own connection, so that no question delays a commit. */
export interface Reader {
  run(id: string): Promise<RunDetail | null>
  runs(filter: RunFilter): Promise<Page<RunSummary>>
  fanout(id: string): Promise<FanoutSummary | null>
  fanouts(after: string | null, limit: number): Promise<Page<FanoutSummary>>
  failureGroups(fanoutId: string): Promise<readonly FailureGroup[]>
  operation(id: string): Promise<Operation | null>
  functionList(): Promise<readonly FunctionSummary[]>
  /** Live runs by where they stand, each count capped at 10,000. */
  depth(): Promise<{ ready: number; running: number; scheduled: number; waiting: number }>
  nodes(): Promise<readonly NodeSummary[]>
  /** Limits that runs count against or wait for, and those set by hand, in the order of their keys. */
  limits(after: string | null, limit: number): Promise<Page<LimitSummary>>
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
  // Where the next look at limits for missed releases goes on.
  let missedAfter = ""
  const inTx = <T>(work: (tx: Db, now: number) => Promise<T>): Promise<T> => db.tx(async (tx) => work(tx, await tx.now()))
  return {
    turn: (request) => turnWith(db, request, marks),
    async wake(limit) {
      const woken = await inTx((tx, now) => wakeRuns(tx, limit, now))
      marks.lined(woken.lines)
      return woken
    },
    lost: (nodeId, limit) => inTx((tx, now) => lostRuns(tx, nodeId, limit, limits.leaseMs, now)),
    async releaseMissed() {
      const { lines, last } = await inTx((tx, now) => releaseMissed(tx, missedAfter, now))
      marks.lined(lines)
      missedAfter = last ?? ""
      return last !== null
    },
    async setLimit(key, max) {
      const { lines, dueAt } = await inTx((tx, now) => setLimit(tx, key, max, now))
      marks.lined(lines)
      return { dueAt }
    },
    async pause(functionId, policy) {
      const { lines, dueAt } = await inTx((tx, now) => pauseFunction(tx, functionId, policy, now))
      marks.lined(lines)
      return { dueAt }
    },
    prune: (before, limit) => inTx((tx, now) => pruneRuns(tx, before, limit, now)),
    pulse: (node, alone) => pulses.tx(async (tx) => pulse(tx, node, alone, await tx.now())),
    leave: async (nodeId) => void (await db.execute("delete from node where id = $1", [nodeId])),
    functions: () => db.tx(read.knownFunctions),
    addOperation: (operation) => inTx((tx, now) => addOperation(tx, operation, now)),
    async operate() {
      const { lines, ...operated } = await inTx(operate)
      marks.lined(lines)
      return operated
    },
    joined: (fanoutId, outputs) => db.tx((tx) => joinedFanout(tx, fanoutId, outputs)),
    finished: (limit) => read.finishedFanouts(db, limit),
    schedules: () => read.schedules(db),
    dueSchedules: async (limit) => read.dueSchedules(db, limit, await db.now()),
    close: async () => {
      await db.close()
      if (pulses !== db) await pulses.close()
    },
  }
}

export function openReader(db: Db): Reader {
  return {
    run: (id) => read.run(db, id),
    runs: (filter) => read.runs(db, filter),
    fanout: (id) => read.fanout(db, id),
    fanouts: (after, limit) => read.fanouts(db, after, limit),
    failureGroups: (fanoutId) => read.failureGroups(db, fanoutId),
    operation: (id) => operation(db, id),
    functionList: () => read.functionList(db),
    depth: () => read.depth(db),
    nodes: () => nodes(db),
    limits: (after, limit) => limitList(db, after, limit),
    close: () => db.close(),
  }
}

async function turnWith(db: Db, request: TurnRequest, marks: Marks): Promise<TurnResult> {
  let tries = 0
  try {
    return await db.tx(async (tx) => {
      if (++tries > 1) marks.forget()
      return takeTurn(tx, request, marks, await tx.now())
    })
  } catch (error) {
    marks.forget()
    throw error
  }
}

async function takeTurn(tx: Db, { units, claim }: TurnRequest, marks: Marks, now: number): Promise<TurnResult> {
  if (units.length > limits.unitsPerTransaction) throw new FanfareError("too_many", `${units.length} units in one transaction`)
  const { results, timerAt, lines, cancelled, count } = units.length === 0 ? nothing : await commitUnits(tx, units, now)
  marks.lined(lines)
  const claimed = claim === null ? null : await claimRuns(tx, claim, marks, now)
  const { ended, woken } = await count()
  return {
    results,
    claim: claimed,
    timerAt: woken > 0 ? now : timerAt,
    left: Math.max(0, runsIn(lines) - (claimed?.runs.length ?? 0)),
    ended,
    cancelled,
    now,
  }
}

const nothing: Committed = { results: [], timerAt: null, lines: new Map(), cancelled: [], count: async () => ({ ended: 0, woken: 0 }) }

async function pulse(tx: Db, { id, host, pid, functionIds }: NodeRow, alone: boolean, now: number): Promise<void> {
  if (alone) await tx.execute("delete from node where id <> $1", [id])
  await tx.execute(
    `insert into node (id, host, pid, started_at, seen_at, functions) values ($1, $2, $3, $4, $4, $5)
       on conflict (id) do update set seen_at = excluded.seen_at, functions = excluded.functions`,
    [id, host, pid, now, JSON.stringify(functionIds)],
  )
}

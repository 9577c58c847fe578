import type { Change, ChangeOf, Unit, UnitResult } from "../core/change.ts"
import type { LimitClaim, NewRun } from "../core/run.ts"
import {
  addEvents,
  addPacked,
  addRuns,
  copyBatches,
  eventsByKey,
  type KnownEvents,
  refuseByKeys,
  withoutDuplicates,
} from "./commit-admit.ts"
import { addAttempts, addLogs, addTraces, copySteps, saveSteps, settleRuns } from "./commit-attempt.ts"
import { forgetDoomed, takeCancelled } from "./commit-cancel.ts"
import { addJoins, announce, announcedBefore, countFanouts, type FanoutEnds } from "./commit-fanout.ts"
import { putApps, putFunctions, registryVersion } from "./commit-registry.ts"
import { dropSchedules, putSchedules } from "./commit-schedule.ts"
import { putTallies } from "./commit-tally.ts"
import { addWaits, doom, endWaits, lockNames, takenSignals, type UnitOffer, type WaitsEnded } from "./commit-wait.ts"
import { type Column, type Db, together } from "./db.ts"
import { addEntering, type Entered, entryKeys, nothingEntered } from "./entries.ts"
import { closedFanouts } from "./fanout-parts.ts"
import { holdLimits, lockLimits, tryLimits } from "./limiter.ts"
import { addLines, claimsOf, insertReady, type Lines, linesOf, type Moved, type QueueRow } from "./queue.ts"
import { type LetThrough, letThrough } from "./release.ts"
import { takeRows } from "./row-list.ts"

export interface Committed {
  readonly results: readonly UnitResult[]
  /** Runs that are to be cancelled. */
  readonly doomed: number
  /** The earliest timer among those that were set; null when none was. */
  readonly timerAt: number | null
  readonly lines: Lines
  /** Runs that may start and stand nowhere yet: whoever commits claims them or puts them in line. */
  readonly arrived: readonly QueueRow[]
  /**
   * What is left to do, at the very end of the transaction: the counts of fan-outs. Whoever else counts the same fan-out waits from
   * there on until the transaction ends. Gives what follows from them.
   */
  count(): Promise<FanoutEnds>
}

/**
 * Makes units durable, many in one transaction; must run inside one. Each unit is applied whole or refused whole. What to refuse is
 * found out first, then there is one statement for each kind of change of all units together.
 */
export async function commitUnits(db: Db, units: readonly Unit[], now: number): Promise<Committed> {
  const [held, cancelled, taken, announced, closed, known, version] = await together([
    takeGuards(db, units),
    takeCancelled(db, units, now),
    takenSignals(db, units),
    announcedBefore(db, units),
    closedFanouts(db, units),
    eventsByKey(db, units, now),
    registryVersion(db, units),
  ])
  const results = units.map((unit, i) =>
    refusal(unit, version, {
      held: held.has(i),
      takenBy: taken.get(i),
      cancels: cancelled.has(i),
      announced: announced.has(i),
      closed: closed.get(i),
    }),
  )
  const duplicates = refuseByKeys(units, results, known satisfies KnownEvents)
  const accepted: Change[] = []
  const offers: UnitOffer[] = []
  for (const [i, unit] of units.entries()) {
    if (results[i] !== undefined) continue
    const before = duplicates.get(i) ?? null
    for (const change of before === null ? unit.changes : withoutDuplicates(unit.changes, before)) {
      if (change.kind === "wait.offer") offers.push({ unit: i, offer: change.offer })
      else accepted.push(change.kind === "run.cancel" ? (cancelled.get(i) ?? change) : change)
    }
    results[i] = { kind: "applied", duplicates: before }
  }
  const { delivered, ...written } = await write(db, accepted, offers, now)
  await forgetDoomed(db, units)
  for (const [i, runIds] of delivered) {
    const result = results[i]
    if (result?.kind === "applied") results[i] = { ...result, delivered: runIds }
  }
  return { results: results.map((result) => result ?? { kind: "fenced" }), ...written }
}

/** What was found out about a unit. */
interface Found {
  readonly held: boolean
  readonly takenBy: string | undefined
  readonly cancels: boolean
  readonly announced: boolean
  readonly closed: "closed" | "paused" | undefined
}

function refusal(unit: Unit, version: number, { held, takenBy, cancels, announced, closed }: Found): UnitResult | undefined {
  if (unit.guard !== null && !held) return { kind: "fenced" }
  if (takenBy !== undefined) return { kind: "taken", runId: takenBy }
  if (!cancels && unit.changes.some(({ kind }) => kind === "run.cancel")) return { kind: "gone" }
  if (announced) return { kind: "duplicate" }
  if (closed !== undefined) return { kind: closed }
  return unit.registry !== null && unit.registry < version ? { kind: "stale" } : undefined
}

/**
 * The units whose guard holds, by number. From here to the end of the transaction nobody else can take over their runs: a run that the
 * unit settles gives up its lease at once (such units are refused for no other reason); the lease of another is locked.
 */
async function takeGuards(db: Db, units: readonly Unit[]): Promise<Set<number>> {
  const settling = new Map<string, Guarded>()
  const staying = new Map<string, Guarded>()
  for (const [i, { guard, changes }] of units.entries()) {
    if (guard === null) continue
    const name = `${guard.runId} ${guard.fence}`
    const settles = changes.some(({ kind }) => kind === "run.settle")
    const guarded = (settles ? settling : staying).get(name)
    if (guarded === undefined) (settles ? settling : staying).set(name, { lease: [guard.runId, guard.fence], units: [i] })
    // The same claim cannot be settled twice, also not in one transaction.
    else if (!settles) guarded.units.push(i)
  }
  const stays = inOrder(staying)
  const [locked, taken] = await together([
    stays.length === 0
      ? Promise.resolve([])
      : db.query<{ run_id: string; fence: number }>(
          `select run_id, fence from lease where (run_id, fence) in (select run_id, fence from ${db.dialect.rows("$1", leaseKey)} as j)
             order by run_id ${db.dialect.lockRows}`,
          [JSON.stringify(stays)],
        ),
    takeRows(db, "lease", leaseKey, inOrder(settling)),
  ])
  return new Set([
    ...locked.flatMap(({ run_id, fence }) => staying.get(`${run_id} ${fence}`)?.units ?? []),
    ...taken.flatMap(([runId, fence]) => settling.get(`${runId} ${fence}`)?.units ?? []),
  ])
}

type Lease = readonly [runId: string, fence: number]

interface Guarded {
  readonly lease: Lease
  readonly units: number[]
}

const leaseKey: readonly Column[] = [
  ["run_id", "text"],
  ["fence", "bigint"],
]

/** In order, so that two nodes never wait for each other. */
function inOrder(guarded: ReadonlyMap<string, Guarded>): Lease[] {
  return Array.from(guarded.values(), ({ lease }) => lease).toSorted(([a], [b]) => (a < b ? -1 : 1))
}

type Written = Omit<Committed, "results"> & Pick<WaitsEnded, "delivered">
type WrittenChanges = Omit<Written, "arrived">

/**
 * Writes changes that nothing can refuse, outside of any unit.
 * @param freed places that runs gave up before
 */
export async function writeChanges(
  db: Db,
  changes: readonly Change[],
  now: number,
  freed: readonly LimitClaim[] = [],
): Promise<WrittenChanges> {
  const offers = changes.flatMap((change) => (change.kind === "wait.offer" ? [{ unit: 0, offer: change.offer }] : []))
  const others = changes.filter(({ kind }) => kind !== "wait.offer")
  const { arrived, lines, ...written } = await write(db, others, offers, now, freed)
  await insertReady(db, arrived)
  return { ...written, lines: addLines([lines, linesOf(arrived)]) }
}

async function write(
  db: Db,
  changes: readonly Change[],
  offers: readonly UnitOffer[],
  now: number,
  freed: readonly LimitClaim[] = [],
): Promise<Written> {
  const by = groupByKind(changes)
  const [plain, entering] = byEntry(by["run.add"])
  await lockNames(db, by["wait.add"], offers)
  // A wait that begins in the very transaction in which its run is ended from elsewhere would stay behind.
  const over = new Set(by["run.settle"].flatMap(({ run, settlement }) => ("output" in settlement ? [run.id] : [])))
  if (over.size > 0) by["wait.add"] = by["wait.add"].filter(({ runId }) => !over.has(runId))
  const [settled, added, packed] = await together([
    settleRuns(db, by["run.settle"]),
    addRuns(db, plain, now),
    addPacked(db, by["rows.add"]),
    putApps(db, by["app.put"]),
    putFunctions(db, by["function.put"]),
    putSchedules(db, by["schedule.put"]),
    dropSchedules(db, by["schedule.drop"]),
    addEvents(db, by["event.add"], now),
    addTraces(db, by["trace.add"]),
    saveSteps(db, by["step.save"]),
    addAttempts(db, by["attempt.add"]),
    addLogs(db, by["log.add"]),
    copySteps(db, by["step.copy"], now),
    copyBatches(db, by["batch.copy"]),
    addJoins(db, by["join.add"]),
    announce(db, by["fanout.announce"]),
    putTallies(db, by["tally.put"]),
  ])
  // After the steps: a wait whose step has ended does not begin.
  const replaced = await addWaits(db, by["wait.add"], now)
  const waits = await endWaits(db, offers, parksOf(by["run.settle"]), overOf(by["run.settle"]), now)
  const before = [settled, added, packed, replaced, waits.moved]
  const { entered, through } = await giveRoom(db, by["limit.hold"], entering, before, freed, now)
  const moves = [...before, entered.moved]
  const doomed = [...waits.doomed, ...entered.doomed].filter(({ runId }) => !entered.over.has(runId))
  await doom(db, doomed)
  const timers = [...settled.timers, ...added.timers, ...entered.moved.timers, ...deadlinesOf(by["wait.add"])]
  if (through.dueAt !== null) timers.push(through.dueAt)
  return {
    timerAt: timers.reduce<number | null>((first, at) => (first === null ? at : Math.min(first, at)), null),
    doomed: doomed.length,
    delivered: waits.delivered,
    lines: addLines(moves.map(({ lines }) => lines)),
    arrived: through.rows,
    count: () =>
      countFanouts(db, withFewer(by["fanout.grow"], entered.fewer), [...by["run.settle"], ...entered.ended], by["join.add"], now),
  }
}

/** All that is done under the locks of limits: what time and entry rules decide, and who may go into line. */
async function giveRoom(
  db: Db,
  holds: readonly ChangeOf<"limit.hold">[],
  entering: readonly NewRun[],
  before: readonly Moved[],
  freed: readonly LimitClaim[],
  now: number,
): Promise<{ readonly entered: Entered; readonly through: LetThrough }> {
  const arriving = before.flatMap((moved) => moved.arrivals)
  const left = [...before.flatMap((moved) => moved.freed), ...freed]
  // All at once, so that the order of keys holds.
  if (holds.length > 0 || entering.length > 0) {
    const claimed = [...left, ...claimsOf(arriving)].map(({ key }) => key)
    await lockLimits(db, [...holds.map(({ key }) => key), ...entryKeys(entering), ...claimed])
  }
  await holdLimits(db, holds)
  // What has ended by now leaves its place to these.
  const entered = entering.length === 0 ? nothingEntered : await addEntering(db, entering, now)
  // Of runs that gave way to others. What somebody else gives out just now is looked at by the sweep for missed releases.
  const late = entered.moved.freed
  const { busy } = await tryLimits(
    db,
    late.map(({ key }) => key),
  )
  const open = [...left, ...late.filter(({ key }) => !busy.has(key))]
  return { entered, through: await letThrough(db, open, [...arriving, ...entered.moved.arrivals], now) }
}

/** Runs that just begin, and those of which an entry rule decides first. */
function byEntry(added: readonly ChangeOf<"run.add">[]): [plain: NewRun[], entering: NewRun[]] {
  const sides: [NewRun[], NewRun[]] = [[], []]
  for (const { run } of added) sides[run.entries === undefined ? 0 : 1].push(run)
  return sides
}

function deadlinesOf(waits: readonly ChangeOf<"wait.add">[]): number[] {
  return waits.flatMap(({ wait }) => (wait.kind === "deadline" && wait.dueAt !== null ? [wait.dueAt] : []))
}

/** Runs that end with whatever they waited for. */
function overOf(settled: readonly ChangeOf<"run.settle">[]): string[] {
  return settled.flatMap(({ run, settlement, waits }) => (waits === true && "output" in settlement ? [run.id] : []))
}

/** Runs that park, and what they wait for. */
function parksOf(settled: readonly ChangeOf<"run.settle">[]): { runId: string; keys: readonly string[] }[] {
  return settled.flatMap(({ run, settlement }) =>
    "awaits" in settlement && settlement.awaits !== undefined ? [{ runId: run.id, keys: settlement.awaits }] : [],
  )
}

/** Fan-outs without the runs that are not needed, since their events joined a batch. */
function withFewer(grown: readonly ChangeOf<"fanout.grow">[], fewer: ReadonlyMap<string, number>): readonly ChangeOf<"fanout.grow">[] {
  if (fewer.size === 0) return grown
  const left = new Map(fewer)
  return grown.map((change) => {
    const less = Math.min(change.runs, left.get(change.id) ?? 0)
    left.set(change.id, (left.get(change.id) ?? 0) - less)
    return less === 0 ? change : { ...change, runs: change.runs - less }
  })
}

type ByKind = { [K in Change["kind"]]: ChangeOf<K>[] }

function groupByKind(changes: readonly Change[]): ByKind {
  const by: ByKind = {
    "event.add": [],
    "run.add": [],
    "rows.add": [],
    "trace.add": [],
    "fanout.grow": [],
    "fanout.announce": [],
    "join.add": [],
    "tally.put": [],
    "wait.add": [],
    "wait.offer": [],
    "run.cancel": [],
    "step.copy": [],
    "batch.copy": [],
    "step.save": [],
    "log.add": [],
    "attempt.add": [],
    "limit.hold": [],
    "run.settle": [],
    "function.put": [],
    "app.put": [],
    "schedule.put": [],
    "schedule.drop": [],
  }
  for (const change of changes) (by[change.kind] as Change[]).push(change)
  return by
}

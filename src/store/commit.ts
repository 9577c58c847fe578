import type { Change, ChangeOf, Unit, UnitResult } from "../core/change.ts"
import type { Db } from "./db.ts"
import { addEvents, addFanouts, addRows, addRuns, type Refusals, refuseByKeys, withoutDuplicates } from "./commit-admit.ts"
import { addAttempts, addLogs, saveSteps, settleRuns } from "./commit-attempt.ts"
import { dropSchedules, moveSchedules, putApps, putFunctions, putSchedules } from "./commit-registry.ts"
import { releaseHeld } from "./queue.ts"
import { addTicks, decidedTicks } from "./commit-tick.ts"

export interface Committed {
  readonly results: readonly UnitResult[]
  /** The earliest timer among those that were set; null when none was. */
  readonly timerAt: number | null
}

/**
 * Makes units durable, many in one transaction; must run inside one. Each unit is applied whole or refused whole. Of each kind of
 * change there is one statement for all units together: the order of kinds is the one below, whatever the order within a unit.
 */
export async function commitUnits(db: Db, units: readonly Unit[], now: number): Promise<Committed> {
  const results: (UnitResult | undefined)[] = units.map(() => undefined)
  await refuseFenced(db, units, results)
  await refuseDecided(db, units, results)
  const duplicates = await refuseByKeys(db, units, results, now)

  const accepted: Change[] = []
  for (const [i, unit] of units.entries()) {
    if (results[i] !== undefined) continue
    const known = duplicates.get(i) ?? null
    accepted.push(...(known === null ? unit.changes : withoutDuplicates(unit.changes, known)))
    results[i] = { kind: "applied", duplicates: known }
  }
  const timerAt = await write(db, accepted, now)
  return { results: results.map((result) => result ?? { kind: "fenced" }), timerAt }
}

/** A unit whose claim is not the newest any more must leave no trace. */
async function refuseFenced(db: Db, units: readonly Unit[], results: Refusals): Promise<void> {
  const guarded = units.flatMap(({ guard }, i) => (guard === null ? [] : [[i, guard.runId, guard.fence] as const]))
  if (guarded.length === 0) return
  const fenced = await db.query<{ i: number }>(
    `select i from ${db.dialect.rows("$1", [
      ["i", "bigint"],
      ["run_id", "text"],
      ["fence", "bigint"],
    ])} as j where not exists (select 1 from lease where lease.run_id = j.run_id and lease.fence = j.fence)`,
    [JSON.stringify(guarded)],
  )
  for (const { i } of fenced) results[i] = { kind: "fenced" }
}

async function refuseDecided(db: Db, units: readonly Unit[], results: Refusals): Promise<void> {
  const ticks = units.flatMap(({ changes }, i) => ofKind(changes, "tick.add").map(({ tick }) => [i, tick.scheduleId, tick.at] as const))
  if (ticks.length === 0) return
  for (const i of await decidedTicks(db, ticks)) results[i] = { kind: "duplicate" }
}

async function write(db: Db, changes: readonly Change[], now: number): Promise<number | null> {
  const by = groupByKind(changes)
  await putApps(db, by["app.put"])
  await putFunctions(db, by["function.put"])
  await putSchedules(db, by["schedule.put"])
  await dropSchedules(db, by["schedule.drop"])
  await moveSchedules(db, by["schedule.move"])
  await addTicks(db, by["tick.add"])
  await addEvents(db, by["event.add"], now)
  const heldKeys = await addRows(db, by["rows.add"])
  await addFanouts(db, by["fanout.grow"])
  await saveSteps(db, by["step.save"])
  await addAttempts(db, by["attempt.add"])
  await addLogs(db, by["log.add"])
  const settled = await settleRuns(db, by["run.settle"])
  const added = await addRuns(db, by["run.add"], now)
  await releaseHeld(db, [...settled.keys, ...added.keys, ...heldKeys])
  const timers = [...settled.timers, ...added.timers]
  return timers.length === 0 ? null : Math.min(...timers)
}

type ByKind = { [K in Change["kind"]]: ChangeOf<K>[] }

function groupByKind(changes: readonly Change[]): ByKind {
  const by: ByKind = {
    "event.add": [],
    "run.add": [],
    "rows.add": [],
    "fanout.grow": [],
    "tick.add": [],
    "schedule.move": [],
    "step.save": [],
    "log.add": [],
    "attempt.add": [],
    "run.settle": [],
    "function.put": [],
    "app.put": [],
    "schedule.put": [],
    "schedule.drop": [],
  }
  for (const change of changes) (by[change.kind] as Change[]).push(change)
  return by
}

function ofKind<K extends Change["kind"]>(changes: readonly Change[], kind: K): ChangeOf<K>[] {
  return changes.filter((change): change is ChangeOf<K> => change.kind === kind)
}

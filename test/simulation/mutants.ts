import type { Unit } from "../../src/core/change.ts"
import type { Db } from "../../src/store/db.ts"
import type { Store } from "../../src/store/store.ts"
import { simulate } from "./simulate.ts"

/** Deliberate bugs. One that no seed finds would mean that a check is missing. */
export const mutants: Readonly<Record<string, (store: Store, db: Db) => Store>> = {
  "writes of an old claim are let through": (store) => changeUnits(store, (unit) => ({ ...unit, guard: null })),
  "an event's id is forgotten": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) => (change.kind === "event.add" ? { ...change, event: { ...change.event, key: null } } : change)),
    })),
  "a send is not kept with its events": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.filter((change) => !(change.kind === "step.save" && change.step.kind === "send")),
    })),
  "a finished step is not kept": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.filter((change) => !(change.kind === "step.save" && change.step.kind === "run")),
    })),
  "a schedule forgets what it has decided": (store, db) => ({
    ...store,
    async tick(chance) {
      const ticked = await store.tick(chance)
      for (const { scheduleId, at } of ticked.ticks.slice(0, 1)) {
        await db.execute("delete from tick where schedule_id = $1 and at = $2", [scheduleId, at])
        await db.execute("update schedule set next_tick_at = $2, next_at = $2 where id = $1 and next_tick_at > $2", [scheduleId, at])
      }
      return ticked
    },
  }),
  "a moment of a schedule is not recorded": (store, db) => ({
    ...store,
    async tick(chance) {
      const ticked = await store.tick(chance)
      for (const { scheduleId, at, runId } of ticked.ticks) {
        if (runId === null) await db.execute("delete from tick where schedule_id = $1 and at = $2", [scheduleId, at])
      }
      return ticked
    },
  }),
  "a schedule forgets what it has started": (store, db) => ({
    ...store,
    async tick(chance) {
      await db.execute("update schedule set last_event_id = null")
      return store.tick(chance)
    },
  }),
  "an event is not offered to those who wait for it": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.filter((change) => !(change.kind === "wait.offer" && change.offer.topic.startsWith("event:"))),
    })),
  "the end of a run is not told": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.filter((change) => !(change.kind === "event.add" && change.event.name === "fanfare/function.cancelled")),
    })),
  "the waits of a run outlive it": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) => (change.kind === "run.settle" ? { ...change, waits: false } : change)),
    })),
  "a send is acknowledged before it is durable": (store) => ({
    ...store,
    turn: async (request) => {
      const sends = request.units.every(({ guard }) => guard === null)
      if (!sends || request.units.length === 0 || request.claim !== null) return store.turn(request)
      return {
        results: request.units.map(() => ({ kind: "applied", duplicates: null })),
        claim: null,
        timerAt: null,
        left: 0,
        ended: 0,
        opened: [],
        now: Number.NaN,
      }
    },
  }),
  "runs of dead nodes are not taken over": (store) => ({ ...store, lost: async () => [] }),
  "an ended run is not counted in its fan-out": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) =>
        change.kind === "run.settle" ? { ...change, run: { ...change.run, fanoutId: null } } : change,
      ),
    })),
  "what holds a run back is forgotten": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) => (change.kind === "run.add" ? { ...change, run: { ...change.run, limits: [] } } : change)),
    })),
  "what decides about new runs is left out": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) => {
        if (change.kind !== "run.add") return change
        const { entries: _, ...run } = change.run
        return { ...change, run }
      }),
    })),
  "a canary lets all runs go": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) =>
        change.kind === "run.add"
          ? { ...change, run: { ...change.run, limits: change.run.limits.filter(({ key }) => !key.startsWith("fan:")) } }
          : change,
      ),
    })),
  "a run that has begun gives up its place in the gate": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) =>
        change.kind === "run.settle"
          ? { ...change, run: { ...change.run, limits: change.run.limits.filter(({ key }) => !key.endsWith("/in")) } }
          : change,
      ),
    })),
  "a retry does not wait": (store) =>
    changeUnits(store, (unit) => ({
      ...unit,
      changes: unit.changes.map((change) =>
        change.kind === "run.settle" && change.settlement.to === "scheduled"
          ? { ...change, settlement: { ...change.settlement, to: "ready" as const, dueAt: change.endedAt } }
          : change,
      ),
    })),
}

function changeUnits(store: Store, change: (unit: Unit) => Unit): Store {
  return { ...store, turn: (request) => store.turn({ ...request, units: request.units.map(change) }) }
}

/** The first seed up to `most` under which a check sees the bug; null if none does. */
export async function findMutant(mutate: (store: Store, db: Db) => Store, most: number): Promise<number | null> {
  for (let seed = 1; seed <= most; seed++) if ((await simulate(seed, mutate)).violations.length > 0) return seed
  return null
}

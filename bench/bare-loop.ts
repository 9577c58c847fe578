import { performance } from "node:perf_hooks"
import type { ClaimedRun } from "#house/core/run.js"
import type { Change } from "#house/core/change.js"
import { systemClock } from "#house/engine/system.js"
import type { Db } from "#house/store/db.js"
import { openStore } from "#house/store/store.js"

/** Runs in one transaction: a size at which both databases are near their best. */
const batch = 500

/**
 * The limit: the same rows, by the same statements, written by a loop that does nothing else. No threads, no messages, no user code, no
 * engine: one transaction after the other on one connection, as durable as the engine is.
 */
export async function bareLoop(db: Db, jobs: number, withStep: boolean): Promise<{ runsPerSecond: number }> {
  const store = await openStore(db, systemClock)
  const changes = rows(jobs)
  const began = performance.now()
  await store.turn({ units: [{ changes, guard: null, registry: null }], claim: null })
  const request = { nodeId: "bare", functionIds: ["bench-noop"], limit: batch, after: "" }
  let held = (await store.turn({ units: [], claim: request })).claim?.runs ?? []
  while (held.length > 0) {
    if (withStep)
      await store.turn({
        units: held.map((run) => ({ changes: [step(run)], guard: { runId: run.id, fence: run.fence }, registry: null })),
        claim: null,
      })
    const units = held.map((run) => ({ changes: [settle(run)], guard: { runId: run.id, fence: run.fence }, registry: null }))
    held = (await store.turn({ units, claim: request })).claim?.runs ?? []
  }
  const seconds = (performance.now() - began) / 1_000
  await store.close()
  return { runsPerSecond: jobs / seconds }
}

function rows(jobs: number): Change[] {
  const now = Date.now()
  const id = (kind: string, i: number): string => `${kind}_${String(i).padStart(22, "0")}`
  const changes: Change[] = []
  for (let i = 0; i < jobs; i++) {
    const data = JSON.stringify({ i, text: "x".repeat(150) })
    changes.push({
      kind: "event.add",
      event: { id: id("evt", i), key: null, name: "bench/noop", data, ts: now, receivedAt: now, fanoutId: "fan_bare", sourceRunId: null },
    })
    changes.push({
      kind: "run.add",
      run: {
        id: id("run", i),
        functionId: "bench-noop",
        eventId: id("evt", i),
        fanoutId: "fan_bare",
        parentId: null,
        createdAt: now,
        dueAt: now,
        limits: [],
      },
    })
  }
  const whole = { key: null, from: 0, taken: jobs, cursor: null, sealed: true, rules: null, runsBefore: 0 }
  changes.push({ kind: "fanout.grow", id: "fan_bare", runId: null, name: "bench/noop", events: jobs, runs: jobs, at: now, ...whole })
  return changes
}

function settle(run: ClaimedRun): Change {
  const now = Date.now()
  return {
    kind: "run.settle",
    run,
    attempt: run.attempt,
    startedAt: now,
    endedAt: now,
    settlement: { to: "completed", output: "null", failure: null },
  }
}

function step(run: ClaimedRun): Change {
  const now = Date.now()
  return {
    kind: "step.save",
    runId: run.id,
    fence: run.fence,
    step: {
      key: "work",
      kind: "run",
      state: "completed",
      attempts: 1,
      output: "1",
      failure: null,
      dueAt: null,
      startedAt: now,
      endedAt: now,
    },
  }
}

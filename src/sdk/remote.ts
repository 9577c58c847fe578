import type { Intake } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import type { Fanouts } from "../core/fanouts.ts"
import { hasEnded } from "../core/join.ts"
import type { Runs } from "../core/runs.ts"
import { traceHeaders } from "../core/trace.ts"
import type { Client } from "../protocol/client.ts"
import { remoteClient } from "./remote-call.ts"
import { remoteSchedules } from "./remote-schedules.ts"
import { sendSource } from "./remote-source.ts"

/** Sends and asks over HTTP, for processes in which no engine runs. */
export function remoteIntake(configured: string | undefined): Intake {
  const ask = remoteClient(configured)
  return {
    fanouts: remoteFanouts(ask),
    schedules: remoteSchedules(ask),
    runs: remoteRuns(ask),
    ...remoteFlowControl(ask),
    sendSignal: (signal, data) => ask("signals", { body: { signal, data } }),
    async send(events, { joined, rules, trace = null } = {}) {
      if (joined !== undefined) throw needsEngine()
      const plain = rules === undefined || Object.keys(rules).length === 0
      return ask("events", { body: plain ? events : { events, rules }, headers: traceHeaders(trace) })
    },
    sendSource: (send, pull) => sendSource(ask, send, pull),
    sendFromSql: async () => {
      throw needsEngine()
    },
  }
}

function remoteFanouts(ask: Client): Fanouts {
  return {
    get: (id) => ask("fanout", { params: { id } }),
    list: ({ after, limit } = {}) => ask("fanouts", { query: { after, limit } }),
    failures: async (id) => (await ask("fanoutFailures", { params: { id } })).items,
    retry: (id, options = {}) => ask("fanoutRetry", { params: { id }, body: options }),
    cancel: (id) => ask("fanoutCancel", { params: { id }, body: {} }),
    pause: (id) => ask("fanoutPause", { params: { id }, body: {} }),
    resume: (id) => ask("fanoutResume", { params: { id }, body: {} }),
    operation: (id) => ask("operation", { params: { id } }),
    plan: (events) => ask("fanoutPlan", { body: events }),
    async wait(id, timeoutMs = Number.POSITIVE_INFINITY) {
      // The server holds the answer back for a while: nobody polls.
      for (let rest = timeoutMs; ; rest -= waitMs) {
        const seen = await ask("fanoutWait", { params: { id }, query: { wait: Math.max(0, Math.min(rest, waitMs)) } })
        if (hasEnded(seen) || rest <= waitMs) return seen
      }
    },
  }
}

function remoteRuns(ask: Client): Runs {
  return {
    get: (id) => ask("run", { params: { id } }),
    list: ({ functionId, fanoutId, eventId, ...filter } = {}) =>
      ask("runs", { query: { ...filter, function: functionId, fanout: fanoutId, event: eventId } }),
    cancel: (id, reason) => ask("runCancel", { params: { id }, body: reason === undefined ? {} : { reason } }),
    replay: (id, options = {}) => ask("runReplay", { params: { id }, body: options }),
    retry: (id) => ask("runRetry", { params: { id }, body: {} }),
    count: async (filter) => (await ask("runsCount", { body: filter })).count,
    bulk: (kind, filter) => ask("runsBulk", { body: { kind, filter } }),
    operations: ({ after, limit } = {}) => ask("operations", { query: { after, limit } }),
    stop: (operationId) => ask("operationStop", { params: { id: operationId }, body: {} }),
  }
}

function remoteFlowControl(ask: Client): Pick<Intake, "functions" | "limits"> {
  return {
    functions: {
      list: () => ask("functions"),
      pause: async (id, options = {}) => void (await ask("functionPause", { params: { id }, body: options })),
      resume: async (id) => void (await ask("functionResume", { params: { id }, body: {} })),
    },
    limits: {
      list: ({ functionId, ...filter } = {}) => ask("limits", { query: { ...filter, function: functionId } }),
      set: async (id, max) => void (await ask("limit", { params: { id }, body: { max } })),
      reset: async (id) => void (await ask("limit", { params: { id }, body: { max: null } })),
    },
  }
}

const waitMs = 20_000

/** For sends that join a transaction of this process. */
export function needsEngine(): FanfareError {
  return new FanfareError("not_connected", "a send can join a transaction only where an engine runs in the same process", {
    field: "tx",
    hint: "Start one here with createServer({ client, db }). Many nodes may share a PostgreSQL.",
  })
}

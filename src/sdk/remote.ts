import type { Intake, SendResult } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import type { FailureGroup, Fanouts } from "../core/fanouts.ts"
import { hasEnded } from "../core/join.ts"
import type { FanoutSummary, Page } from "../core/views.ts"
import type { Runs } from "../core/runs.ts"
import { type EventsWithRules, paths } from "../protocol/api.ts"
import { type Ask, type Asked, call } from "./remote-call.ts"
import { sendSource } from "./remote-source.ts"
import { remoteSchedules } from "./remote-schedules.ts"

/** Sends and asks over HTTP, for processes in which no engine runs. */
export function remoteIntake(configured: string | undefined): Intake {
  const ask: Ask = (path, request = {}) => call(configured, path, request)
  const fanout = (id: string): Asked => ({ params: { id } })
  const fanouts: Fanouts = {
    get: (id) => ask(paths.fanout, fanout(id)),
    list: ({ after, limit } = {}) => ask(paths.fanouts, { query: { after, limit } }),
    failures: async (id) => (await ask<Page<FailureGroup>>(paths.fanoutFailures, fanout(id))).items,
    retry: (id, options = {}) => ask(paths.fanoutRetry, { ...fanout(id), body: options }),
    cancel: (id) => ask(paths.fanoutCancel, { ...fanout(id), body: {} }),
    pause: (id) => ask(paths.fanoutPause, { ...fanout(id), body: {} }),
    resume: (id) => ask(paths.fanoutResume, { ...fanout(id), body: {} }),
    operation: (id) => ask(paths.operation, fanout(id)),
    plan: (events) => ask(paths.fanoutPlan, { body: events }),
    async wait(id, timeoutMs = Number.POSITIVE_INFINITY) {
      // The server holds the answer back for a while: nobody polls.
      for (let rest = timeoutMs; ; rest -= waitMs) {
        const seen = await ask<FanoutSummary>(paths.fanoutWait, { ...fanout(id), query: { wait: Math.max(0, Math.min(rest, waitMs)) } })
        if (hasEnded(seen) || rest <= waitMs) return seen
      }
    },
  }
  const runs: Runs = {
    get: (id) => ask(paths.run, { params: { id } }),
    list: ({ functionId, fanoutId, ...filter } = {}) => ask(paths.runs, { query: { ...filter, function: functionId, fanout: fanoutId } }),
    cancel: (id, reason) => ask(paths.runCancel, { params: { id }, body: reason === undefined ? {} : { reason } }),
    replay: (id, options = {}) => ask(paths.runReplay, { params: { id }, body: options }),
    retry: (id) => ask(paths.runRetry, { params: { id }, body: {} }),
    count: async (filter) => (await ask<{ count: number }>(paths.runsCount, { body: filter })).count,
    bulk: (kind, filter) => ask(paths.runsBulk, { body: { kind, filter } }),
    operations: ({ after, limit } = {}) => ask(paths.operations, { query: { after, limit } }),
    stop: (operationId) => ask(paths.operationStop, { params: { id: operationId }, body: {} }),
  }
  return {
    fanouts,
    schedules: remoteSchedules(ask),
    runs,
    ...remoteFlowControl(ask),
    sendSignal: (signal, data) => ask(paths.signals, { body: { signal, data } }),
    async send(events, { joined, rules } = {}) {
      if (joined !== undefined) throw needsEngine()
      const plain = rules === undefined || Object.keys(rules).length === 0
      return ask<SendResult>(paths.events, { body: plain ? events : ({ events, rules } satisfies EventsWithRules) })
    },
    sendSource: (send, pull) => sendSource(ask, send, pull),
    sendFromSql: async () => {
      throw needsEngine()
    },
  }
}

function remoteFlowControl(ask: Ask): Pick<Intake, "functions" | "limits"> {
  return {
    functions: {
      list: () => ask(paths.functions),
      pause: (id, options = {}) => ask(paths.functionPause, { params: { id }, body: options }),
      resume: (id) => ask(paths.functionResume, { params: { id }, body: {} }),
    },
    limits: {
      list: ({ functionId, ...filter } = {}) => ask(paths.limits, { query: { ...filter, function: functionId } }),
      set: (id, max) => ask(paths.limit, { params: { id }, body: { max } }),
      reset: (id) => ask(paths.limit, { params: { id }, body: { max: null } }),
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

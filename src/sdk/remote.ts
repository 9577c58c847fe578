import type { Intake, SendResult } from "../core/attempt.ts"
import { type ErrorCode, FanfareError, codes } from "../core/errors.ts"
import type { FailureGroup, Fanouts } from "../core/fanouts.ts"
import { hasEnded } from "../core/join.ts"
import type { FanoutSummary, Page } from "../core/views.ts"
import { paths, type Problem } from "../protocol/api.ts"
import { remoteSchedules } from "./remote-schedules.ts"

/** Sends and asks over HTTP, for processes in which no engine runs. */
export function remoteIntake(configured: string | undefined): Intake {
  const ask = <T>(path: string, request: Asked = {}): Promise<T> => call(configured, path, request)
  const fanout = (id: string): Asked => ({ params: { id } })
  const fanouts: Fanouts = {
    get: (id) => ask(paths.fanout, fanout(id)),
    list: ({ after, limit } = {}) => ask(paths.fanouts, { query: { after, limit } }),
    failures: async (id) => (await ask<Page<FailureGroup>>(paths.fanoutFailures, fanout(id))).items,
    retry: (id, options = {}) => ask(paths.fanoutRetry, { ...fanout(id), body: options }),
    cancel: (id) => ask(paths.fanoutCancel, { ...fanout(id), body: {} }),
    operation: (id) => ask(paths.operation, fanout(id)),
    async wait(id, timeoutMs = Number.POSITIVE_INFINITY) {
      // The server holds the answer back for a while: nobody polls.
      for (let rest = timeoutMs; ; rest -= waitMs) {
        const seen = await ask<FanoutSummary>(paths.fanoutWait, { ...fanout(id), query: { wait: Math.max(0, Math.min(rest, waitMs)) } })
        if (hasEnded(seen) || rest <= waitMs) return seen
      }
    },
  }
  return {
    fanouts,
    schedules: remoteSchedules(ask),
    async send(events, joined) {
      if (joined !== undefined) throw needsEngine()
      return ask<SendResult>(paths.events, { body: events })
    },
    sendFromSql: async () => {
      throw needsEngine()
    },
  }
}

const waitMs = 20_000

/** One request: GET without a body, else POST unless `method` says otherwise. */
export interface Asked {
  readonly method?: "PATCH" | "DELETE"
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly body?: unknown
}

async function call<T>(configured: string | undefined, path: string, { method, params = {}, query = {}, body }: Asked): Promise<T> {
  const url = configured ?? environment("FANFARE_URL")
  if (url === undefined) {
    throw new FanfareError("not_connected", "there is no engine to send to: none runs in this process and no URL is set", {
      hint: "Start one with createServer({ client }), run this file with `fanfare dev`, or set FANFARE_URL.",
    })
  }
  const target = new URL(
    path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? "")),
    url,
  )
  for (const [name, value] of Object.entries(query)) if (value !== undefined) target.searchParams.set(name, String(value))
  let response: Response
  try {
    response = await fetch(
      target,
      body === undefined ? {} : { method: method ?? "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) },
    )
  } catch (cause) {
    throw new FanfareError("not_connected", `nothing answers at ${url}`, { cause, hint: "Start a server there, or correct FANFARE_URL." })
  }
  const answer: unknown = await response.json().catch(() => null)
  if (response.ok) return answer as T
  throw fromProblem(answer, response.status)
}

/** For sends that join a transaction of this process. */
export function needsEngine(): FanfareError {
  return new FanfareError("not_connected", "a send can join a transaction only where an engine runs in the same process", {
    field: "tx",
    hint: "Start one here with createServer({ client, db }). Many nodes may share a PostgreSQL.",
  })
}

/** An error answer of the API as the error that the server met. */
export function fromProblem(body: unknown, status: number): FanfareError {
  const problem = (typeof body === "object" && body !== null ? body : {}) as Partial<Problem>
  const code: ErrorCode = problem.code !== undefined && problem.code in codes ? problem.code : "internal"
  return new FanfareError(code, problem.detail ?? `the server answered ${status}`, {
    ...(problem.field === undefined ? {} : { field: problem.field }),
    ...(problem.bound === undefined ? {} : { bound: problem.bound }),
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
  })
}

function environment(name: string): string | undefined {
  const value = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name]
  return value === "" ? undefined : value
}

import type { Intake, Joined, SendResult } from "../core/attempt.ts"
import { type ErrorCode, FanfareError, codes } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import { paths, type Problem } from "../protocol/api.ts"

/** Sends over HTTP, for processes in which no engine runs. */
export function remoteIntake(configured: string | undefined): Intake {
  return {
    async send(events: readonly EventInput[], joined?: Joined): Promise<SendResult> {
      if (joined !== undefined) throw needsEngine()
      const url = configured ?? environment("FANFARE_URL")
      if (url === undefined) {
        throw new FanfareError("not_connected", "there is no engine to send to: none runs in this process and no URL is set", {
          hint: "Start one with createServer({ client }), run this file with `fanfare dev`, or set FANFARE_URL.",
        })
      }
      let response: Response
      try {
        response = await fetch(new URL(paths.events, url), {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(events),
        })
      } catch (cause) {
        throw new FanfareError("not_connected", `nothing answers at ${url}`, {
          cause,
          hint: "Start a server there, or correct FANFARE_URL.",
        })
      }
      const body: unknown = await response.json().catch(() => null)
      if (response.ok) return body as SendResult
      throw fromProblem(body, response.status)
    },
    sendFromSql: async () => {
      throw needsEngine()
    },
  }
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

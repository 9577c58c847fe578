import { codes, type ErrorCode, FanfareError } from "../core/errors.ts"
import { isBusy } from "../core/retry.ts"
import type { Problem } from "../protocol/api.ts"
import { type Client, createClient } from "../protocol/client.ts"
import { bearerOf } from "../protocol/signature.ts"
import { below } from "./below.ts"
import { environment } from "./environment.ts"

/** @param configured where; default: the environment's `FANFARE_URL` */
export function remoteClient(configured: string | undefined): Client {
  const url = (): string => {
    const known = configured ?? environment("FANFARE_URL")
    if (known !== undefined) return known
    throw new FanfareError("not_connected", "there is no engine to send to: none runs in this process and no URL is set", {
      hint: "Start one with createServer({ client }), run this file with `fanfare dev`, or set FANFARE_URL.",
    })
  }
  return createClient({
    address: (path) => below(url(), path),
    async send(target, request) {
      try {
        const key = environment("FANFARE_SIGNING_KEY")
        const authorization = key === undefined ? {} : { authorization: `Bearer ${await bearerOf(key)}` }
        return await fetch(target, { ...request, headers: { ...request.headers, ...authorization } })
      } catch (cause) {
        throw new FanfareError("not_connected", `nothing answers at ${url()}`, {
          cause,
          hint: "Start a server there, or correct FANFARE_URL.",
        })
      }
    },
    refused: fromProblem,
  })
}

/** An error answer of the API as the error that the server met. */
export function fromProblem(problem: Partial<Problem>, { status, headers }: Response): FanfareError {
  const code: ErrorCode = problem.code !== undefined && problem.code in codes ? problem.code : "internal"
  const retryAfter = headers.get("retry-after") ?? ""
  // A date is measured by no clock of ours here: seconds are what servers say.
  const seconds = isBusy(status) && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : null
  return new FanfareError(code, problem.detail ?? `the server answered ${status}`, {
    ...(problem.field === undefined ? {} : { field: problem.field }),
    ...(problem.bound === undefined ? {} : { bound: problem.bound }),
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
    ...(seconds === null ? {} : { retryAfterMs: seconds * 1_000 }),
  })
}

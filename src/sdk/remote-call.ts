import { codes, type ErrorCode, FanfareError } from "../core/errors.ts"
import type { Problem } from "../protocol/api.ts"
import { isBusy } from "../core/retry.ts"
import { bearerOf } from "../protocol/signature.ts"
import { below } from "./below.ts"
import { environment } from "./environment.ts"

/** One request: GET without a body, else POST unless `method` says otherwise. */
export interface Asked {
  readonly method?: "PATCH" | "DELETE"
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly body?: unknown
}

export type Ask = <T>(path: string, request?: Asked) => Promise<T>

/** @param configured where; default: the environment's `FANFARE_URL` */
export async function call<T>(configured: string | undefined, path: string, { method, params = {}, query = {}, body }: Asked): Promise<T> {
  const url = configured ?? environment("FANFARE_URL")
  if (url === undefined) {
    throw new FanfareError("not_connected", "there is no engine to send to: none runs in this process and no URL is set", {
      hint: "Start one with createServer({ client }), run this file with `fanfare dev`, or set FANFARE_URL.",
    })
  }
  const target = below(
    url,
    path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? "")),
  )
  for (const [name, value] of Object.entries(query)) if (value !== undefined) target.searchParams.set(name, String(value))
  let response: Response
  try {
    const key = environment("FANFARE_SIGNING_KEY")
    const authorization = key === undefined ? {} : { authorization: `Bearer ${await bearerOf(key)}` }
    response = await fetch(
      target,
      body === undefined
        ? { headers: authorization }
        : { method: method ?? "POST", headers: { ...authorization, "content-type": "application/json" }, body: JSON.stringify(body) },
    )
  } catch (cause) {
    throw new FanfareError("not_connected", `nothing answers at ${url}`, { cause, hint: "Start a server there, or correct FANFARE_URL." })
  }
  const answer: unknown = await response.json().catch(() => null)
  if (response.ok) return answer as T
  throw fromProblem(answer, response.status, response.headers.get("retry-after"))
}

/** An error answer of the API as the error that the server met. @param retryAfter the header of that name */
export function fromProblem(body: unknown, status: number, retryAfter: string | null = null): FanfareError {
  const problem = (typeof body === "object" && body !== null ? body : {}) as Partial<Problem>
  const code: ErrorCode = problem.code !== undefined && problem.code in codes ? problem.code : "internal"
  // A date is measured by no clock of ours here: seconds are what servers say.
  const seconds = isBusy(status) && /^\d{1,6}$/.test(retryAfter ?? "") ? Number(retryAfter) : null
  return new FanfareError(code, problem.detail ?? `the server answered ${status}`, {
    ...(problem.field === undefined ? {} : { field: problem.field }),
    ...(problem.bound === undefined ? {} : { bound: problem.bound }),
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
    ...(seconds === null ? {} : { retryAfterMs: seconds * 1_000 }),
  })
}

import type { Context } from "hono"
import { codes, FanfareError } from "../core/errors.ts"
import type { Problem } from "../protocol/api.ts"

/** The answer to a request that failed: what is wrong with it is said; what went wrong here is not. */
export function problem(c: Context, thrown: unknown): Response {
  const error =
    thrown instanceof FanfareError ? thrown : new FanfareError("internal", "something went wrong inside Fanfare", { cause: thrown })
  const { code, message: detail, field, bound, hint } = error
  const status = codes[code].http
  const body: Problem = {
    title: code.replaceAll("_", " "),
    status,
    detail,
    code,
    ...(field === undefined ? {} : { field }),
    ...(bound === undefined ? {} : { bound }),
    ...(hint === undefined ? {} : { hint }),
  }
  return c.json(body, status, { "content-type": "application/problem+json" })
}

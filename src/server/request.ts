import type { Context } from "hono"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { readTrace } from "../core/trace.ts"
import { isObject } from "../protocol/ops.ts"

/** The body as JSON; null when there is none. */
export async function jsonBody(c: Context): Promise<unknown> {
  const text = await c.req.text()
  if (text.trim() === "") return null
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new FanfareError("not_json", `the request's body is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      field: "body",
      cause,
    })
  }
}

/** Where the request stands in a trace, if it says so. */
export function traceIn(c: Context): string | null {
  return readTrace(c.req.header("traceparent"), c.req.header("tracestate"))
}

/** The fields of a body that is an object; none when there is no body. @throws FanfareError `not_json`, `invalid_option` */
export async function objectBody(c: Context): Promise<Readonly<Record<string, unknown>>> {
  const body = (await jsonBody(c)) ?? {}
  if (isObject(body)) return body
  throw new FanfareError("invalid_option", "the body must be a JSON object", { field: "body" })
}

/** Whether a body of this content type is a form. */
export function isForm(type: string): boolean {
  return type.startsWith("multipart/form-data") || type.startsWith("application/x-www-form-urlencoded")
}

/** `?limit=` */
export function pageSize(c: Context): number | undefined {
  return wholeNumber(c, "limit", limits.pageRowsMax)
}

/** A whole number from 1 to `most` in the query; undefined when it is not there. */
export function wholeNumber(c: Context, field: string, most: number): number | undefined {
  const text = c.req.query(field)
  if (text === undefined) return undefined
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1 && value <= most) return value
  throw new FanfareError("invalid_option", `${field} must be a whole number from 1 to ${most}`, { field, bound: most })
}

import type { Context } from "hono"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { readTrace } from "../core/trace.ts"

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

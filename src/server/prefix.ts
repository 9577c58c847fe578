import type { Context } from "hono"

/** The path that a proxy takes off before it asks us, as it says with `x-forwarded-prefix`; empty without one. */
export function prefixOf(c: Context): string {
  const prefix = c.req.header("x-forwarded-prefix") ?? ""
  return /^(\/[\w.~-]+)+$/.test(prefix) ? prefix : ""
}

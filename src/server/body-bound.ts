import type { MiddlewareHandler } from "hono"
import { bodyLimit } from "hono/body-limit"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"

/**
 * Requests are bounded. Where the length is said, that is looked at alone: `bodyLimit` looks at the body too, which has it made into a stream
 * of the web's kind, at three times the cost of all else that is done for a short request. Node sees to it that no more comes than was said.
 */
export function bodyBound(): MiddlewareHandler {
  const counted = bodyLimit({ maxSize: limits.bodyBytes, onError: tooLarge })
  return (c, next) => {
    const length = c.req.header("content-length")
    if (length === undefined || c.req.header("transfer-encoding") !== undefined) return counted(c, next)
    return Number(length) <= limits.bodyBytes ? next() : tooLarge()
  }
}

function tooLarge(): never {
  throw new FanfareError("too_large", `the request is over ${limits.bodyBytes} bytes`, { field: "body", bound: limits.bodyBytes })
}

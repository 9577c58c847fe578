import { RetryAfterError } from "../core/errors.ts"
import { isBusy, retryAfterHeader } from "../core/retry.ts"
import { traceHeaders } from "../core/trace.ts"
import { activeTrace } from "../otel/spans.ts"
import type { FetchInit, FetchResult } from "./step.ts"

/** How long a service is left alone that is busy and does not say how long. */
const restMs = 30_000

/**
 * One request; whatever is answered is a result, but that a service is busy when `limit` is given: then it is asked again later.
 * @throws RetryAfterError
 */
export async function request(
  url: string | URL,
  { method = "GET", headers = {}, body, limit }: FetchInit,
  now: number,
  trace: string | null,
): Promise<FetchResult> {
  const response = await fetch(url, {
    method,
    headers: { ...traceHeaders(activeTrace() ?? trace), ...headers },
    ...(body === undefined ? {} : { body }),
  })
  const { status } = response
  if (limit !== undefined && isBusy(status)) {
    const at = retryAfterHeader(response.headers.get("retry-after"), now) ?? now + restMs
    await response.body?.cancel()
    throw new RetryAfterError(`${new URL(response.url).host} answered ${status}: it is busy`, new Date(at), { limit })
  }
  return { url: response.url, status, headers: Object.fromEntries(response.headers), body: await response.text() }
}

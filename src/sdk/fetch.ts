import type { FetchInit, FetchResult } from "./step.ts"

/** One request; whatever is answered is a result. */
export async function request(url: string | URL, { method = "GET", headers = {}, body }: FetchInit): Promise<FetchResult> {
  const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) })
  return { url: response.url, status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() }
}

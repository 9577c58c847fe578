import { FanfareError } from "../core/errors.ts"
import { bearerOf } from "../protocol/signature.ts"
import { below } from "../sdk/below.ts"
import { fromProblem } from "../sdk/remote-call.ts"
import type { Globals } from "./globals.ts"

/** Calls the HTTP API; `params` fill the `:names` of the path. */
export async function call<T>(
  { url }: Globals,
  path: string,
  options: {
    readonly params?: Readonly<Record<string, string>>
    readonly query?: Readonly<Record<string, string | undefined>>
    readonly body?: unknown
  } = {},
): Promise<T> {
  const filled = path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(options.params?.[name] ?? ""))
  let target: URL
  try {
    target = below(url, filled)
  } catch (cause) {
    throw new FanfareError("invalid_option", `--url: "${url}" is not a URL`, { field: "url", cause })
  }
  for (const [name, value] of Object.entries(options.query ?? {})) if (value !== undefined) target.searchParams.set(name, value)
  let response: Response
  try {
    const bearer = await bearerFrom(process.env)
    const headers = {
      ...(options.body === undefined ? {} : { "content-type": "application/json" }),
      ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
    }
    response = await fetch(target, {
      headers,
      ...(options.body === undefined ? {} : { method: "POST", body: JSON.stringify(options.body) }),
    })
  } catch (cause) {
    throw new FanfareError("not_connected", `nothing answers at ${url}`, {
      cause,
      hint: "Start it with `fanfare dev`, or point to another with --url or FANFARE_URL.",
    })
  }
  const answer: unknown = await response.json().catch(() => null)
  if (!response.ok) throw fromProblem(answer, response.status)
  return answer as T
}

/** Of the keys in the environment the one that may most. */
async function bearerFrom(env: NodeJS.ProcessEnv): Promise<string | null> {
  const { FANFARE_SIGNING_KEY: signing, FANFARE_ADMIN_KEY: admin, FANFARE_READ_KEY: read } = env
  if (signing !== undefined && signing !== "") return bearerOf(signing)
  return [admin, read].find((key) => key !== undefined && key !== "") ?? null
}

import type { App, HostedFunction } from "../core/app.ts"
import { FanfareError } from "../core/errors.ts"
import { toFailure } from "../core/failure.ts"
import { limits } from "../core/limits.ts"
import { readTrace } from "../core/trace.ts"
import { parseCall } from "../protocol/call.ts"
import { canonicalJson } from "../protocol/canonical.ts"
import { headers as names } from "../protocol/names.ts"
import { registrationOf } from "../protocol/registration-body.ts"
import { bearerOf, type SigningKeys, signingKeys } from "../protocol/signature.ts"
import { below } from "./below.ts"
import { environment } from "./environment.ts"
import { answerCall, type Served } from "./serve-call.ts"
import { platformClock } from "./serve-clock.ts"

export interface ServeOptions {
  /** The app whose functions are served. */
  readonly client: App
  /** Which of them; default all. */
  readonly functions?: readonly Pick<HostedFunction, "definition">[]
  /** The Fanfare server: default `FANFARE_URL`, else `http://127.0.0.1:8288`. */
  readonly url?: string
  /**
   * Shared with the server, so that nobody else can call the functions: default `FANFARE_SIGNING_KEY`. Without one only a server in
   * development may call, and nothing is served where `NODE_ENV` is `production`.
   */
  readonly signingKey?: string
  /** Accepted too, while keys are changed: default `FANFARE_SIGNING_KEY_FALLBACK`. */
  readonly signingKeyFallback?: string
  /** Key for sends: default `FANFARE_EVENT_KEY`. */
  readonly eventKey?: string
  /** Where this handler is reached, if that is not the URL of the requests: such as `https://app.example.com/api/fanfare`. */
  readonly servedAt?: string
}

const sdk = "fanfare:v0.1.0"

/**
 * Serves an app's functions over HTTP: a handler of requests, for any platform that has these. Each call of the server does the next step
 * and answers, so that no limit of the platform ends a long function.
 * @example export default { fetch: serve({ client: fanfare }) }
 */
export function serve(options: ServeOptions): (request: Request) => Promise<Response> {
  let ready: Promise<Ready> | null = null
  return async (request) => {
    try {
      ready ??= prepare(options)
      return await handle(request, await ready, options)
    } catch (thrown) {
      const { message } = toFailure(thrown)
      return json(500, { message: thrown instanceof FanfareError ? message : "something went wrong inside Fanfare" })
    }
  }
}

interface Ready extends Served {
  readonly keys: SigningKeys | null
}

async function prepare(options: ServeOptions): Promise<Ready> {
  const { client, functions, url, signingKey, signingKeyFallback, eventKey } = options
  const given = [signingKey ?? environment("FANFARE_SIGNING_KEY"), signingKeyFallback ?? environment("FANFARE_SIGNING_KEY_FALLBACK")]
  const secrets = given.filter((key) => key !== undefined)
  if (secrets.length === 0 && environment("NODE_ENV") === "production") {
    throw new FanfareError("invalid_option", "NODE_ENV is production and there is no signing key: anybody could call these functions", {
      field: "signingKey",
      hint: "Set FANFARE_SIGNING_KEY to the key of your server.",
    })
  }
  const wanted = functions === undefined ? null : new Set(functions.map(({ definition }) => definition.id))
  return {
    appId: client.id,
    functions: new Map([...client.hosted()].filter(([id]) => wanted === null || wanted.has(id))),
    url: url ?? environment("FANFARE_URL") ?? "http://127.0.0.1:8288",
    eventKey: eventKey ?? environment("FANFARE_EVENT_KEY") ?? "dev",
    keys: secrets.length === 0 ? null : await signingKeys(secrets),
    bearer: secrets[0] === undefined ? null : await bearerOf(secrets[0]),
  }
}

async function handle(request: Request, ready: Ready, { servedAt }: ServeOptions): Promise<Response> {
  const { keys } = ready
  const body = request.method === "GET" ? "" : await request.text()
  if (body.length > limits.replyBytes) return json(413, { message: "the request is too large" })
  const parsed = body === "" ? null : parse(body)
  const isSigned =
    keys !== null &&
    (await keys.verify(request.headers.get(names.signature), body === "" ? "" : canonicalJson(parsed), platformClock.now()))
  const self = servedAt ?? request.url
  if (request.method === "GET") return about(ready, isSigned)
  if (request.method === "PUT") return register(request, ready, self, isSigned)
  if (request.method !== "POST") return json(405, { message: "Method not allowed" })
  if (keys !== null && !isSigned) return json(401, { message: "Unauthorized" })
  const { searchParams } = new URL(request.url)
  const probe = searchParams.get("probe")
  if (probe !== null) return probe === "trust" ? signedText(ready, 200, "") : json(400, { message: `unknown probe ${probe}` })
  const hosted = ready.functions.get(searchParams.get("fnId") ?? "")
  // It may be in a version that is being deployed: to be tried again.
  if (hosted === undefined) return signed(ready, 500, { name: "Error", message: "there is no such function here" })
  const read = parseCall(parsed)
  if ("error" in read) return signed(ready, 500, { name: "Error", message: `this is no call: ${read.error}` })
  const trace = readTrace(request.headers.get("traceparent"), request.headers.get("tracestate"))
  const { status, content, headers } = await answerCall(hosted, read.call, { ...ready, stepId: searchParams.get("stepId"), trace })
  return signed(ready, status, content, headers)
}

/** What the handler is: to anybody while it is developed, else to who has the key, and to those a little more. */
function about(ready: Ready, isSigned: boolean): Response | Promise<Response> {
  const { functions, keys, appId } = ready
  const plain = { function_count: functions.size, has_signing_key: keys !== null, schema_version: "2024-05-24" }
  if (keys === null) return json(200, { ...plain, mode: "dev" })
  if (!isSigned) return json(401, { message: "Unauthorized" })
  const known = { authentication_succeeded: true, app_id: appId, api_origin: ready.url, sdk_language: "js", sdk_version: sdk }
  return signed(ready, 200, { ...plain, mode: "cloud", ...known, capabilities: { trust_probe: "v1" } })
}

async function register(request: Request, ready: Ready, self: string, isSigned: boolean): Promise<Response> {
  const body = registrationOf(ready.appId, [...ready.functions.values()], self, sdk)
  if (request.headers.get(names.syncKind) === "in_band") {
    return isSigned ? signed(ready, 200, body, { [names.syncKind]: "in_band" }) : json(401, { message: "Unauthorized" })
  }
  const answer = await fetch(below(ready.url, "/fn/register"), {
    method: "POST",
    headers: {
      "content-type": "application/json",
      [names.sdk]: sdk,
      ...(ready.bearer === null ? {} : { authorization: `Bearer ${ready.bearer}` }),
    },
    body: JSON.stringify(body),
  }).catch((error: unknown) => String(error))
  if (typeof answer === "string")
    return json(500, {
      message: `the server at ${ready.url} does not answer (${answer}): tell the app where it is with FANFARE_URL`,
      modified: false,
    })
  const said = (await answer.json().catch(() => null)) as { modified?: unknown; error?: unknown } | null
  if (!answer.ok) return json(answer.status, { message: String(said?.error ?? "refused"), modified: false })
  return json(200, { message: "Successfully registered", modified: said?.modified === true })
}

function signed(ready: Ready, status: number, content: unknown, more: Record<string, string> = {}): Promise<Response> {
  return signedText(ready, status, JSON.stringify(content) ?? "null", more)
}

async function signedText({ keys }: Ready, status: number, body: string, more: Record<string, string> = {}): Promise<Response> {
  const signature = keys === null ? {} : { [names.signature]: await keys.sign(body, platformClock.now()) }
  return new Response(body, { status, headers: { ...common, ...signature, ...more } })
}

const common = { "content-type": "application/json", [names.sdk]: sdk, [names.requestVersion]: "2", [names.framework]: "fanfare" }

function json(status: number, content: unknown): Response {
  return new Response(JSON.stringify(content), { status, headers: common })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

import {
  type CancelRule,
  checkId,
  defineFunction,
  type FunctionDefinition,
  type FunctionOptions,
  type Trigger,
  withSchemas,
} from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import { connectedUrl } from "../core/http-app.ts"
import { limits } from "../core/limits.ts"
import { canonicalJson } from "./canonical.ts"
import { flowFromWire } from "./flow-body.ts"
import { eventNameFromWire } from "./names.ts"
import { isPlainText } from "./op-id.ts"
import { isObject } from "./ops.ts"
import { conditionFromWire } from "./system-events.ts"

/** An app as it registers itself: where it is, and what it offers. */
export interface Registration {
  readonly appId: string
  readonly url: string
  readonly sdk: string
  readonly framework: string | null
  readonly functions: readonly { readonly definition: FunctionDefinition; readonly url: string }[]
  /** The same text for registrations that say the same. */
  readonly content: string
}

/** How functions are reached: called at a URL, or by the connection that their worker opens. */
type Runtime = "http" | "ws"
const called: Runtime = "http"

/**
 * Reads what an app posts to `/fn/register`, answers to an in-band sync, or says of itself when it connects.
 * @throws FanfareError `invalid_function`, `invalid_trigger`, `invalid_event`, `too_many`: nothing of it may be used then
 */
export function parseRegistration(body: unknown, runtime: Runtime = called): Registration {
  if (!isObject(body)) throw invalid("body", "a registration must be an object")
  const appId = body["appName"] ?? body["appname"] ?? body["app_id"]
  checkId(appId, "appName", "invalid_function")
  const url = runtime === "ws" ? connectedUrl : checkUrl(body["url"], "url")
  const list = body["functions"]
  if (!Array.isArray(list)) throw invalid("functions", "functions must be an array")
  if (list.length > limits.functionsPerApp) {
    throw new FanfareError("too_many", `app "${appId}" has ${list.length} functions; the most is ${limits.functionsPerApp}`, {
      field: "functions",
      bound: limits.functionsPerApp,
    })
  }
  const functions = list.map((value, i) => parseFunction(value, appId, runtime, `functions[${i}]`))
  const twice = functions.find(({ definition: { id } }, i) => functions.findIndex(({ definition }) => definition.id === id) !== i)
  if (twice !== undefined) throw invalid("functions", `two functions share the id "${twice.definition.id}"`)
  const sdk = textOf(body["sdk"]) ?? ""
  const framework = textOf(body["framework"])
  return { appId, url, sdk, framework, functions, content: canonicalJson({ appId, url, sdk, framework, functions: list }) }
}

function parseFunction(value: unknown, appId: string, runtime: Runtime, at: string): Registration["functions"][number] {
  if (!isObject(value)) throw invalid(at, `${at} must be an object`)
  const { id, name } = value
  if (typeof id !== "string" || !id.startsWith(`${appId}-`)) {
    throw invalid(`${at}.id`, `${at}.id must be "${appId}-" and the function's own id, not ${JSON.stringify(id) ?? "nothing"}`)
  }
  const { url, attempts } = parseStep(value["steps"], runtime, `${at}.steps`)
  const options: FunctionOptions = {
    id: id.slice(appId.length + 1),
    ...(typeof name === "string" && name !== "" ? { name: name.slice(0, limits.nameChars) } : {}),
    triggers: parseTriggers(value["triggers"], `${at}.triggers`),
    ...(attempts === undefined ? {} : { retries: Math.min(Math.max(attempts, 0), limits.retriesMax) }),
    ...flowFromWire(value, at),
    ...cancelOf(value["cancel"], `${at}.cancel`),
    ...timeoutsOf(value["timeouts"], `${at}.timeouts`),
  }
  const schemas = schemasOf(value["triggers"])
  return { definition: withSchemas(defineFunction(appId, options), (event) => schemas.get(event)), url }
}

/** Its one entry says where the function is called. */
function parseStep(steps: unknown, runtime: Runtime, at: string): { url: string; attempts: number | undefined } {
  const [step] = isObject(steps) ? Object.values(steps) : []
  if (!isObject(step) || !isObject(step["runtime"])) throw invalid(at, `${at} must have a step with a runtime`)
  const { type, url } = step["runtime"]
  // An SDK that connects says "http" of functions for onFailure.
  if (runtime === "http" && type !== "http")
    throw invalid(`${at}.runtime.type`, `${at}: only functions that are called over HTTP can be registered so`)
  const attempts = isObject(step["retries"]) ? step["retries"]["attempts"] : undefined
  if (attempts !== undefined && attempts !== null && !Number.isInteger(attempts)) {
    throw invalid(`${at}.retries.attempts`, `${at}.retries.attempts must be a whole number`)
  }
  return {
    url: runtime === "ws" ? connectedUrl : checkUrl(url, `${at}.runtime.url`),
    attempts: (attempts ?? undefined) as number | undefined,
  }
}

function parseTriggers(triggers: unknown, at: string): Trigger[] {
  if (triggers === undefined || triggers === null) return []
  if (!Array.isArray(triggers)) throw invalid(at, `${at} must be an array`)
  return triggers.map((trigger: unknown, i): Trigger => {
    if (!isObject(trigger)) throw invalid(`${at}[${i}]`, `${at}[${i}] must be { event } or { cron }`)
    const { event, expression, cron, jitter } = trigger
    if (typeof cron === "string") return cronTrigger(cron, jitter)
    if (typeof event !== "string") throw invalid(`${at}[${i}]`, `${at}[${i}] must be { event } or { cron }`)
    const condition = typeof expression === "string" && expression !== "" ? { if: conditionFromWire(event, expression) } : {}
    return { event: eventNameFromWire(event), ...condition }
  })
}

/** Apps of ours tell what the data of their events looks like; what is no JSON object tells nothing. */
function schemasOf(triggers: unknown): ReadonlyMap<string, string> {
  const schemas = new Map<string, string>()
  for (const trigger of Array.isArray(triggers) ? triggers : []) {
    const { event, schema } = trigger as Record<string, unknown>
    if (typeof event === "string" && typeof schema === "string" && isJsonObject(schema)) schemas.set(eventNameFromWire(event), schema)
  }
  return schemas
}

function isJsonObject(text: string): boolean {
  try {
    return text.length <= limits.eventSchemaChars && isObject(JSON.parse(text))
  } catch {
    return false
  }
}

/** A cron line may begin with its zone. */
function cronTrigger(line: string, jitter: unknown): Trigger {
  const match = /^\s*(?:CRON_)?TZ=(\S+)\s+(.*)$/.exec(line)
  const spread = typeof jitter === "string" && jitter !== "" ? { jitter } : {}
  return match === null ? { cron: line, ...spread } : { cron: match[2] ?? "", timezone: match[1] ?? "UTC", ...spread }
}

function cancelOf(value: unknown, at: string): Pick<FunctionOptions, "cancelOn"> {
  if (value === undefined || value === null) return {}
  if (!Array.isArray(value)) throw invalid(at, `${at} must be an array`)
  const cancelOn = value.map((rule: unknown, i): CancelRule => {
    if (!isObject(rule) || typeof rule["event"] !== "string") throw invalid(`${at}[${i}]`, `${at}[${i}] must have an event`)
    const { event, if: condition, timeout } = rule
    return {
      event,
      ...(typeof condition === "string" && condition !== "" ? { if: condition } : {}),
      ...(typeof timeout === "string" && timeout !== "" ? { timeout } : {}),
    }
  })
  return { cancelOn }
}

function timeoutsOf(value: unknown, at: string): Pick<FunctionOptions, "timeouts"> {
  if (value === undefined || value === null) return {}
  if (!isObject(value)) throw invalid(at, `${at} must be an object`)
  const known = Object.entries(value).filter(
    ([name, time]) => (name === "start" || name === "finish") && typeof time === "string" && time !== "",
  )
  return known.length === 0 ? {} : { timeouts: Object.fromEntries(known) }
}

/** @throws FanfareError `invalid_function` naming `field` */
export function checkUrl(value: unknown, field: string): string {
  const url = typeof value === "string" && value.length <= limits.urlChars ? URL.parse(value) : null
  if (url !== null && (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === "") return url.href
  throw new FanfareError("invalid_function", `${field} must be a URL that begins with http:// or https://, without a password in it`, {
    field,
    bound: limits.urlChars,
  })
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && isPlainText(value, limits.nameChars) ? value : null
}

function invalid(field: string, message: string): FanfareError {
  return new FanfareError("invalid_function", message, { field })
}

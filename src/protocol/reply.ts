import { type Failure, toFailure } from "../core/failure.ts"
import { isBusy, retryAfterHeader, type RetryWish } from "../core/retry.ts"
import { headers as names } from "./names.ts"
import { isObject, type Op, parseOps, ProtocolError } from "./ops.ts"

/** An HTTP answer of an app, as it came. */
export interface RawReply {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: string
}

/** What the answer to a call means. */
export type Reply =
  /** The function has ended. */
  | { readonly kind: "done"; readonly output: unknown }
  /** `retry`: what becomes of the step among them that failed. */
  | { readonly kind: "ops"; readonly ops: readonly Op[]; readonly version: number; readonly retry: RetryWish }
  /** The function threw, or what answered is no app. */
  | { readonly kind: "failed"; readonly failure: Failure; readonly retry: RetryWish }

/** Reads an answer. Never throws: what cannot be understood is a failure that is tried again. */
export function parseReply(raw: RawReply, now: number): Reply {
  try {
    return raw.status === 201 ? parseAnswer(unwrap(raw), now) : parseAnswer(raw, now)
  } catch (thrown) {
    // What stands before an app, such as a proxy, says so as well when it is busy.
    return { kind: "failed", failure: toFailure(thrown), retry: isBusy(raw.status) ? retryWish(raw.headers, now) : "policy" }
  }
}

function parseAnswer({ status, headers, body }: RawReply, now: number): Reply {
  const retry = retryWish(headers, now)
  const isApp = Object.keys(headers).some((name) => name.startsWith("x-inngest-"))
  if (!isApp)
    throw new ProtocolError(`what answered with status ${status} is no app: its answer has no header ${names.sdk}${excerpt(body)}`)
  if (status === 200) return { kind: "done", output: body.trim() === "" ? null : json(body) }
  if (status === 206) return { kind: "ops", ops: parseOps(json(body)), version: versionOf(headers), retry }
  if (status >= 200 && status < 400) throw new ProtocolError(`the app answered with status ${status}, which means nothing in the protocol`)
  return { kind: "failed", failure: failureOf(status, body), retry }
}

/** A streamed answer: blanks while it is made, then one document with all that an answer has. */
function unwrap({ headers, body }: RawReply): RawReply {
  const envelope = json(body)
  if (!isObject(envelope) || typeof envelope["status"] !== "number") throw new ProtocolError("the app's streamed answer has no status")
  const inner = isObject(envelope["headers"]) ? envelope["headers"] : {}
  const named = Object.entries(inner).map(([name, value]) => [name.toLowerCase(), typeof value === "string" ? value : undefined])
  const content = envelope["body"]
  return {
    status: envelope["status"],
    headers: { ...headers, ...Object.fromEntries(named) },
    body: typeof content === "string" ? content : JSON.stringify(content ?? null),
  }
}

function retryWish(headers: RawReply["headers"], now: number): RetryWish {
  if (headers[names.noRetry] === "true") return "never"
  const at = retryAfterHeader(headers[names.retryAfter], now)
  if (at === null) return "policy"
  const limit = decoded(headers[names.limit])
  return { at, ...(limit === "" ? {} : { limit }) }
}

function decoded(value: string | undefined): string {
  try {
    return decodeURIComponent(value?.trim() ?? "")
  } catch {
    return ""
  }
}

function versionOf(headers: RawReply["headers"]): number {
  const version = Number(headers[names.requestVersion] ?? "1")
  return Number.isSafeInteger(version) ? version : 1
}

function failureOf(status: number, body: string): Failure {
  let thrown: unknown
  try {
    thrown = JSON.parse(body)
    // Some SDKs write the error as a text in their answer.
    if (typeof thrown === "string") thrown = JSON.parse(thrown)
  } catch {
    thrown = null
  }
  if (isObject(thrown) && typeof thrown["message"] === "string") return toFailure(thrown)
  const said = isObject(thrown) && typeof thrown["error"] === "string" ? `: ${thrown["error"].slice(0, 1_000)}` : excerpt(body)
  return { name: "AppError", message: `the app answered with status ${status}${said}` }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new ProtocolError(`the app's answer is not JSON${excerpt(text)}`)
  }
}

/** The begin of what came, for people: enough to tell a login page from a proxy's message. */
function excerpt(body: string): string {
  const text = body.trim().slice(0, 200)
  return text === "" ? "" : `: ${text}`
}

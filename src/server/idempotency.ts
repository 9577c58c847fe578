import { createHash } from "node:crypto"
import type { MiddlewareHandler } from "hono"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import { takesIdempotencyKey } from "./openapi/routes.ts"

interface Answer {
  readonly status: number
  readonly type: string
  readonly text: string
}

interface Known {
  readonly request: string
  readonly at: number
  /** Null when what was answered is not kept: the request may be made again. */
  readonly answer: Promise<Answer | null>
}

export const header = "idempotency-key"

/**
 * A command that comes again with the same `Idempotency-Key` is not done again, but answered as before; one that comes while the first is
 * under way waits for it. This node remembers so many answers for 24 h; events that were sent with a key are known to all nodes, by ids
 * made from it (`namedBy`).
 */
export function idempotent(clock: Pick<Clock, "now">): MiddlewareHandler {
  const known = new Map<string, Known>()
  return async (c, next) => {
    const key = c.req.header(header)
    const method = c.req.method.toLowerCase() as "post"
    if (key === undefined || !takesIdempotencyKey({ method, path: c.req.path })) return next()
    checkKey(key)
    const place = `${method} ${c.req.url} ${key}`
    const request = createHash("sha256")
      .update(await c.req.text())
      .digest("base64")
    const now = clock.now()
    for (const [each, { at }] of known) {
      if (known.size <= limits.idempotencyKeys && at > now - limits.eventIdWindowMs) break
      known.delete(each)
    }
    const before = known.get(place)
    if (before !== undefined && before.request !== request) {
      throw new FanfareError("key_reused", `another request had the ${header} "${key}"`, {
        field: header,
        hint: "Use a new key for each command.",
      })
    }
    const answer = await before?.answer
    if (answer !== null && answer !== undefined) {
      return new Response(answer.text, { status: answer.status, headers: { "content-type": answer.type, "idempotency-replayed": "true" } })
    }
    let done: (answer: Answer | null) => void = () => undefined
    known.set(place, { request, at: now, answer: new Promise((resolve) => (done = resolve)) })
    let kept: Answer | null = null
    try {
      await next()
      // A refusal that time or a key mends is no answer for ever.
      if (c.res.status < 500 && ![401, 403, 429].includes(c.res.status)) kept = await answerOf(c.res.clone())
    } finally {
      if (kept === null) known.delete(place)
      done(kept)
    }
  }
}

/** Gives events ids that are the same whenever they are sent with this key, so that they start nothing twice whichever node takes them. */
export function namedBy(key: string | undefined, events: readonly EventInput[]): readonly EventInput[] {
  if (key === undefined) return events
  checkKey(key)
  const seed = createHash("sha256").update(key).digest("base64url")
  return events.map((event, i) =>
    typeof event === "object" && event !== null && event.id === undefined ? { ...event, id: `key:${seed}:${i}` } : event,
  )
}

async function answerOf(response: Response): Promise<Answer | null> {
  const text = await response.text()
  if (text.length > limits.idempotentChars) return null
  return { status: response.status, type: response.headers.get("content-type") ?? "application/json", text }
}

function checkKey(key: string): void {
  if (key.length > 0 && key.length <= limits.idempotencyKeyChars && /^[\x21-\x7e]+$/.test(key)) return
  throw new FanfareError("invalid_option", `${header} must be 1 to ${limits.idempotencyKeyChars} printable ASCII characters`, {
    field: header,
    bound: limits.idempotencyKeyChars,
  })
}

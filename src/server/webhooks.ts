import { createHash } from "node:crypto"
import type { Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import type { Engine } from "../engine/engine.ts"
import { systemClock } from "../engine/system.ts"
import { isObject } from "../protocol/ops.ts"
import type { Identity } from "./identity.ts"
import { isSignedWith, type SignedRequest, type WebhookScheme } from "./webhook-signatures.ts"

/**
 * A named URL, `POST /hooks/<name>`, at which a service sends what has happened: each request that it has signed becomes one event.
 * In `event`, `id` and `data` a text stands for itself, but for `{header.NAME}` and `{body.PATH}`, which stand for what the request has
 * there; a path goes into objects and lists by names and numbers with dots between them.
 */
export interface Webhook {
  /** How the service signs. `standard` is Standard Webhooks, as Svix and others send them. */
  readonly scheme: WebhookScheme
  /** What the service signs with; several while it is being changed. */
  readonly secret: string | readonly string[]
  /** Name of the event. Default: the webhook's name and what the service calls it, such as `github/pull_request.opened`. */
  readonly event?: string
  /** Makes a delivery that is repeated start nothing twice for 24 h. Default: the service's own id of the delivery. */
  readonly id?: string
  /** Fields of the event's data and where they come from, such as `{ "repo": "{body.repository.full_name}" }`. Default: the whole body. */
  readonly data?: Readonly<Record<string, string>>
}

/** A request, read. */
interface Delivery extends SignedRequest {
  readonly content: unknown
}

/** What a service's request means, by its scheme. */
const defaults: Readonly<Record<WebhookScheme, { readonly event: string; readonly id: string }>> = {
  standard: { event: "{body.type}", id: "{header.webhook-id}" },
  github: { event: "{header.x-github-event}.{body.action}", id: "{header.x-github-delivery}" },
  stripe: { event: "{body.type}", id: "{body.id}" },
  slack: { event: "{body.event.type}", id: "{body.event_id}" },
}

const nameShape = /^[a-z0-9][a-z0-9_-]{0,63}$/
const schemes = new Set<string>(Object.keys(defaults))
const known = new Set(["scheme", "secret", "event", "id", "data"])
/** Characters of a secret: fewer can be guessed. */
const secretChars = 8

/**
 * Checks webhooks as they are configured.
 * @throws FanfareError `invalid_option` naming the field
 */
export function checkWebhooks(given: unknown): ReadonlyMap<string, Webhook> {
  if (!isObject(given)) throw invalid("webhooks", "webhooks must be an object: a webhook for each name")
  return new Map(
    Object.entries(given).map(([name, webhook]) => {
      const at = `webhooks.${name}`
      if (!nameShape.test(name)) throw invalid(at, `"${name}" must be 1 to 64 lower-case letters, digits, - and _`)
      if (name === "fanfare" || name === "inngest") throw invalid(at, `"${name}" is kept for events of the system`)
      if (!isObject(webhook)) throw invalid(at, `${at} must be an object with a scheme and a secret`)
      const odd = Object.keys(webhook).find((field) => !known.has(field))
      if (odd !== undefined) throw invalid(`${at}.${odd}`, `${at}: unknown field "${odd}"; known are ${[...known].join(", ")}`)
      const { scheme, secret, event, id, data } = webhook
      if (typeof scheme !== "string" || !schemes.has(scheme))
        throw invalid(`${at}.scheme`, `${at}.scheme must be one of ${[...schemes].join(", ")}`)
      const secrets = [secret].flat()
      if (secrets.length === 0 || !secrets.every((each) => typeof each === "string" && each.length >= secretChars)) {
        throw invalid(`${at}.secret`, `${at}.secret must be text of at least ${secretChars} characters, or a list of such`)
      }
      for (const [field, text] of Object.entries({ event, id, ...(isObject(data) ? data : {}) })) {
        if (text !== undefined && (typeof text !== "string" || text === "")) throw invalid(`${at}.${field}`, `${at}.${field} must be text`)
      }
      if (data !== undefined && !isObject(data)) throw invalid(`${at}.data`, `${at}.data must be an object of texts`)
      return [name, webhook as unknown as Webhook] as const
    }),
  )
}

export interface WebhookParts {
  readonly engine: Pick<Engine, "intake">
  readonly identity: Identity
  readonly webhooks: ReadonlyMap<string, Webhook>
}

/** The URLs of webhooks. Who has no secret learns nothing, and is slowed down as whoever gives wrong keys. */
export function webhookRoutes(door: Hono, { engine, identity, webhooks }: WebhookParts): void {
  door.post("/hooks/:name", async (c) => {
    const name = c.req.param("name")
    const webhook = webhooks.get(name)
    if (webhook === undefined) throw new FanfareError("not_found", `there is no webhook "${name}"`)
    const body = new Uint8Array(await c.req.arrayBuffer())
    let received: Received
    try {
      received = receiveWebhook(name, webhook, { header: (header) => c.req.header(header), body }, systemClock.now())
    } catch (error) {
      if (error instanceof FanfareError && error.code === "not_allowed") {
        identity.wrong(c)
        return c.json({ error: error.message, status: 401 }, 401)
      }
      throw error
    }
    if ("challenge" in received) return c.json({ challenge: received.challenge })
    const { ids } = await engine.intake.send([received.event], { firstWins: true })
    return c.json({ ids, status: 200 })
  })
}

/** What came of a request: an event, or the answer to a service that asks whether the URL is right. */
export type Received = { readonly event: EventInput } | { readonly challenge: string }

/**
 * The event that a request means.
 * @throws FanfareError `not_allowed`: it is not signed as it must be; `not_json`, `invalid_event`: it means none
 */
export function receiveWebhook(name: string, webhook: Webhook, request: SignedRequest, now: number): Received {
  const { scheme, secret } = webhook
  if (!isSignedWith(scheme, [secret].flat(), request, now)) {
    throw new FanfareError("not_allowed", "the request is not signed with the secret of this webhook, or too long ago")
  }
  const delivery: Delivery = { ...request, content: contentOf(request) }
  const { content } = delivery
  if (scheme === "slack" && isObject(content) && content["type"] === "url_verification") return { challenge: String(content["challenge"]) }
  const said = fill(webhook.event ?? defaults[scheme].event, delivery)
  const event = webhook.event === undefined ? `${name}/${said === "" ? "received" : said}` : said
  const own = fill(webhook.id ?? defaults[scheme].id, delivery)
  const { data } = webhook
  return {
    event: {
      name: event,
      // A service that gives its deliveries no id: what is signed is the same when it is sent again.
      id: `hook/${name}/${own === "" ? digest(request.body) : own.length > ownChars ? digest(own) : own}`,
      data:
        data === undefined
          ? asObject(content)
          : Object.fromEntries(Object.entries(data).map(([field, text]) => [field, valueOf(text, delivery)])),
    },
  }
}

/** Characters of a delivery's own id, as it is kept. */
const ownChars = 128

function digest(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex")
}

function contentOf({ header, body }: SignedRequest): unknown {
  const text = new TextDecoder().decode(body)
  if ((header("content-type") ?? "").startsWith("application/x-www-form-urlencoded")) {
    const form = Object.fromEntries(new URLSearchParams(text))
    // Some services send their JSON in a field of a form.
    return form["payload"] === undefined ? form : parse(form["payload"])
  }
  return parse(text)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new FanfareError("not_json", "the request's body is neither JSON nor a form", { field: "body", cause })
  }
}

const placeholder = /\{(header|body)\.([^{}]+)\}/g

/** A text with what the request has in the places that it names; what is not there is nothing, nor is the dot before it. */
function fill(text: string, delivery: Delivery): string {
  return text
    .replaceAll(placeholder, (_, from: string, path: string) => {
      const value = from === "header" ? delivery.header(path.toLowerCase()) : at(delivery.content, path)
      return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? String(value) : ""
    })
    .replace(/\.$/, "")
}

/** The value itself where a text is only one place. */
function valueOf(text: string, delivery: Delivery): unknown {
  const [whole] = text.matchAll(placeholder)
  if (whole === undefined || whole[0] !== text || whole[1] === "header") return fill(text, delivery)
  return at(delivery.content, whole[2] ?? "") ?? null
}

function at(content: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (value, part) =>
        typeof value === "object" && value !== null && Object.hasOwn(value, part) ? (value as Record<string, unknown>)[part] : undefined,
      content,
    )
}

function asObject(content: unknown): Record<string, unknown> {
  return isObject(content) ? content : { body: content }
}

function invalid(field: string, message: string): FanfareError {
  return new FanfareError("invalid_option", message, { field })
}

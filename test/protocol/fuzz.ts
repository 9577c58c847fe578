import { createHmac } from "node:crypto"
import fc from "fast-check"
import { FanfareError } from "../../src/core/errors.ts"
import { callBody, canonicalBody, parseCall } from "../../src/protocol/call.ts"
import { eventOfForm, parseEvents, seededIds, sendingRun } from "../../src/protocol/event-request.ts"
import { opIdOf } from "../../src/protocol/op-id.ts"
import { ProtocolError } from "../../src/protocol/ops.ts"
import { parseRegistration } from "../../src/protocol/registration.ts"
import { parseReply } from "../../src/protocol/reply.ts"
import { isSignedWith, type WebhookScheme } from "../../src/server/webhook-signatures.ts"
import { checkWebhooks, receiveWebhook } from "../../src/server/webhooks.ts"

const now = 1_790_000_000_000
const kinds = [
  "StepRun",
  "StepError",
  "StepFailed",
  "StepPlanned",
  "Sleep",
  "WaitForEvent",
  "InvokeFunction",
  "DeferAdd",
  "RunComplete",
  "None",
]
const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(null, undefined, -1, 1e308, "", "\u0000", "\ud800", "__proto__", [], {}),
)
const text = fc.oneof(fc.string({ unit: "binary" }), fc.string(), fc.constantFrom("", "1", "step", "a".repeat(300)))
const op = fc.record(
  {
    id: fc.oneof(text, odd),
    op: fc.oneof(fc.constantFrom(...kinds), odd),
    name: odd,
    data: odd,
    error: odd,
    opts: odd,
    userland: odd,
    displayName: odd,
  },
  { requiredKeys: [] },
)
const fn = fc.record(
  {
    id: fc.oneof(fc.constantFrom("app-f", "app-g"), odd),
    name: odd,
    triggers: fc.oneof(fc.array(fc.record({ event: odd, expression: odd, cron: odd }, { requiredKeys: [] }), { maxLength: 3 }), odd),
    steps: fc.oneof(fc.constant({ step: { id: "step", name: "step", runtime: { type: "http", url: "http://h/?fnId=app-f" } } }), odd),
    concurrency: odd,
    throttle: odd,
    debounce: odd,
    batchEvents: odd,
    cancel: odd,
    priority: odd,
    singleton: odd,
  },
  { requiredKeys: [] },
)
const event = fc.record(
  { name: fc.oneof(fc.constantFrom("a/b", "inngest/x"), odd), data: odd, id: odd, ts: odd, meta: odd },
  { requiredKeys: [] },
)
const headers = fc.dictionary(
  fc.constantFrom("x-inngest-sdk", "x-inngest-no-retry", "retry-after", "x-inngest-req-version", "content-type"),
  fc.oneof(text, fc.constantFrom("true", "30", "2026-01-01", "2")),
)
const body = fc.oneof(
  fc.json(),
  text,
  fc.array(op, { maxLength: 3 }).map((ops) => JSON.stringify(ops) ?? ""),
  fc.constantFrom("[".repeat(3_000), '{"status":200}'),
)
const schemes: readonly WebhookScheme[] = ["standard", "github", "stripe", "slack"]
const signatureHeaders = fc.dictionary(
  fc.constantFrom("webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "stripe-signature", "x-slack-signature"),
  fc.oneof(text, fc.constantFrom("t=1,v1=00", "v1,AAAA", "sha256=zz", "1790000000", `v1,${"A".repeat(2_000)}`)),
)

/** Everything that reads what comes from outside; each may refuse it with one of our errors, and do nothing else. */
const readers: Readonly<Record<string, fc.IRawProperty<[unknown]>>> = {
  "a reply": fc.property(fc.record({ status: fc.constantFrom(200, 201, 206, 302, 400, 500), headers, body }), (raw) => {
    // It never throws.
    const { kind } = parseReply(raw, now)
    if (!["done", "ops", "failed"].includes(kind)) throw new Error(kind)
  }),
  "a registration": property(
    fc.oneof(
      odd,
      fc.record({
        url: fc.oneof(fc.constant("http://h/x"), odd),
        appName: fc.oneof(fc.constant("app"), odd),
        sdk: odd,
        functions: fc.array(fn, { maxLength: 2 }),
      }),
    ),
    parseRegistration,
  ),
  events: property(fc.oneof(odd, event, fc.array(event, { maxLength: 3 })), (value) => {
    sendingRun(value, undefined)
    parseEvents(value, "1790000000000,AAECAwQFBgcICQ==")
  }),
  "a form": property(fc.dictionary(text, odd), (form) => parseEvents(eventOfForm(form as Record<string, unknown>), undefined)),
  "a seed": property(text, (seed) => seededIds(seed as string)?.(0)),
  "a call": property(fc.oneof(odd, fc.record({ ctx: odd, event: odd, events: odd, steps: odd, source: odd })), parseCall),
  "an event in a call": property(fc.record({ id: text, name: text, data: fc.json(), ts: fc.integer() }), (value) => {
    const rest = {
      attempt: 0,
      maxAttempts: 1,
      stepId: null,
      planOnly: false,
      version: 1,
      memos: [],
      byApi: false,
      ticket: null,
      linked: true,
      defers: [],
    }
    JSON.parse(canonicalBody(callBody({ runId: opIdOf("x"), events: [value as never], ...rest })))
  }),
  "a signature": property(fc.tuple(fc.constantFrom(...schemes), signatureHeaders, fc.uint8Array({ maxLength: 20 })), (given) => {
    const [scheme, named, bytes] = given as [WebhookScheme, Record<string, string>, Uint8Array]
    if (isSignedWith(scheme, ["a secret that nobody has"], { header: (name) => named[name], body: bytes }, now))
      throw new Error("it was let in")
  }),
  webhooks: property(fc.oneof(odd, fc.dictionary(text, odd)), checkWebhooks),
  "a mapping": property(fc.tuple(text, fc.json()), (given) => {
    const [template, content] = given as [string, string]
    const secret = "0123456789"
    const bytes = new TextEncoder().encode(content)
    const signature = signatureOf(secret, bytes)
    const webhook = { scheme: "github", secret, event: template, id: template, data: { x: template, y: `{body.${template}}` } } as const
    receiveWebhook("hub", webhook, { header: (name) => (name === "x-hub-signature-256" ? signature : undefined), body: bytes }, now)
  }),
}

function property(values: fc.Arbitrary<unknown>, read: (value: unknown) => unknown): fc.IRawProperty<[unknown]> {
  return fc.property(values, (value) => {
    try {
      read(value)
    } catch (error) {
      if (
        !(error instanceof FanfareError || error instanceof ProtocolError) ||
        (error instanceof FanfareError && error.code === "internal")
      )
        throw error
    }
  })
}

function signatureOf(secret: string, bytes: Uint8Array): string {
  return `sha256=${createHmac("sha256", secret).update(bytes).digest("hex")}`
}

/** Reads so many odd inputs in all. Throws with the smallest input that breaks a reader. */
export function fuzz(inputs: number, seed: number, told: (reader: string, inputs: number) => void = () => undefined): void {
  const each = Math.ceil(inputs / Object.keys(readers).length)
  for (const [name, reader] of Object.entries(readers)) {
    // These are not asynchronous: it throws here.
    void fc.assert(reader, { numRuns: each, seed })
    told(name, each)
  }
}

import { Fanfare, RetryAfterError } from "fanfare"

// npx fanfare dev examples/flow-control/app.ts
// npx fanfare send crm/contact.changed --data '{"tenant":"acme","contact":7}'
// npx fanfare limits list
export const crm = new Fanfare({ id: "crm" })

const changed = [{ event: "crm/contact.changed" }] as const

/** Every tenant has two places of its own among the fifty of all: no tenant can starve another. */
export const sync = crm.createFunction(
  { id: "sync", triggers: changed, concurrency: [{ limit: 50 }, { limit: 2, key: "event.data.tenant" }] },
  async ({ event, step }) => step.run("push", () => `synced ${String(event.data["contact"])}`),
)

/** Shares ten places with whatever else names "openai"; when the service is busy, all of them rest. */
export const summarise = crm.createFunction(
  { id: "summarise", triggers: changed, concurrency: { limit: 10, scope: "env", key: "'openai'" } },
  async () => {
    const response = { status: 200, retryAfter: "30s" }
    if (response.status === 429) throw new RetryAfterError("openai is busy", response.retryAfter, { limit: "openai" })
  },
)

/** One onboarding per tenant at a time, from its start to its end, days of sleep included. */
export const onboard = crm.createFunction(
  { id: "onboard", triggers: [{ event: "crm/tenant.created" }], concurrency: { limit: 1, key: "event.data.tenant", mode: "run" } },
  async ({ step }) => {
    await step.run("welcome", () => "sent")
    await step.sleep("a day", "1d")
    await step.run("remind", () => "sent")
  },
)

/** Sixty mails a minute, five more at once; the rest wait. Paying customers come first. */
export const mail = crm.createFunction(
  {
    id: "mail",
    triggers: [{ event: "crm/mail.due" }],
    throttle: { limit: 60, period: "1m", burst: 5 },
    priority: { run: `event.data.plan == "pro" ? 120 : 0` },
    backoff: { type: "exponential", base: "5s", max: "10m" },
  },
  async ({ step }) => step.run("send", () => "sent"),
)

/** A report costs: ten an hour for each tenant, the others are skipped. */
export const report = crm.createFunction(
  { id: "report", triggers: [{ event: "crm/report.wanted" }], rateLimit: { limit: 10, period: "1h", key: "event.data.tenant" } },
  async ({ step }) => step.run("write", () => "written"),
)

/** Charges an order once, however often the event is sent with another id. */
export const charge = crm.createFunction(
  { id: "charge", triggers: [{ event: "crm/order.placed" }], idempotency: "event.data.order" },
  async ({ step }) => step.run("charge", () => "charged"),
)

/** Indexes a contact when it has been left alone for ten seconds, or after a minute of changes. */
export const index = crm.createFunction(
  { id: "index", triggers: changed, debounce: { period: "10s", timeout: "1m", key: "event.data.contact" } },
  async ({ event }) => event.data["contact"],
)

/** A hundred changes in one insert; a large one alone. */
export const insert = crm.createFunction(
  { id: "insert", triggers: changed, batchEvents: { maxSize: 100, timeout: "5s", key: "event.data.tenant", if: "event.data.rows <= 10" } },
  async ({ events, step }) => step.run("insert", () => events.length),
)

/** A new deployment of a branch stops the one before. */
export const deploy = crm.createFunction(
  { id: "deploy", triggers: [{ event: "crm/branch.pushed" }], singleton: { mode: "cancel", key: "event.data.branch" } },
  async ({ step, signal }) => step.run("build", () => (signal.aborted ? "stopped" : "built")),
)

/** One import at a time; a second one that is asked for meanwhile is skipped. */
export const importAll = crm.createFunction(
  { id: "import-all", triggers: [{ event: "crm/import.wanted" }], singleton: { mode: "skip" }, backoff: ["10s", "1m", "10m"] },
  async ({ step }) => step.run("import", () => "imported"),
)

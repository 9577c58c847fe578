import { createHmac } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { limits } from "../../src/core/limits.ts"
import { Fanfare } from "../../src/index.ts"
import { isSignedWith, type WebhookScheme } from "../../src/server/webhook-signatures.ts"
import { checkWebhooks, receiveWebhook, type Webhook } from "../../src/server/webhooks.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"

interface Vector {
  readonly secret: string
  readonly headers: Record<string, string>
  readonly body: string
  readonly at: number
}

/** What the services publish, so that others can check theirs. Stripe publishes none: this one was made with OpenSSL. */
const vectors: Record<WebhookScheme, Vector> = {
  standard: {
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    headers: {
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    body: '{"test": 2432232314}',
    at: 1_614_265_330_000,
  },
  github: {
    secret: "It's a Secret to Everybody",
    headers: { "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" },
    body: "Hello, World!",
    at: 0,
  },
  stripe: {
    secret: "whsec_test_secret",
    headers: { "stripe-signature": "t=1614265330,v1=a77f58ed88dac6c2cb9d24f149d7424c41f234b3beb04e25d9492b330816350e,v0=00" },
    body: '{"id":"evt_1","type":"charge.succeeded"}',
    at: 1_614_265_330_000,
  },
  slack: {
    secret: "8f742231b10e8888abcd99yyyzzz85a5",
    headers: {
      "x-slack-request-timestamp": "1531420618",
      "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    },
    body:
      "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA" +
      "&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554" +
      "%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    at: 1_531_420_618_000,
  },
}

const request = (headers: Record<string, string>, body: string) => ({
  header: (name: string) => headers[name],
  body: new TextEncoder().encode(body),
})

describe.each(Object.entries(vectors) as [WebhookScheme, Vector][])("the signature scheme %s", (scheme, { secret, headers, body, at }) => {
  const signed = (over: Partial<Vector> = {}): boolean =>
    isSignedWith(scheme, [over.secret ?? secret], request(over.headers ?? headers, over.body ?? body), over.at ?? at)

  it("knows what the service publishes, also beside another secret", () => {
    expect(signed()).toBe(true)
    expect(isSignedWith(scheme, ["another secret", secret], request(headers, body), at)).toBe(true)
  })

  it("refuses another body, another secret, and any header that is changed or missing", () => {
    expect(signed({ body: `${body} ` })).toBe(false)
    expect(signed({ secret: `${secret.slice(0, -4)}aaaa` })).toBe(false)
    for (const [name, value] of Object.entries(headers)) {
      const { [name]: _, ...rest } = headers
      expect(signed({ headers: rest })).toBe(false)
      for (const odd of [
        "",
        "x",
        value.replace(/[0-9a-f]/, (first) => (first === "1" ? "2" : "1")),
        `${value.slice(0, 9)}!`,
        "v1,",
        "t=,v1=",
        "NaN",
      ]) {
        expect(signed({ headers: { ...headers, [name]: odd } })).toBe(false)
      }
    }
  })

  it("refuses what is older or newer than five minutes, where it has a time", () => {
    const dated = scheme !== "github"
    expect([signed({ at: at + 300_000 }), signed({ at: at - 300_000 })]).toEqual([true, true])
    expect([signed({ at: at + 301_000 }), signed({ at: at - 301_000 })]).toEqual([!dated, !dated])
  })
})

const github: Webhook = { scheme: "github", secret: vectors.github.secret }
const sign = (body: string): Record<string, string> => ({
  "x-hub-signature-256": `sha256=${createHmac("sha256", vectors.github.secret).update(body).digest("hex")}`,
})
const receive = (webhook: Webhook, body: string, headers: Record<string, string> = {}) =>
  receiveWebhook("hub", webhook, request({ ...sign(body), ...headers }, body), 0)

describe("what a webhook means", () => {
  const body = JSON.stringify({ action: "opened", number: 7, repo: { full_name: "a/b", list: [1, { deep: true }] }, weird: { "a b": 1 } })
  const headers = { "x-github-event": "pull_request", "x-github-delivery": "d-1" }

  it("is what the service calls it, with the service's id and the whole body", () => {
    expect(receive(github, body, headers)).toEqual({
      event: { name: "hub/pull_request.opened", id: "hook/hub/d-1", data: JSON.parse(body) as unknown },
    })
    const push = '{"ref":"main"}'
    expect(receive(github, push, { "x-github-event": "push" })).toMatchObject({ event: { name: "hub/push" } })
  })

  it("is what its mapping says", () => {
    const event = "repo/{body.action}-{header.X-GitHub-Event}"
    const data = {
      repo: "{body.repo.full_name}",
      deep: "{body.repo.list.1.deep}",
      number: "{body.number}",
      text: "no {body.number}",
      none: "{body.x.y}",
    }
    expect(receive({ ...github, event, id: "{body.number}", data }, body, headers)).toEqual({
      event: {
        name: "repo/opened-pull_request",
        id: "hook/hub/7",
        data: { repo: "a/b", deep: true, number: 7, text: "no 7", none: null },
      },
    })
  })

  it("reaches nothing but what is in the body", () => {
    const data = { a: "{body.__proto__}", b: "{body.constructor.name}", c: "{body.repo.length}", d: "{body.toString}" }
    expect(receive({ ...github, data }, body, headers)).toMatchObject({ event: { data: { a: null, b: null, c: null, d: null } } })
  })

  it("is the same id for a delivery that has none and is sent again, and a short one for a long one", () => {
    const [once, again, other] = ['{"a":1}', '{"a":1}', '{"a":2}'].map(
      (each) => (receive(github, each) as { event: { id: string } }).event.id,
    )
    expect(once).toBe(again)
    expect(once).not.toBe(other)
    const long = receive(github, "{}", { "x-github-delivery": "x".repeat(5_000) }) as { event: { id: string } }
    expect(long.event.id.length).toBeLessThan(100)
  })

  it("may be a form, or JSON in one, and an answer to Slack", () => {
    const form = { "content-type": "application/x-www-form-urlencoded" }
    expect(receive(github, "a=1&b=two", form)).toMatchObject({ event: { data: { a: "1", b: "two" } } })
    expect(receive(github, `payload=${encodeURIComponent('{"x":1}')}`, form)).toMatchObject({ event: { data: { x: 1 } } })
    expect(() => receive(github, "nonsense")).toThrow("neither JSON nor a form")
    const { secret } = vectors.slack
    const asked = '{"type":"url_verification","challenge":"abc"}'
    const signature = createHmac("sha256", secret).update(`v0:1:${asked}`).digest("hex")
    const slack = { "x-slack-request-timestamp": "1", "x-slack-signature": `v0=${signature}` }
    expect(receiveWebhook("chat", { scheme: "slack", secret }, request(slack, asked), 1_000)).toEqual({ challenge: "abc" })
  })

  it("is refused when it is configured wrongly, naming the field", () => {
    const wrong: [unknown, string][] = [
      [[], "webhooks"],
      [{ "Bad Name": github }, "webhooks.Bad Name"],
      [{ inngest: github }, "webhooks.inngest"],
      [{ a: null }, "webhooks.a"],
      [{ a: { ...github, url: "x" } }, "webhooks.a.url"],
      [{ a: { ...github, scheme: "none" } }, "webhooks.a.scheme"],
      [{ a: { ...github, secret: "short" } }, "webhooks.a.secret"],
      [{ a: { ...github, secret: [] } }, "webhooks.a.secret"],
      [{ a: { ...github, event: 1 } }, "webhooks.a.event"],
      [{ a: { ...github, data: "x" } }, "webhooks.a.data"],
      [{ a: { ...github, data: { x: 1 } } }, "webhooks.a.x"],
    ]
    for (const [given, field] of wrong) expect(() => checkWebhooks(given)).toThrow(expect.objectContaining({ field }) as Error)
    expect([...checkWebhooks({ hub: github }).keys()]).toEqual(["hub"])
  })
})

describe("the URL of a webhook", () => {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-hooks-"))
  const heard: unknown[] = []
  let server: FanfareServer
  beforeAll(async () => {
    const client = new Fanfare({ id: "app" })
    client.createFunction({ id: "hears", triggers: [{ event: "hub/*" }] }, ({ event }) => void heard.push([event.name, event.data]))
    server = await createServer({ client, db: join(folder, "1.db"), http: { port: 0, webhooks: { hub: github } }, logs: "none" })
    await server.start()
  })
  afterAll(async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const post = (name: string, body: string, headers: Record<string, string>) =>
    fetch(new URL(`/hooks/${name}`, server.url ?? ""), { method: "POST", body, headers })

  it("starts one run for a delivery, however often it comes", async () => {
    const body = '{"action":"opened"}'
    const headers = { ...sign(body), "x-github-event": "issues", "x-github-delivery": "d-9", "content-type": "application/json" }
    const first = (await (await post("hub", body, headers)).json()) as { ids: string[] }
    const again = (await (await post("hub", body, headers)).json()) as { ids: string[] }
    expect(again).toEqual(first)
    for (let i = 0; i < 200 && heard.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(heard).toEqual([["hub/issues.opened", { action: "opened" }]])
  })

  it("answers nobody else: not without a signature, not under another name, and less and less often", async () => {
    expect((await post("other", "{}", sign("{}"))).status).toBe(404)
    const answers = await Promise.all(
      Array.from({ length: limits.wrongKeys + 40 }, () => post("hub", "{}", { "x-hub-signature-256": "sha256=00" })),
    )
    const codes = new Set(answers.map(({ status }) => status))
    expect(codes).toEqual(new Set([401, 429]))
    expect(heard).toHaveLength(1)
  })
})

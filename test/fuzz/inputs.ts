import { type Route, routes } from "../../src/server/openapi/routes.ts"
import type { Schema } from "../../src/server/openapi/schema.ts"
import { schemas } from "../../src/server/openapi/schemas.ts"

/** Chance that a seed gives again: mulberry32. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  is(share: number): boolean {
    return this.next() < share
  }

  of<T>(all: readonly T[]): T {
    return all[this.below(all.length)] as T
  }
}

/** One request, as bytes. */
export interface Input {
  readonly text: string
  /** Whether the connection may be used for another request after it. */
  readonly clean: boolean
}

export interface Known {
  /** Ids of what there is. */
  readonly ids: readonly string[]
  /** Ways to say who one is, right and wrong; empty without keys. */
  readonly authorizations: readonly string[]
  readonly eventKeys: readonly string[]
}

const hostile = [
  "",
  "..",
  "%00",
  "%",
  "%c0%ae",
  "' or '1'='1",
  '"; drop table run; --',
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "\u0000",
  "\ud800",
  "💥".repeat(50),
  "x".repeat(3_000),
  "-1",
  "NaN",
  "1e999",
  "9007199254740993",
  "2026-02-30T25:61:00Z",
  "* * * * *",
  "<script>",
  "../../etc/passwd",
  "{{7*7}}",
  "null",
  "true",
  "0x10",
  "run_~",
  "fan_",
  "é".normalize("NFD"),
]

const sdkRoutes: readonly Pick<Route, "method" | "path" | "body">[] = [
  {
    method: "post",
    path: "/fn/register",
    body: { type: "object", properties: { url: {}, appName: {}, functions: { type: "array", items: {} }, sdk: {}, framework: {} } },
  },
  ...[
    "/v0/runs/:id/batch",
    "/v0/runs/:id/actions",
    "/v1/runs/:id",
    "/v1/events/:id/runs",
    "/v1/events",
    "/v1/events/:id",
    "/v1/apps/:id/functions",
    "/v1/cancellations",
    "/dev",
    "/login",
  ].map((path) => ({ method: "get" as const, path })),
  ...[
    "/v1/signals",
    "/v1/cancellations",
    "/invoke/:id",
    "/v1/checkpoint",
    "/v1/checkpoint/:id/steps",
    "/v1/checkpoint/:id/async",
    "/hooks/:id",
    "/login",
    "/v0/telemetry",
  ].map((path) => ({
    method: "post" as const,
    path,
    body: { type: "object", properties: { signal: {}, data: {}, run_id: {}, steps: {}, key: {}, app_id: {}, function_id: {} } },
  })),
  ...["/v1/runs/:id", "/v1/cancellations/:id", "/fn/remove"].map((path) => ({ method: "delete" as const, path })),
]
// A live stream never ends, and to ask apps to register takes other machines.
const all = [...routes, ...sdkRoutes].filter(({ path }) => !path.endsWith("/stream") && !path.endsWith("/apps/sync"))

/** A request that is nearly right, or not at all. */
export function inputOf(chance: Chance, known: Known): Input {
  if (chance.is(0.02)) return { text: garbage(chance), clean: false }
  const route = chance.of(all)
  const method = chance.is(0.05)
    ? chance.of(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
    : route.method.toUpperCase()
  const body = method === "GET" || method === "HEAD" ? "" : bodyOf(chance, route.body)
  const path = pathOf(chance, route, known)
  const headers = headersOf(chance, known)
  const bytes = Buffer.byteLength(body)
  const odd = chance.is(0.01)
  const length = odd
    ? chance.of([
        `content-length: ${bytes + 1 + chance.below(9)}`,
        `content-length: ${bytes}\r\ncontent-length: 0`,
        "transfer-encoding: chunked",
        "content-length: -1",
      ])
    : `content-length: ${bytes}`
  const text = `${method} ${path} HTTP/1.1\r\nhost: ${chance.is(0.01) ? "evil.example" : "127.0.0.1"}\r\n${headers.map((line) => `${line}\r\n`).join("")}${length}\r\n\r\n${body}`
  return { text, clean: !odd && method !== "HEAD" && !headers.some((line) => /^(connection|expect|upgrade|transfer)/i.test(line)) }
}

function garbage(chance: Chance): string {
  return chance.of([
    () => String.fromCharCode(...Array.from({ length: chance.below(200) }, () => chance.below(256))),
    () => `GET ${chance.of(hostile)} HTTP/${chance.below(4)}.${chance.below(10)}\r\n\r\n`,
    () =>
      `POST /api/v1/events HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${chance.of(["zz\r\n", "ffffffffff\r\n", "5\r\nab", "-1\r\n\r\n"])}`,
    () => `GET / HTTP/1.1\r\n${"a: b\r\n".repeat(chance.below(500))}\r\n`,
    () => `GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(chance.below(40_000))}\r\n\r\n`,
    () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    () => "\r\n".repeat(chance.below(20)),
  ])()
}

function pathOf(
  chance: Chance,
  { path, query = {} }: Pick<Route, "path"> & { readonly query?: Route["query"] },
  { ids, eventKeys }: Known,
): string {
  const id = (name: string): string =>
    name === "key"
      ? chance.of(eventKeys)
      : chance.is(0.7)
        ? chance.of(ids)
        : encode(chance, chance.is(0.8) ? chance.of(hostile) : wild(chance))
  const filled = path.replaceAll(/:(\w+)/g, (_, name: string) => id(name))
  const mangled = chance.is(0.03) ? filled + chance.of(["/", "//", "/..", "%2f", ";x=1", "/health", "?", "#"]) : filled
  const names = [
    ...Object.keys(query ?? {}),
    "after",
    "limit",
    "preview",
    "app",
    "state",
    "received_before",
    "received_after",
    "cursor",
    "url",
  ]
  const asked = Array.from({ length: chance.is(0.4) ? 1 + chance.below(3) : 0 }, () => {
    const name = chance.of(names)
    const value = chance.of([
      () => String(chance.below(600)),
      () => chance.of(hostile),
      () => chance.of(ids),
      () => wild(chance),
      () => "failed",
    ])()
    return `${name}=${encode(chance, value)}`
  })
  return asked.length === 0 ? mangled : `${mangled}?${asked.join("&")}`
}

/** Percent-encoded as a path wants it, now and then not. */
function encode(chance: Chance, text: string): string {
  const plain = text.replaceAll(/[^\x21-\x7e]/g, (char) =>
    chance.is(0.9) ? `%${(char.charCodeAt(0) & 0xff).toString(16).padStart(2, "0")}` : "",
  )
  return chance.is(0.9) ? plain.replaceAll(/["<>`{}|\\^#?&/ ]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, "0")}`) : plain
}

function headersOf(chance: Chance, { authorizations }: Known): string[] {
  const lines = [
    chance.is(0.95)
      ? "content-type: application/json"
      : chance.of([
          "content-type: text/plain",
          "content-type: application/x-www-form-urlencoded",
          "content-type: multipart/form-data",
          "x-none: 1",
        ]),
  ]
  if (authorizations.length > 0) lines.push(`authorization: ${chance.of(authorizations)}`)
  while (chance.is(0.25)) {
    lines.push(
      chance.of([
        () => `idempotency-key: ${chance.of(["k", "k2", wild(chance).replaceAll(/[^\x20-\x7e]/g, "?"), ""])}`,
        () => `cookie: fanfare=${wild(chance).replaceAll(/[^\x21-\x7e]/g, "x")}.${chance.next()}`,
        () => `last-event-id: ${chance.next()}`,
        () => `sec-fetch-site: ${chance.of(["same-origin", "cross-site", "none", "x"])}`,
        () => `origin: ${chance.of(["null", "https://evil.example", "x"])}`,
        () => `x-forwarded-prefix: ${chance.of(["/a", "//evil", '/"><script>'])}`,
        () => `x-forwarded-proto: ${chance.of(["https", "http", "x"])}`,
        () => `x-inngest-event-id-seed: ${chance.of(["1,AAECAwQFBgcICQ==", ",", "x", "1,x"])}`,
        () => `x-inngest-signature: ${chance.of(["t=1&s=x", "t=99999999999999&s=00", ""])}`,
        () => `x-inngest-expected-server-kind: ${chance.of(["cloud", "dev", "x"])}`,
        () => `x-fanfare-rules: ${chance.of(["{}", "{", '{"canary":"x"}', "null"])}`,
        () => `accept-encoding: ${chance.of(["gzip", "br", "*;q=0"])}`,
        () => `accept: ${chance.of(["text/html", "*/*"])}`,
        () => `connection: ${chance.of(["close", "keep-alive", "upgrade"])}`,
        () => `expect: ${chance.of(["100-continue", "x"])}`,
        () => `webhook-id: ${chance.next()}`,
      ])(),
    )
  }
  return lines
}

function bodyOf(chance: Chance, schema: Schema | undefined): string {
  if (chance.is(0.1)) {
    return chance.of([
      () => "",
      () => "{",
      () => '{"a":1}}',
      () => "[".repeat(chance.below(5_000)),
      () => `${'{"a":'.repeat(200)}1${"}".repeat(200)}`,
      () => '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"name":"a/b"}',
      () => "\u0000",
      () => '"\\ud800"',
      () => "NaN",
      () => "1e400",
      () => `key=${chance.of(hostile)}`,
    ])()
  }
  const text = JSON.stringify(fitting(chance, schema ?? {}, 0))
  return chance.is(0.03) ? text.slice(0, chance.below(text.length)) : (text ?? "null")
}

/** A value that fits a schema, but for some places. */
function fitting(chance: Chance, schema: Schema, depth: number): unknown {
  if (depth > 6 || chance.is(0.06)) return anything(chance, depth)
  if (schema.$ref !== undefined) return fitting(chance, schemas[schema.$ref.split("/").at(-1) as keyof typeof schemas], depth)
  if (schema.anyOf !== undefined) return fitting(chance, chance.of(schema.anyOf), depth)
  if (schema.enum !== undefined) return chance.of(schema.enum)
  const kind = schema.type === undefined ? "" : chance.of([schema.type].flat())
  if (kind === "array") return Array.from({ length: chance.below(4) }, () => fitting(chance, schema.items ?? {}, depth + 1))
  if (kind === "object" && schema.properties !== undefined) {
    const required = new Set(schema.required)
    const given = Object.entries(schema.properties).filter(([name]) => chance.is(required.has(name) ? 0.97 : 0.5))
    return Object.fromEntries(given.map(([name, each]) => [name, name === "name" ? chance.of(names) : fitting(chance, each, depth + 1)]))
  }
  if (kind === "object") return chance.is(0.5) ? schedule(chance) : { a: anything(chance, depth + 1) }
  if (kind === "integer") return chance.of([0, 1, 5, 100, 1_800_000_000_000, -1, 2 ** 53])
  if (kind === "number") return chance.of([0.5, 1e-9, 1e300, -0])
  if (kind === "boolean") return chance.is(0.5)
  if (kind === "null") return null
  if (kind === "string")
    return chance.of(["shop", "f", "shop-f", "1h", "50%", "* * * * *", "2026-01-01T00:00:00Z", chance.of(hostile), wild(chance)])
  return anything(chance, depth)
}

const names = ["shop/go", "shop/none", "a", "inngest/x", "fanfare/x", "shop/*", ""]

function schedule(chance: Chance): unknown {
  return {
    id: chance.of(["s1", "s2", "s3", chance.of(hostile)]),
    ...chance.of([{ every: "1h" }, { cron: "0 0 * * *" }, { cron: chance.of(hostile) }, { every: -1 }, { at: "2027-01-01T00:00:00Z" }, {}]),
    ...chance.of([{ function: "f" }, { event: "shop/none" }, {}, { function: "f", event: "x" }]),
    ...(chance.is(0.3) ? { timezone: chance.of(["Europe/Paris", "Mars/Base", 5]) } : {}),
    ...(chance.is(0.3) ? { [chance.of(["overlap", "missed", "jitter", "dst", "startAt", "tag"])]: anything(chance, 3) } : {}),
  }
}

function anything(chance: Chance, depth: number): unknown {
  const pick = chance.below(depth > 5 ? 6 : 9)
  if (pick === 0) return null
  if (pick === 1) return chance.is(0.5)
  if (pick === 2) return chance.of([0, -1, 1.5, 1e21, 2 ** 53, -(2 ** 31)])
  if (pick < 6) return chance.is(0.5) ? chance.of(hostile) : wild(chance)
  if (pick === 6) return Array.from({ length: chance.below(4) }, () => anything(chance, depth + 1))
  return Object.fromEntries(
    Array.from({ length: chance.below(4) }, () => [
      chance.of(["a", "id", "name", "data", "__proto__", "filter", "kind", "max", "toString", chance.of(hostile)]),
      anything(chance, depth + 1),
    ]),
  )
}

function wild(chance: Chance): string {
  return String.fromCharCode(...Array.from({ length: chance.below(20) }, () => chance.below(chance.is(0.8) ? 127 : 65_536)))
}

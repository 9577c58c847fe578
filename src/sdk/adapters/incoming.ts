/** A request as Node and what is built on it have it. */
export interface Incoming {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** The whole path, where a framework has cut `url`. */
  readonly originalUrl?: string | undefined
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  /** What a framework made of the body. */
  readonly body?: unknown
  [Symbol.asyncIterator]?(): AsyncIterator<unknown>
}

/** The request of the web's kind that it stands for. */
export async function requestOf(incoming: Incoming): Promise<Request> {
  const { method = "GET", headers } = incoming
  const given = (name: string): string | undefined => [headers[name] ?? []].flat()[0]?.split(",")[0]?.trim()
  const origin = `${given("x-forwarded-proto") ?? "http"}://${given("x-forwarded-host") ?? given("host") ?? "localhost"}`
  const list = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, [value].flat().join(", ")] as [string, string]],
  )
  const body = method === "GET" || method === "HEAD" ? null : await bodyOf(incoming)
  return new Request(new URL(incoming.originalUrl ?? incoming.url ?? "/", origin), { method, headers: list, body })
}

async function bodyOf(incoming: Incoming): Promise<string> {
  const { body } = incoming
  if (typeof body === "string") return body
  if (body instanceof Uint8Array) return new TextDecoder().decode(body)
  if (body !== undefined && body !== null) return JSON.stringify(body)
  if (incoming[Symbol.asyncIterator] === undefined) return ""
  const decoder = new TextDecoder()
  let text = ""
  for await (const chunk of incoming as AsyncIterable<Uint8Array | string>) {
    text += typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true })
    if (text.length > bodyMax) throw new Error("the request is too large")
  }
  return text + decoder.decode()
}

const bodyMax = 16 * 1024 * 1024

import type { Problem } from "./api.ts"
import { type Answers, type Bodies, methodOf, type Operation, type PathOf, pathOf, type Queries } from "./operations.ts"

type Names<Path> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Name | Names<Rest>
  : Path extends `${string}:${infer Name}`
    ? Name
    : never

/** What an operation is asked with: the names in its path, what may stand in the query, the body of what takes one, and more headers. */
export type Asked<O extends Operation> = ([Names<PathOf<O>>] extends [never]
  ? { readonly params?: undefined }
  : { readonly params: { readonly [N in Names<PathOf<O>>]: string } }) &
  (O extends keyof Queries
    ? { readonly query?: { readonly [N in Queries[O]]?: string | number | undefined } }
    : { readonly query?: undefined }) &
  (O extends keyof Bodies ? { readonly body: Bodies[O] } : { readonly body?: undefined }) & {
    readonly headers?: Readonly<Record<string, string>>
  }

/** Left out where there is nothing to say. */
export type Given<O extends Operation> =
  object extends Asked<O> ? [asked?: Asked<O>, signal?: AbortSignal] : [asked: Asked<O>, signal?: AbortSignal]

/** Asks the API for an operation, and gives what it answers. */
export type Client = <O extends Operation>(operation: O, ...given: Given<O>) => Promise<Answers[O]>

export interface Request {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal?: AbortSignal
}

export interface ClientParts {
  /** Where a path of the API is. */
  readonly address: (path: string) => URL
  /** Makes the request, with a key where one is needed; rejects when nothing answers. */
  readonly send: (url: URL, request: Request) => Promise<Response>
  /** What is thrown for an answer that is none of success, or cannot be read. */
  readonly refused: (problem: Partial<Problem>, response: Response) => Error
  /** Changes values as they are read from an answer. */
  readonly reviver?: (key: string, value: unknown) => unknown
}

/** The one client of the API: the command line, the dashboard and apps without an engine differ in what they make it of. */
export function createClient({ address, send, refused, reviver }: ClientParts): Client {
  return async <O extends Operation>(operation: O, ...[asked, signal]: Given<O>): Promise<Answers[O]> => {
    const { body, headers, ...place } = (asked ?? {}) as Loosely
    const response = await send(addressOf(operation, place, address), {
      method: methodOf(operation, body !== undefined),
      headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
    const text = await response.text()
    if (response.ok && (response.headers.get("content-type") ?? "").startsWith("text/")) return text as Answers[O]
    let answer: unknown
    try {
      answer = JSON.parse(text, reviver)
    } catch {
      throw refused({}, response)
    }
    if (response.ok) return answer as Answers[O]
    throw refused(typeof answer === "object" && answer !== null ? answer : {}, response)
  }
}

interface Loosely {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** The address of an operation. */
export function addressOf<O extends Operation>(operation: O, { params = {}, query = {} }: Loosely, address: ClientParts["address"]): URL {
  const url = address(pathOf(operation).replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? "")))
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value))
  return url
}

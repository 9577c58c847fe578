import type { Problem } from "../../../src/protocol/api.ts"
import { addressOf, type Asked, type ClientParts, createClient, type Given, type Request } from "../../../src/protocol/client.ts"
import type { Answers, Bodies, Operation } from "../../../src/protocol/operations.ts"
import { visible } from "../format.ts"
import { shared } from "../stored.ts"

/** What only asks. */
export type Route = Exclude<Operation, keyof Bodies>

/** The server's refusal, in its own words. */
export class Refused extends Error {
  override readonly name = "Refused"
  readonly problem: Partial<Problem>
  readonly status: number

  constructor(status: number, problem: Partial<Problem>) {
    super(problem.detail ?? `the server answered ${status}`)
    this.status = status
    this.problem = problem
  }
}

/** Nothing answers. */
export class Lost extends Error {
  override readonly name = "Lost"
}

/** Whether the server knows who asks: a login ends when it was not used for long. */
export const loggedIn = shared(true)

/** Whether the last question was answered. */
export const connected = shared(true)

const parts: ClientParts = {
  // The dashboard may live below a path.
  address: (path) => new URL(path.slice(1), document.baseURI),
  send: fetched,
  refused: (problem, { status }) => new Refused(status, problem),
}

/** Asks the API; marks that turn the direction of text are made visible in what it answers. */
export const get = createClient({ ...parts, reviver: shown })

/** The same, with the marks as they are: for what leaves the page. */
export const getExact = createClient(parts)

export function post<O extends keyof Bodies>(command: O, params: Readonly<Record<string, string>>, body: Bodies[O]): Promise<Answers[O]> {
  return getExact(command, ...givenTo<O>({ params, body }))
}

/** What a page gives for one of several operations, of which the compiler cannot see that it fits. */
export function givenTo<O extends Operation>(asked: object, signal?: AbortSignal): Given<O> {
  return [asked as Asked<O>, signal] as unknown as Given<O>
}

/** The address of an operation of the API. */
export function address(operation: Operation, asked: { readonly params?: Readonly<Record<string, string>> } = {}): string {
  return addressOf(operation, asked, parts.address).href
}

/** What is given back to name something stays what it is; `visible` where it is shown. */
const names: ReadonlySet<string> = new Set(["id", "scheduleId", "fingerprint"])

function shown(key: string, value: unknown): unknown {
  return typeof value === "string" && !names.has(key) ? visible(value) : value
}

async function fetched(url: URL, request: Request): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, request)
  } catch (cause) {
    if (request.signal?.aborted !== true) connected.set(false)
    throw new Lost("the server does not answer", { cause })
  }
  connected.set(true)
  if (response.status === 401) loggedIn.set(false)
  return response
}

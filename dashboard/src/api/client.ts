import { type CellRun, paths, type Problem, type SessionView, type Status, type TriggerResult } from "../../../src/protocol/api.ts"
import type {
  Activity,
  BackfillResult,
  Cancelled,
  EventDetail,
  EventSummary,
  FailureCauses,
  FailureGroup,
  FanoutSummary,
  FunctionActivity,
  FunctionSummary,
  LimitSummary,
  NodeSummary,
  Operation,
  Page,
  RunDetail,
  RunFamily,
  RunSummary,
  Schedule,
  ScheduleLoad,
  Tick,
  UpcomingMoment,
} from "../../../src/protocol/views.ts"
import { visible } from "../format.ts"
import { shared } from "../stored.ts"

/** What each route answers. */
export interface Answers {
  session: SessionView
  status: Status
  activity: Activity
  functions: Page<FunctionSummary>
  functionActivity: Page<FunctionActivity>
  runs: Page<RunSummary>
  run: RunDetail
  runFanouts: Page<string>
  runFamily: RunFamily
  fanouts: Page<FanoutSummary>
  fanout: FanoutSummary
  fanoutFailures: Page<FailureGroup>
  fanoutCell: CellRun
  operation: Operation
  operations: Page<Operation>
  limits: Page<LimitSummary>
  events: Page<EventSummary>
  event: EventDetail
  failures: FailureCauses
  nodes: Page<NodeSummary>
  schedules: Page<Schedule>
  schedule: Schedule
  scheduleTicks: Page<Tick>
  scheduleLoad: ScheduleLoad
  scheduleNext: Page<UpcomingMoment>
}
export type Route = keyof Answers

/** What each command answers. */
interface Commands {
  events: { readonly ids: readonly string[]; readonly fanoutId: string | null }
  trigger: TriggerResult
  functionPause: { readonly id: string }
  functionResume: { readonly id: string }
  limit: { readonly id: string }
  operationStop: Operation
  fanoutRetry: Operation
  fanoutCancel: Operation
  fanoutPause: FanoutSummary
  fanoutResume: FanoutSummary
  runCancel: Cancelled
  runReplay: TriggerResult
  runRetry: RunSummary
  runsCount: { readonly count: number }
  runsBulk: Operation
  schedulePause: Schedule
  scheduleResume: Schedule
  scheduleRun: { readonly runIds: readonly string[] }
  scheduleBackfill: BackfillResult
}

export interface Asked {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string | number | undefined>>
}

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

/** The address of a route of the API; the dashboard may live below a path. */
export function address(route: keyof typeof paths, { params = {}, query = {} }: Asked = {}): string {
  const path = paths[route].replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""))
  const url = new URL(path.slice(1), document.baseURI)
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value))
  return url.href
}

export async function get<R extends Route>(route: R, asked?: Asked, signal?: AbortSignal): Promise<Answers[R]> {
  const response = await fetched(address(route, asked), signal === undefined ? {} : { signal })
  return JSON.parse(await response.text(), shown) as Answers[R]
}

/** The same, with the marks that turn the direction of text as they are: for what leaves the page. */
export async function getExact<R extends Route>(route: R, asked: Asked): Promise<Answers[R]> {
  return (await fetched(address(route, asked), {})).json() as Promise<Answers[R]>
}

/** A fingerprint stays what it is: it is given back to name its failures. */
function shown(key: string, value: unknown): unknown {
  return typeof value === "string" && key !== "fingerprint" ? visible(value) : value
}

/** The letters of a fan-out's map. */
export async function getCells(id: string, signal?: AbortSignal): Promise<string> {
  return (await fetched(address("fanoutCells", { params: { id } }), signal === undefined ? {} : { signal })).text()
}

export async function post<C extends keyof Commands>(
  command: C,
  params: Readonly<Record<string, string>>,
  body: unknown,
): Promise<Commands[C]> {
  const headers = { "content-type": "application/json" }
  return (await fetched(address(command, { params }), { method: "POST", headers, body: JSON.stringify(body) })).json() as Promise<
    Commands[C]
  >
}

async function fetched(url: string, init: RequestInit): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, init)
  } catch (cause) {
    if (init.signal?.aborted !== true) connected.set(false)
    throw new Lost("the server does not answer", { cause })
  }
  connected.set(true)
  if (response.status === 401) loggedIn.set(false)
  if (response.ok) return response
  throw new Refused(response.status, ((await response.json().catch(() => null)) ?? {}) as Partial<Problem>)
}

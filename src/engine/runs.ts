import { limitsOf, ruleWaits } from "../core/admit.ts"
import type { Change } from "../core/change.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import type { Operation } from "../core/fanouts.ts"
import type { IdKind } from "../core/id.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { BulkFilter } from "../core/bulk.ts"
import type { BulkKind, Cancelled, ReplayOptions, Runs } from "../core/runs.ts"
import { finalStates, type FinalState, moves, type NewRun } from "../core/run.ts"
import type { Page, RunDetail, RunFilter, RunSummary } from "../core/views.ts"
import type { Reader, Store } from "../store/store.ts"
import { type CancellerParts, cancelRun } from "./canceller.ts"
import { refusal } from "./refusal.ts"

export interface RunsParts extends Omit<CancellerParts, "store" | "pollMs"> {
  readonly store: Pick<Store, "cancelFacts" | "addOperation" | "stopOperation" | "retry">
  readonly reader: Pick<Reader, "run" | "runs" | "batch" | "countRuns" | "operation" | "operations">
  /** There is an operation to do. */
  readonly begun: () => void
  /** Throws while the functions are not known yet, or not any more. */
  readonly checkOpen: () => void
}

const reasonChars = 500

/** Runs, looked at and put right. */
export class StoredRuns implements Runs {
  readonly #parts: RunsParts

  constructor(parts: RunsParts) {
    this.#parts = parts
  }

  async get(id: string): Promise<RunDetail> {
    const run = await this.#parts.reader.run(id)
    if (run === null) throw new FanfareError("not_found", `there is no run ${id}`, { field: "id" })
    return run
  }

  list(filter: RunFilter = {}): Promise<Page<RunSummary>> {
    return this.#parts.reader.runs(filter)
  }

  async cancel(id: string, reason = "by request"): Promise<Cancelled> {
    if (typeof reason !== "string" || reason.length > reasonChars) {
      throw new FanfareError("invalid_option", `reason must be text of at most ${reasonChars} characters`, {
        field: "reason",
        bound: reasonChars,
      })
    }
    this.#parts.checkOpen()
    const facts = await this.#parts.store.cancelFacts(id, reason)
    if (facts === null) throw new FanfareError("not_found", `there is no run ${id}`, { field: "id" })
    const cancelled = await cancelRun(facts, this.#parts)
    return { cancelled, run: await this.get(id) }
  }

  async replay(id: string, { fromStep, data }: ReplayOptions = {}): Promise<{ runId: string }> {
    this.#parts.checkOpen()
    if (fromStep !== undefined && typeof fromStep !== "string") {
      throw new FanfareError("invalid_option", "fromStep must be the id of a step", { field: "fromStep" })
    }
    const run = await this.get(id)
    const { committer, registry, clock, newId } = this.#parts
    const definition = registry.definitions.get(run.functionId)
    if (definition === undefined) {
      throw new FanfareError("not_found", `there is no function "${run.functionId}" any more`, {
        field: "function",
        hint: "Its app must offer it again first.",
      })
    }
    if (fromStep !== undefined && !run.steps.some(({ key }) => key === fromStep)) {
      throw new FanfareError("not_found", `the run ${id} has no step "${fromStep}"`, {
        field: "fromStep",
        hint: `It has: ${run.steps.map(({ key }) => key).join(", ") || "none"}.`,
      })
    }
    const several = (await this.#parts.reader.batch(id)).length > 0
    if (several && data !== undefined) {
      throw new FanfareError("invalid_option", `the run ${id} has several events: there is no other data for all of them`, {
        field: "data",
        hint: "Send those that are to be different as new events.",
      })
    }
    const options = { ...(fromStep === undefined ? {} : { fromStep }), data, several }
    const { runId, changes } = replayChanges(run, definition, options, newId, clock.now())
    const result = await committer.submit({ changes, guard: null, registry: null })
    if (result.kind !== "applied") throw refusal(result)
    return { runId }
  }

  async retry(id: string): Promise<RunSummary> {
    this.#parts.checkOpen()
    await this.#parts.store.retry(id)
    this.#parts.committer.ring()
    return this.get(id)
  }

  async count(filter: BulkFilter): Promise<number> {
    checkFilter(filter)
    return this.#parts.reader.countRuns(this.#named(filter))
  }

  async bulk(kind: BulkKind, given: BulkFilter): Promise<Operation> {
    this.#parts.checkOpen()
    checkFilter(given)
    if (kind !== "cancel" && kind !== "replay" && kind !== "retry") {
      throw new FanfareError("invalid_option", "kind must be cancel, replay or retry", { field: "kind" })
    }
    const filter = this.#named(given)
    const { state } = filter
    const isFinal = state !== undefined && finalStates.includes(state as FinalState)
    if (kind === "cancel" && isFinal) throw wrongState(kind, state, "runs that have not ended")
    if (kind === "retry" && state !== undefined && state !== "failed" && state !== "cancelled") {
      throw wrongState(kind, state, "failed or cancelled runs")
    }
    const id = this.#parts.newId("op")
    const operation = await this.#parts.store.addOperation({ id, kind, fanoutId: "", fingerprint: null, runId: null, event: null, filter })
    this.#parts.begun()
    return operation
  }

  operations({ after, limit = limits.pageRows }: { after?: string; limit?: number } = {}): Promise<Page<Operation>> {
    return this.#parts.reader.operations(after ?? null, limit)
  }

  async stop(operationId: string): Promise<Operation> {
    await this.#parts.store.stopOperation(operationId)
    const operation = await this.#parts.reader.operation(operationId)
    if (operation === null) throw new FanfareError("not_found", `there is no operation ${operationId}`, { field: "id" })
    if (operation.state === "running") {
      throw new FanfareError("invalid_option", "a fan-out is being cancelled or paused: its runs are held back already", { field: "id" })
    }
    return operation
  }

  /** Functions may be named by their own id. */
  #named(filter: BulkFilter): BulkFilter {
    const { functionId } = filter
    if (functionId === undefined) return filter
    const { definitions } = this.#parts.registry
    if (definitions.has(functionId)) return filter
    const named = [...definitions.values()].filter(({ localId }) => localId === functionId)
    const [only] = named
    return named.length === 1 && only !== undefined ? { ...filter, functionId: only.id } : filter
  }
}

/** The new run; with other data, an event of its own; from a step on, the results before it. */
function replayChanges(
  run: RunDetail,
  definition: FunctionDefinition,
  { fromStep, data, several }: ReplayOptions & { readonly several: boolean },
  newId: (kind: IdKind) => string,
  now: number,
): { runId: string; changes: Change[] } {
  const runId = newId("run")
  const changes: Change[] = []
  let eventId = run.eventId
  if (data !== undefined) {
    eventId = newId("evt")
    const text = encodeJson(data, { field: "data", bytes: limits.eventBytes })
    const event = { id: eventId, key: null, name: run.eventName, data: text, ts: now, receivedAt: now, fanoutId: null, sourceRunId: null }
    changes.push({ kind: "event.add", event })
  }
  const started: NewRun = {
    id: runId,
    functionId: definition.id,
    eventId,
    fanoutId: null,
    parentId: null,
    createdAt: now,
    dueAt: now,
    limits: limitsOf(definition, { name: run.eventName, data: data ?? JSON.parse(run.data), id: eventId, ts: now }, several),
    ...(fromStep === undefined ? {} : { fence: 1 }),
  }
  changes.push({ kind: "run.add", run: started })
  const cause = { id: eventId, key: null, name: run.eventName, data: data === undefined ? run.data : JSON.stringify(data), ts: now }
  changes.push(...ruleWaits(definition, cause, started))
  if (several) changes.push({ kind: "batch.copy", runId, from: run.id })
  if (fromStep !== undefined) changes.push({ kind: "step.copy", runId, from: run.id, before: fromStep })
  changes.push({ kind: "log.add", runId, fence: 0, from: 0, lines: [replayLine(run.id, fromStep, data !== undefined, now)] })
  return { runId, changes }
}

function replayLine(id: string, fromStep: string | undefined, edited: boolean, at: number) {
  const from = fromStep === undefined ? "" : ` from the step "${fromStep}" on`
  return { at, level: "info", message: `replays ${id}${from}${edited ? " with other data" : ""}`, fields: null } as const
}

const fields = new Set(["functionId", "state", "from", "to", "fanoutId", "fingerprint"])

function checkFilter(filter: BulkFilter): void {
  const invalid = (field: string, message: string): FanfareError => new FanfareError("invalid_option", message, { field })
  if (typeof filter !== "object" || filter === null) throw invalid("filter", 'the filter must be an object such as { state: "failed" }')
  for (const field of Object.keys(filter)) if (!fields.has(field)) throw invalid(field, `the filter has an unknown field "${field}"`)
  if (Object.values(filter).every((value) => value === undefined)) {
    throw invalid("filter", "the filter is empty: name a function, a state or a time")
  }
  if (filter.state !== undefined && !(typeof filter.state === "string" && Object.hasOwn(moves, filter.state))) {
    throw invalid("state", `there is no state ${JSON.stringify(filter.state)}`)
  }
  for (const field of ["functionId", "fanoutId", "fingerprint"] as const) {
    if (filter[field] !== undefined && typeof filter[field] !== "string") throw invalid(field, `${field} must be a text`)
  }
  if (filter.fingerprint !== undefined && filter.state !== "failed") {
    throw invalid("fingerprint", 'a fingerprint is of failed runs: give state: "failed" with it')
  }
  for (const field of ["from", "to"] as const) {
    const at = filter[field]
    if (at !== undefined && (typeof at !== "number" || Number.isNaN(new Date(at).getTime())))
      throw invalid(field, `${field} must be milliseconds since 1970`)
  }
}

function wrongState(kind: BulkKind, state: string | undefined, what: string): FanfareError {
  return new FanfareError("invalid_option", `${kind} is for ${what}, not for ${state} ones`, { field: "state" })
}

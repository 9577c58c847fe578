import { holdLimit, type RetryRules } from "../core/advance.ts"
import type { Recorder, SendResult, StepReport } from "../core/attempt.ts"
import type { Change, LogLine, Unit, UnitResult } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import { isJoined, type JoinResult, needOf } from "../core/join.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Clock, Random } from "../core/ports.ts"
import { retryDelay } from "../core/retry.ts"
import type { ClaimedRun } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import { type EventIntake, type Part, refusal } from "./intake.ts"
import type { Telemetry } from "./telemetry.ts"

export interface RecordingParts {
  readonly committer: Committer
  readonly intake: EventIntake
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry
  readonly newId: (kind: "fan") => string
  readonly joined: Store["joined"]
}

/** What a kept send remembers. */
interface KeptSend extends SendResult {
  readonly names: readonly string[]
  /** Events of the whole send, of which this record may be one part. */
  readonly total: number
}

/**
 * The engine's side of one attempt: what user code does at its steps becomes durable here, under the guard of the run's fence. When
 * another claim has taken over, `superseded` is called and nothing settles any more.
 */
export class Recording implements Recorder {
  readonly #parts: RecordingParts
  readonly #run: ClaimedRun
  readonly #rules: RetryRules
  readonly #steps: Map<string, StepRecord>
  readonly #superseded: () => void
  #pending: Change[] = []
  #lines: LogLine[] = []
  #lineCount: number
  #closed = false
  progressed = false

  constructor(parts: RecordingParts, run: ClaimedRun, rules: RetryRules, steps: readonly StepRecord[], superseded: () => void) {
    this.#parts = parts
    this.#run = run
    this.#rules = rules
    this.#steps = new Map(steps.map((step) => [step.key, step]))
    this.#superseded = superseded
    this.#lineCount = run.logLines
  }

  get steps(): ReadonlyMap<string, StepRecord> {
    return this.#steps
  }

  /** The attempt is over: whatever its code still does is not kept. */
  close(): void {
    this.#closed = true
  }

  now(): number {
    return this.#parts.clock.now()
  }

  turn(): Promise<void> {
    return new Promise((resolve) => void this.#parts.clock.after(0, resolve))
  }

  async report(report: StepReport): Promise<StepRecord> {
    if (this.#closed) return new Promise(() => {})
    const step = report.kind === "join" ? await this.#joinRecord(report) : this.#toRecord(report)
    const change: Change = { kind: "step.save", runId: this.#run.id, fence: this.#run.fence, step }
    if (step.state === "waiting") {
      // A wait is kept when the attempt parks: no commit of its own.
      this.#pending.push(change)
      this.#steps.set(step.key, step)
      return step
    }
    const holds = "failure" in report && typeof report.retry === "object" ? holdLimit(this.#run, report.retry) : []
    await this.#commit((unit) => this.#parts.committer.insist(unit), [change, ...holds], null)
    this.#steps.set(step.key, step)
    if (step.state === "completed") this.progressed = true
    return step
  }

  async send(key: string, events: readonly EventInput[], joined = false): Promise<SendResult> {
    const { intake, newId } = this.#parts
    const checked = await intake.check(events)
    if (checked.total === 0) return { ids: [], fanoutId: null }
    const { names } = checked
    const kept = this.#keptParts(key, names)
    const ids = kept.flatMap((part) => part.ids)
    const total = kept[0]?.total ?? checked.total
    const fanoutId = kept[0] === undefined ? (total > 1 || joined ? newId("fan") : null) : kept[0].fanoutId
    if (ids.length < total && total !== checked.total) throw orderChanged(`began to send ${total} events here`, `sends ${checked.total}`)
    for (let n = kept.length; ids.length < total; n++) {
      const part = await checked.part(ids.length)
      for (const id of await this.#sendPart(n === 0 ? key : `${key}/${n}`, part, { fanoutId, names, total })) ids.push(id)
    }
    return { ids, fanoutId }
  }

  log(level: LogLine["level"], message: string, fields?: Readonly<Record<string, unknown>>): void {
    if (this.#closed || this.#lineCount + this.#lines.length > limits.logLinesPerRun) return
    const last = this.#lineCount + this.#lines.length === limits.logLinesPerRun
    const line: LogLine = last
      ? { at: this.now(), level: "warn", message: `more than ${limits.logLinesPerRun} log lines: the rest is not kept`, fields: null }
      : { at: this.now(), level, message: cut(String(message)), fields: encodeFields(fields) }
    this.#lines.push(line)
    this.#parts.telemetry.emit({ name: "run.log", runId: this.#run.id, functionId: this.#run.functionId, line })
  }

  /** What is not durable yet: it goes with the next commit of the run. */
  takePending(): Change[] {
    const pending = this.#pending
    this.#pending = []
    if (this.#lines.length > 0) {
      const { id: runId, fence } = this.#run
      pending.push({ kind: "log.add", runId, fence, from: this.#lineCount, lines: this.#lines })
      this.#lineCount += this.#lines.length
      this.#lines = []
    }
    return pending
  }

  /** Keeps the lines so far, when the attempt takes long to come to its next commit. */
  async flush(): Promise<void> {
    if (this.#closed || this.#lines.length === 0) return
    await this.#commit((unit) => this.#parts.committer.insist(unit), [], null)
  }

  /** The parts of a send that are durable. */
  #keptParts(key: string, names: readonly string[]): KeptSend[] {
    const parts: KeptSend[] = []
    for (;;) {
      const record = this.#steps.get(parts.length === 0 ? key : `${key}/${parts.length}`)
      if (record === undefined) return parts
      if (record.kind !== "send") throw orderChanged(`kept a ${record.kind} under this id`, "sends events")
      const kept = JSON.parse(record.output ?? "null") as KeptSend
      if (kept.names.join() !== names.join()) throw orderChanged(`sent ${kept.names.join(", ")} here`, `sends ${names.join(", ")}`)
      parts.push(kept)
    }
  }

  async #sendPart(key: string, { events, last }: Part, whole: Omit<KeptSend, "ids">): Promise<readonly string[]> {
    const { intake, committer } = this.#parts
    const { id: runId, fence } = this.#run
    const startedAt = this.now()
    let step: StepRecord | null = null
    const written = await intake.write(events, { runId, fanoutId: whole.fanoutId, sealed: last }, (unit, ids) => {
      const output = JSON.stringify({ ...whole, ids: [...ids] } satisfies KeptSend)
      step = { key, kind: "send", state: "completed", attempts: 1, output, failure: null, dueAt: null, startedAt, endedAt: this.now() }
      return this.#commit(
        (complete) => committer.insist(complete),
        [...unit.changes, { kind: "step.save", runId, fence, step }],
        unit.registry,
      )
    })
    if (written.result.kind !== "applied") throw refusal(written.result)
    if (step !== null) this.#steps.set(key, step)
    this.progressed = true
    return written.ids
  }

  /** Commits under the guard of the fence, with what is pending. Never settles when the attempt is over or superseded. */
  async #commit(submit: (unit: Unit) => Promise<UnitResult>, changes: readonly Change[], registry: number | null): Promise<UnitResult> {
    if (this.#closed) return new Promise(() => {})
    const { id: runId, fence } = this.#run
    const pending = this.takePending()
    const result = await submit({ changes: [...pending, ...changes], guard: { runId, fence }, registry })
    if (result.kind === "fenced") {
      this.close()
      this.#superseded()
    } else if (result.kind !== "applied") this.#pending.unshift(...pending)
    return this.#closed ? new Promise(() => {}) : result
  }

  /** A join that is over is kept with what it gives; another one waits. */
  async #joinRecord({ key, fanoutId, until, timeoutAt, outputs }: Extract<StepReport, { kind: "join" }>): Promise<StepRecord> {
    const kept = this.#steps.get(key)
    const now = this.now()
    const base = { key, kind: "join", attempts: 1, failure: null, startedAt: kept?.startedAt ?? now, endedAt: now } as const
    const fanout = await this.#parts.joined(fanoutId, outputs)
    if (fanout === null) throw new FanfareError("not_found", `there is no fan-out ${fanoutId}`)
    // What was decided when the wait began holds, also when the code has changed since.
    const before = kept?.output == null ? null : (JSON.parse(kept.output) as { need: number | null })
    const need = before === null ? needOf(until, fanout.total) : before.need
    const dueAt = kept?.dueAt ?? timeoutAt ?? limits.eventTsMax
    const timedOut = !isJoined(fanout, need)
    if (timedOut && dueAt > Math.max(now, this.#run.claimedAt))
      return { ...base, state: "waiting", dueAt, output: JSON.stringify({ fanoutId, need }) }
    const { total, completed, failed, cancelled, failures, slowest } = fanout
    const result: JoinResult = {
      fanoutId,
      total,
      completed,
      failed,
      cancelled,
      timedOut,
      failures,
      slowest,
      ...(outputs ? { outputs: fanout.outputs } : {}),
    }
    return {
      ...base,
      state: "completed",
      dueAt: null,
      output: encodeJson(result, { field: `the result of step "${key}"`, bytes: limits.outputBytes }),
    }
  }

  #toRecord(report: Exclude<StepReport, { kind: "join" }>): StepRecord {
    const now = this.now()
    const attempts = (this.#steps.get(report.key)?.attempts ?? 0) + 1
    const base = { key: report.key, kind: report.kind, attempts, output: null, failure: null, dueAt: null, startedAt: now, endedAt: now }
    if (report.kind === "sleep") return { ...base, state: "waiting", dueAt: report.until }
    const { startedAt } = report
    if ("output" in report) return { ...base, startedAt, state: "completed", output: report.output }
    const { failure, retry } = report
    if (retry === "never" || attempts > this.#rules.retries) return { ...base, startedAt, state: "failed", failure }
    const dueAt = retry === "policy" ? now + retryDelay(attempts, this.#parts.random.next(), this.#rules.retryDelaysMs ?? null) : retry.at
    return { ...base, startedAt, state: "retrying", failure, dueAt }
  }
}

function orderChanged(before: string, now: string): FanfareError {
  return new FanfareError("order_changed", `an earlier attempt of this run ${before}; this one ${now}`, {
    field: "send",
    hint: "Sends of a run are told apart by their order. Where order or number may change, name them: step.sendEvent(id, events).",
  })
}

function cut(text: string): string {
  return text.length <= limits.logLineChars ? text : `${text.slice(0, limits.logLineChars - 1)}…`
}

/** Logging never fails: what JSON cannot carry is shown as text. */
function encodeFields(fields: Readonly<Record<string, unknown>> | undefined): string | null {
  if (fields === undefined || fields === null) return null
  const seen = new WeakSet<object>()
  try {
    const text = JSON.stringify(fields, (_key, value: unknown) => {
      if (typeof value === "bigint") return value.toString()
      if (value instanceof Error) return { name: value.name, message: value.message, stack: value.stack }
      if (typeof value !== "object" || value === null) return value
      if (seen.has(value)) return "(seen above)"
      seen.add(value)
      return value
    })
    return text === undefined ? null : text.length <= limits.logLineChars ? text : JSON.stringify({ cut: cut(text) })
  } catch {
    return JSON.stringify({ cut: "(fields cannot be shown)" })
  }
}

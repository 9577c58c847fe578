import { holdLimit, type RetryRules } from "../core/advance.ts"
import type { Recorder, SendResult, SendWay, SignalResult, StepReport } from "../core/attempt.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import type { Change, LogLine, Unit, UnitResult } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import type { CheckedEvent, EventInput } from "../core/event.ts"
import { isJoined, type JoinResult, needOf } from "../core/join.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Clock, Random } from "../core/ports.ts"
import { produce } from "../core/produce.ts"
import { retryDelay } from "../core/retry.ts"
import type { ClaimedRun } from "../core/run.ts"
import type { Pull } from "../core/source.ts"
import type { StepRecord } from "../core/step.ts"
import { finishKey, type Wait } from "../core/wait.ts"
import type { AttemptTrace } from "../otel/attempt.ts"
import { producing } from "../otel/spans.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import { cut, encodeFields } from "./log-line.ts"
import type { EventIntake } from "./intake.ts"
import { rulesFor, type SendOrigin, type Written } from "./origin.ts"
import { orderChanged, refusal, signalTaken } from "./refusal.ts"
import type { Telemetry } from "./telemetry.ts"
import type { Waiting, WaitReport } from "./waiting.ts"

export interface RecordingParts {
  readonly committer: Committer
  readonly intake: EventIntake
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry
  readonly waiting: Waiting
  readonly newId: (kind: "fan") => string
  readonly joined: Store["joined"]
  readonly course: Store["course"]
  readonly attribute: Store["attribute"]
  readonly keptSteps: (runId: string) => Promise<readonly StepRecord[]>
}

/** What a kept send remembers. */
interface KeptSend {
  readonly ids: readonly string[]
  readonly fanoutId: string | null
  readonly names: readonly string[]
  /** Events of the whole send, of which this record may be one part. */
  readonly total: number
  /** Runs that this part started. */
  readonly runs: number
  /** When the send began: its runs may be spread over a time from there. */
  readonly startedAt: number
}

/**
 * The engine's side of one attempt: what user code does at its steps becomes durable here, under the guard of the run's fence. When
 * another claim has taken over, `superseded` is called and nothing settles any more.
 */
export class Recording implements Recorder {
  readonly #parts: RecordingParts
  readonly #run: ClaimedRun
  readonly #trace: AttemptTrace | null
  readonly #rules: RetryRules
  readonly #steps: Map<string, StepRecord>
  readonly #superseded: () => void
  #pending: Change[] = []
  #lines: LogLine[] = []
  #lineCount: number
  #closed = false
  /** Waits have begun that are not durable yet. */
  #urgent = false
  progressed = false
  /** Whether the run may have waits. */
  waits: boolean

  constructor(
    parts: RecordingParts,
    { run, trace }: { readonly run: ClaimedRun; readonly trace: AttemptTrace | null },
    rules: RetryRules & Partial<FunctionDefinition>,
    steps: readonly StepRecord[],
    superseded: () => void,
  ) {
    this.#parts = parts
    this.#run = run
    this.#trace = trace
    this.#rules = rules
    this.#steps = new Map(steps.map((step) => [step.key, step]))
    this.#superseded = superseded
    this.#lineCount = run.logLines
    this.waits =
      (rules.cancelOn ?? []).length > 0 ||
      typeof rules.startTimeoutMs === "number" ||
      typeof rules.finishTimeoutMs === "number" ||
      steps.some(({ state, kind }) => state === "waiting" && kind !== "sleep")
  }

  get closed(): boolean {
    return this.#closed
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
    if (report.kind === "event" || report.kind === "signal" || report.kind === "invoke") return this.#beginWait(report)
    const step = report.kind === "join" ? await this.#joinRecord(report) : this.#toRecord(report)
    if (report.kind === "join") this.waits = true
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
    this.#trace?.kept(report, step)
    if (step.state === "completed") this.progressed = true
    return step
  }

  around<T>(key: string, work: () => Promise<T>): Promise<T> {
    return this.#trace === null ? work() : this.#trace.step(key, work)
  }

  /** The run is cancelled if it has not ended by then. */
  endBy(dueAt: number): void {
    this.waits = true
    const wait: Wait = { stepKey: finishKey, kind: "deadline", topic: "", key: "", condition: null, dueAt }
    this.#pending.push({ kind: "wait.add", runId: this.#run.id, wait })
    // It may not be there yet also when this is not the first attempt: of a run that was set going again.
    this.#urgent = true
    void this.register()
  }

  async register(): Promise<void> {
    if (this.#closed || !this.#urgent) return
    await this.#commit((unit) => this.#parts.committer.insist(unit), [], null)
  }

  after(ms: number): readonly [Promise<void>, () => void] {
    let cancel: () => void = () => undefined
    const rung = new Promise<void>((resolve) => {
      cancel = this.#parts.clock.after(ms, resolve)
    })
    return [rung, cancel]
  }

  sendSignal(signal: string, data: unknown): Promise<SignalResult> {
    return this.#parts.intake.sendSignal(signal, data)
  }

  kept(): Promise<readonly StepRecord[]> {
    return this.#parts.keptSteps(this.#run.id)
  }

  sent(eventId: string): void {
    const { attribute, telemetry } = this.#parts
    // Only people look at it: a run does not fail for this.
    attribute(eventId, this.#run.id).catch((error: unknown) => telemetry.emit({ name: "agent.failed", agent: "sends", error }))
  }

  async send(key: string, events: readonly EventInput[], way: Omit<SendWay, "joined"> = {}): Promise<SendResult> {
    const { intake, newId } = this.#parts
    const { functionId = null } = way
    const checked = await intake.check(events, functionId)
    const rules = rulesFor(way.rules, checked.total)
    if (checked.total === 0) return { ids: [], fanoutId: null }
    const { names } = checked
    const kept = this.#keptParts(key, names)
    const ids = kept.flatMap((part) => part.ids)
    const [first] = kept
    const total = first?.total ?? checked.total
    const fanned = total > 1 || way.fanned === true || rules !== null
    const fanoutId = first === undefined ? (fanned ? newId("fan") : null) : first.fanoutId
    const startedAt = first?.startedAt ?? this.now()
    if (ids.length < total && total !== checked.total) throw orderChanged(`began to send ${total} events here`, `sends ${checked.total}`)
    let runsBefore = kept.reduce((sum, { runs }) => sum + runs, 0)
    for (let n = kept.length; ids.length < total; n++) {
      const part = await checked.part(ids.length)
      const fanout =
        fanoutId === null
          ? null
          : { id: fanoutId, key: null, from: ids.length, sealed: part.last, cursor: null, rules, startedAt, runsBefore }
      const written = await this.#sendPart(n === 0 ? key : `${key}/${n}`, part.events, { fanout, functionId }, (sent, runs) => ({
        ids: sent,
        fanoutId,
        names,
        total,
        startedAt,
        runs,
      }))
      // Cancelled while it was sent: what is left of it is not sent any more, in no attempt.
      if (written === null) break
      for (const id of written.ids) ids.push(id)
      runsBefore += written.runs
    }
    return { ids, fanoutId }
  }

  async sendSource(key: string, way: Pick<SendWay, "rules" | "functionId">, pull: Pull): Promise<string> {
    const { intake, newId, clock } = this.#parts
    const { functionId = null } = way
    const rules = rulesFor(way.rules, null)
    const [kept] = this.#keptParts(key, [])
    const known = kept?.fanoutId == null ? null : await this.#parts.course("id", kept.fanoutId)
    const id = known?.id ?? newId("fan")
    const startedAt = known?.createdAt ?? this.now()
    const begun = known ?? { taken: 0, total: 0, cursor: null, sealed: false }
    await produce({ check: intake.checkPart(functionId), clock, begun, pull }, async ({ events, ...part }, from, runsBefore) => {
      const fanout = { ...part, id, key: null, from, rules, startedAt, runsBefore }
      // The first part keeps that there is a fan-out; how far it came is kept with the fan-out itself.
      const keep = from === 0 ? (): KeptSend => ({ ids: [], fanoutId: id, names: [], total: 0, startedAt, runs: 0 }) : null
      const written = await this.#sendPart(key, events, { fanout, functionId }, keep)
      return { result: written === null ? { kind: "closed" } : { kind: "applied", duplicates: null }, runs: written?.runs ?? 0 }
    })
    return id
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
    this.#urgent = false
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

  /** Gives null when the fan-out is closed. `keep`: what the step remembers of it, if this part is to be remembered. */
  async #sendPart(
    key: string,
    events: readonly CheckedEvent[],
    origin: Omit<SendOrigin, "runId" | "trace">,
    keep: ((ids: readonly string[], runs: number) => KeptSend) | null,
  ): Promise<Written | null> {
    const { intake, committer } = this.#parts
    const { id: runId, fence } = this.#run
    const startedAt = this.now()
    let step: StepRecord | null = null
    const write = (trace: string | null): Promise<Written> =>
      intake.write(events, { runId, ...origin, trace: trace ?? this.#run.trace ?? null }, (unit, ids, runs) => {
        const output = keep === null ? null : JSON.stringify(keep(ids, runs))
        step =
          output === null
            ? null
            : { key, kind: "send", state: "completed", attempts: 1, output, failure: null, dueAt: null, startedAt, endedAt: this.now() }
        const kept: Change[] = step === null ? [] : [{ kind: "step.save", runId, fence, step }]
        return this.#commit((complete) => committer.insist(complete), [...unit.changes, ...kept], unit.registry)
      })
    const written = await producing(events, write, { fanoutId: origin.fanout?.id ?? null, parent: this.#trace?.context })
    if (written.result.kind === "closed") return null
    if (written.result.kind !== "applied") throw refusal(written.result)
    if (step !== null) this.#steps.set(key, step)
    this.progressed = true
    return written
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

  /** Waits for events are kept with whatever is kept next, or when the attempt parks; the others at once, since they may be refused. */
  async #beginWait(report: WaitReport): Promise<StepRecord> {
    const { waiting, committer } = this.#parts
    const { step, changes } = await waiting.begin(this.#run, report)
    this.waits = true
    if (report.kind === "event" && report.since === null) {
      this.#pending.push(...changes)
      this.#urgent = true
    } else {
      const result = await this.#commit((unit) => committer.insist(unit), changes, null)
      if (result.kind === "taken") throw signalTaken(report.kind === "signal" ? report.signal : "", result.runId)
      if (report.kind === "invoke") this.progressed = true
      if (report.kind === "event") await waiting.lookBack(this.#run, report)
    }
    this.#steps.set(step.key, step)
    return step
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
      return { ...base, state: "waiting", dueAt, output: JSON.stringify({ fanoutId, need, outputs }) }
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

  #toRecord(report: Extract<StepReport, { kind: "run" | "sleep" }>): StepRecord {
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

import { type Admission, admit, startChanges } from "../core/admit.ts"
import type { Intake, Joined, SendResult, SendWay, SignalResult, SourceSend } from "../core/attempt.ts"
import type { Change, NewEvent, Unit, UnitResult } from "../core/change.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import { type CheckedEvent, checkEvent, checkItem, type EventInput, functionInvokedEvent, scheduledTimerEvent } from "../core/event.ts"
import type { Functions, Limits } from "../core/flow-control.ts"
import type { Fanouts } from "../core/fanouts.ts"
import { withGate } from "../core/gate.ts"
import type { IdKind } from "../core/id.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Matcher } from "../core/match.ts"
import type { Clock } from "../core/ports.ts"
import type { Schedules } from "../core/schedules.ts"
import type { Pull, SourceResult } from "../core/source.ts"
import type { ClaimedRun } from "../core/run.ts"
import type { Runs } from "../core/runs.ts"
import type { SqlFanout, SqlFanoutResult } from "../core/transaction.ts"
import { timerData } from "../core/tick.ts"
import { checkSignal, type Offer, signalTopic } from "../core/wait.ts"
import { pack } from "../store/pack.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import type { JoinedSends } from "./joined.ts"
import { paceOf, rulesFor, type SendOrigin, type Written } from "./origin.ts"
import { refusal } from "./refusal.ts"
import type { Registry } from "./registry.ts"
import { Sources } from "./sources.ts"
import type { Telemetry } from "./telemetry.ts"

export interface IntakeParts extends Pick<Intake, "fanouts" | "schedules" | "runs" | "functions" | "limits"> {
  readonly committer: Committer
  readonly joined: JoinedSends
  readonly course: Store["course"]
  readonly registry: Registry
  /** Learns what functions there are now. */
  readonly reload: () => Promise<void>
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
  readonly telemetry: Telemetry
}

/** Events looked at before other work gets its turn: a large send must not hold up the event loop. */
const slice = 250

/** The door: checks events, decides which runs they start, and resolves when all of it is durable. */
export class EventIntake implements Intake {
  readonly #parts: IntakeParts
  /** Fan-outs that are sent a part at a time. */
  readonly sources: Sources
  #state: "opening" | "open" | "closed" = "opening"

  get runs(): Runs {
    return this.#parts.runs
  }

  get fanouts(): Fanouts {
    return this.#parts.fanouts
  }

  get schedules(): Schedules {
    return this.#parts.schedules
  }

  get functions(): Functions {
    return this.#parts.functions
  }

  get limits(): Limits {
    return this.#parts.limits
  }

  constructor(parts: IntakeParts) {
    this.#parts = parts
    this.sources = new Sources({ ...parts, door: this })
  }

  /** The functions are known now: an event that came before would not find those it must start. */
  open(): void {
    this.#state = "open"
  }

  close(): void {
    this.#state = "closed"
  }

  /** Whether events are taken in now. */
  get isOpen(): boolean {
    return this.#state === "open"
  }

  async send(events: readonly EventInput[], way: SendWay = {}): Promise<SendResult> {
    this.checkOpen()
    const { joined, functionId = null, trace = null } = way
    const checked = await this.check(events, functionId)
    const rules = rulesFor(way.rules, checked.total)
    if (checked.total === 0) return { ids: [], fanoutId: null }
    const id = checked.total > 1 || way.fanned === true || rules !== null ? this.#parts.newId("fan") : null
    const startedAt = this.#parts.clock.now()
    let fanoutId = id
    let runsBefore = 0
    const ids: string[] = []
    while (ids.length < checked.total) {
      const part = await checked.part(ids.length)
      const fanout = id === null ? null : { id, key: null, from: ids.length, sealed: part.last, cursor: null, rules, startedAt, runsBefore }
      const origin = { runId: joined?.runId ?? way.runId ?? null, fanout, functionId, trace }
      const written = await this.write(part.events, origin, (unit) =>
        joined === undefined
          ? this.#parts.committer.submit(way.firstWins === true ? { ...unit, firstWins: true } : unit)
          : this.#parts.joined.commit(joined, unit),
      )
      if (written.result.kind !== "applied") throw refusal(written.result)
      for (const each of written.ids) ids.push(each)
      runsBefore += written.runs
      if (written.firstFanoutId !== undefined) fanoutId = written.firstFanoutId
    }
    return { ids, fanoutId }
  }

  sendSource(send: SourceSend, pull: Pull): Promise<SourceResult> {
    return this.sources.send(send, pull)
  }

  async sendSignal(signal: string, data: unknown): Promise<SignalResult> {
    this.checkOpen()
    checkSignal(signal)
    const text = encodeJson(data ?? null, { field: "data", bytes: limits.eventBytes })
    const offer: Offer = {
      topic: signalTopic(signal),
      keys: [""],
      event: null,
      outcome: { state: "completed", output: `{"signal":${JSON.stringify(signal)},"data":${text}}` },
      runId: null,
    }
    const result = await this.#parts.committer.submit({
      changes: [{ kind: "wait.offer", eventId: null, offer }],
      guard: null,
      registry: null,
    })
    if (result.kind !== "applied") throw refusal(result)
    const runId = result.delivered?.[0] ?? null
    return { delivered: runId !== null, runId }
  }

  sendFromSql(fanout: SqlFanout, joined: Joined & Pick<SendWay, "trace">): Promise<SqlFanoutResult> {
    this.checkOpen()
    return this.#parts.joined.fromSql(fanout, joined)
  }

  /** Sends an event of Fanfare's own about a fan-out, together with the fact that this has been done. */
  async announce(fanoutId: string, event: { readonly name: string; readonly data: object }): Promise<void> {
    const data = encodeJson(event.data, { field: "data", bytes: limits.eventBytes })
    const known = this.#parts.registry.match(event.name, () => ({ ...event, id: fanoutId, ts: this.#parts.clock.now() })).length > 0
    const events = known ? [{ name: event.name, data, key: null, ts: null }] : []
    // Of an event that nobody hears only the fact is written. Whoever came first has done it: "duplicate" is fine.
    await this.write(events, { runId: null, fanout: null, functionId: null, trace: null }, (unit) =>
      this.#parts.committer.submit({ ...unit, changes: [...unit.changes, { kind: "fanout.announce", id: fanoutId }] }),
    )
  }

  /** Checks all events before anything is written. */
  async check(events: readonly EventInput[], functionId: string | null): Promise<CheckedSend> {
    if (!Array.isArray(events)) throw new FanfareError("invalid_event", "events must be an array", { field: "events" })
    if (events.length > limits.eventsPerSend) {
      throw new FanfareError("too_many", `one send has ${events.length} events; the most is ${limits.eventsPerSend}`, {
        field: "events",
        bound: limits.eventsPerSend,
        hint: "Send them in several calls.",
      })
    }
    const names = new Set<string>()
    const whole = events.length <= limits.eventsPerTransaction
    const size = whole ? events.length : limits.eventsPerPart
    const kept: CheckedEvent[] = []
    for (let i = 0; i < events.length; i += slice) {
      if (i > 0) await this.#breathe()
      for (const checked of checkSlice(events, i, i + slice, functionId)) {
        names.add(checked.name)
        if (whole) kept.push(checked)
      }
    }
    return {
      total: events.length,
      names: [...names].toSorted(),
      // A large send is checked again part by part: to keep the text of all of it would cost more than to make it twice.
      part: async (from) => {
        if (!whole)
          for (let i = from; i < Math.min(from + size, events.length); i += slice) {
            kept.push(...checkSlice(events, i, Math.min(i + slice, from + size), functionId))
            await this.#breathe()
          }
        return { events: whole ? kept.slice(from) : kept.splice(0), last: from + size >= events.length }
      },
    }
  }

  /** The door for items of a source. */
  checkPart(functionId: string | null): (events: readonly EventInput[], from: number) => Promise<CheckedEvent[]> {
    return async (events, from) => {
      const checked: CheckedEvent[] = []
      for (let i = 0; i < events.length; i += slice) {
        if (i > 0) await this.#breathe()
        checked.push(...checkSlice(events, i, i + slice, functionId, from))
      }
      return checked
    }
  }

  /** Admits checked events in one unit, together with what `extend` adds to it. */
  async write(
    events: readonly CheckedEvent[],
    origin: SendOrigin,
    commit: (unit: Unit, ids: readonly string[], runs: number) => Promise<UnitResult>,
  ): Promise<Written> {
    const { reload, telemetry } = this.#parts
    let admission = await this.#admit(events, origin)
    let result = await commit({ changes: admission.changes, guard: null, registry: admission.version }, admission.eventIds, admission.runs)
    let place = origin
    while (result.kind === "stale" || (result.kind === "paused" && place === origin)) {
      if (result.kind === "stale") await reload()
      else place = { ...origin, fanout: origin.fanout && { ...origin.fanout, rules: withGate(origin.fanout.rules) } }
      admission = await this.#admit(events, place)
      result = await commit({ changes: admission.changes, guard: null, registry: admission.version }, admission.eventIds, admission.runs)
    }
    const { eventIds, changes } = admission
    const known = result.kind === "applied" ? result.duplicates : null
    const again = known === null ? 0 : changes.filter((change) => change.kind === "run.add" && change.run.eventId in known).length
    const runs = admission.runs - again
    if (result.kind === "applied")
      telemetry.emit({ name: "events.accepted", events: events.length, runs, fanoutId: origin.fanout?.id ?? null })
    const ids = known === null ? eventIds : eventIds.map((id) => known[id]?.id ?? id)
    const allKnown = known !== null && Object.keys(known).length === events.length
    return { result, ids, runs, ...(allKnown ? { firstFanoutId: Object.values(known)[0]?.fanoutId ?? null } : {}) }
  }

  async #admit(events: readonly CheckedEvent[], origin: SendOrigin): Promise<Admission & { readonly version: number }> {
    const { registry, clock, newId } = this.#parts
    const now = clock.now()
    const { version, waitedFor } = registry
    const match = origin.functionId === null ? registry.match : this.#only(origin.functionId)
    const { runId, fanout, trace } = origin
    const fanoutId = fanout?.id ?? null
    const whole = { changes: [] as Change[], eventIds: [] as string[], runs: 0, version }
    for (let i = 0; i < events.length; i += slice) {
      if (i > 0) await this.#breathe()
      const pace = fanout === null ? null : paceOf(fanout, whole.runs, i)
      const admission = admit(scoped(events.slice(i, i + slice), origin), match, { runId, fanoutId, pace, trace }, now, newId, waitedFor)
      whole.changes.push(...pack(admission.changes, now))
      whole.eventIds.push(...admission.eventIds)
      whole.runs += admission.runs
    }
    if (fanout !== null) {
      const { id, key, from, sealed, cursor, rules, runsBefore } = fanout
      const part = { id, key, from, sealed, cursor, runsBefore, rules: rules?.gate ?? null, taken: from + events.length }
      whole.changes.push({ kind: "fanout.grow", ...part, runId, name: nameOf(events), events: events.length, runs: whole.runs, at: now })
    }
    return whole
  }

  /** Items go to one function, whatever else may hear. */
  #only(functionId: string): Matcher {
    const definition = this.#parts.registry.definitions.get(functionId)
    if (definition === undefined) {
      throw new FanfareError("not_found", `there is no function "${functionId}"`, {
        field: "function",
        hint: "Start a node that has its code: functions are known once an engine has registered them.",
      })
    }
    return () => [definition]
  }

  /** Starts one run of a function by hand, with an event of its own. */
  async trigger(definition: FunctionDefinition, data: unknown): Promise<string> {
    this.checkOpen()
    const { committer, clock, newId } = this.#parts
    const now = clock.now()
    const text = encodeJson(data ?? {}, { field: "data", bytes: limits.eventBytes })
    const cron = definition.triggers.find((trigger) => "cron" in trigger)
    const timer =
      cron === undefined || data !== undefined ? null : timerData({ id: definition.id, rule: { kind: "cron", ...cron }, data: null }, now)
    const { changes, runId } = causedRun(
      definition,
      { name: timer === null ? functionInvokedEvent : scheduledTimerEvent, data: timer ?? text, ts: now },
      newId,
      now,
    )
    const result = await committer.submit({ changes, guard: null, registry: null })
    if (result.kind !== "applied") throw refusal(result)
    return runId
  }

  /** @throws FanfareError `stopping`: what follows from a request is not known before the functions are */
  checkOpen(): void {
    if (this.#state === "open") return
    throw new FanfareError(
      "stopping",
      this.#state === "opening" ? "the engine is starting" : "the engine is stopping and takes no more events",
    )
  }

  #breathe(): Promise<void> {
    return new Promise((resolve) => void this.#parts.clock.after(0, resolve))
  }
}

/** Keys of items tell them apart within their fan-out, those of events everywhere. */
function scoped(events: readonly CheckedEvent[], { functionId, fanout }: SendOrigin): readonly CheckedEvent[] {
  if (functionId === null || fanout === null) return events
  return events.map((event) => (event.key === null ? event : { ...event, key: `${fanout.id}/${event.key}` }))
}

/** An event of Fanfare's own and the one run it starts. */
export function causedRun(
  definition: FunctionDefinition,
  cause: { readonly name: string; readonly data: string; readonly ts: number },
  newId: (kind: IdKind) => string,
  now: number,
  source: Pick<ClaimedRun, "id" | "trace"> | null = null,
): { changes: Change[]; runId: string } {
  const origin = { fanoutId: null, sourceRunId: source?.id ?? null, trace: source?.trace ?? null }
  const event: NewEvent = { id: newId("evt"), key: null, ...cause, receivedAt: now, ...origin }
  const runId = newId("run")
  const way = cause.name === functionInvokedEvent && source !== null ? "invoked" : "asked"
  return { changes: [{ kind: "event.add", event }, ...startChanges(definition, event, runId, now, way)], runId }
}

/** A send all of whose events are fit. */
export interface CheckedSend {
  readonly total: number
  /** The names of its events, each once. */
  readonly names: readonly string[]
  /** The events from a place on, as many as fit in one transaction. */
  part(from: number): Promise<Part>
}

export interface Part {
  readonly events: readonly CheckedEvent[]
  readonly last: boolean
}

function checkSlice(events: readonly EventInput[], from: number, to: number, functionId: string | null, before = 0): CheckedEvent[] {
  const check = functionId === null ? checkEvent : checkItem
  const name = functionId === null ? "events" : "items"
  return events.slice(from, to).map((event, i) => check(event, `${name}[${before + from + i}]`))
}

function nameOf(events: readonly CheckedEvent[]): string {
  const names = new Set(events.map(({ name }) => name))
  const [first = ""] = names
  return names.size > 1 ? `${first} and ${names.size - 1} other` : first
}

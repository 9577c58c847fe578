import { type Admission, admit, startRun } from "../core/admit.ts"
import type { Intake, Joined, SendResult } from "../core/attempt.ts"
import type { Change, NewEvent, Unit, UnitResult } from "../core/change.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import { type CheckedEvent, checkEvent, type EventInput, scheduledTimerEvent } from "../core/event.ts"
import type { Fanouts } from "../core/fanouts.ts"
import type { IdKind } from "../core/id.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { SqlFanout, SqlFanoutResult } from "../core/transaction.ts"
import { pack } from "../store/pack.ts"
import type { Committer } from "./committer.ts"
import type { JoinedSends } from "./joined.ts"
import type { Registry } from "./registry.ts"
import type { Telemetry } from "./telemetry.ts"

export interface IntakeParts {
  readonly committer: Committer
  readonly joined: JoinedSends
  readonly fanouts: Fanouts
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
  #state: "opening" | "open" | "closed" = "opening"

  get fanouts(): Fanouts {
    return this.#parts.fanouts
  }

  constructor(parts: IntakeParts) {
    this.#parts = parts
  }

  /** The functions are known now: an event that came before would not find those it must start. */
  open(): void {
    this.#state = "open"
  }

  close(): void {
    this.#state = "closed"
  }

  async send(events: readonly EventInput[], joined?: Joined): Promise<SendResult> {
    this.#checkOpen()
    const checked = await this.check(events)
    if (checked.total === 0) return { ids: [], fanoutId: null }
    let fanoutId = checked.total > 1 ? this.#parts.newId("fan") : null
    const ids: string[] = []
    while (ids.length < checked.total) {
      const part = await checked.part(ids.length)
      const origin = { runId: joined?.runId ?? null, fanoutId, sealed: part.last }
      const written = await this.write(part.events, origin, (unit) =>
        joined === undefined ? this.#parts.committer.submit(unit) : this.#parts.joined.commit(joined, unit),
      )
      if (written.result.kind !== "applied") throw refusal(written.result)
      for (const id of written.ids) ids.push(id)
      if (written.firstFanoutId !== undefined) fanoutId = written.firstFanoutId
    }
    return { ids, fanoutId }
  }

  sendFromSql(fanout: SqlFanout, joined: Joined): Promise<SqlFanoutResult> {
    this.#checkOpen()
    return this.#parts.joined.fromSql(fanout, joined)
  }

  /** Sends an event of Fanfare's own about a fan-out, together with the fact that this has been done. */
  async announce(fanoutId: string, event: { readonly name: string; readonly data: object }): Promise<void> {
    const data = encodeJson(event.data, { field: "data", bytes: limits.eventBytes })
    const known = this.#parts.registry.match(event.name, () => ({ ...event, id: fanoutId, ts: this.#parts.clock.now() })).length > 0
    const events = known ? [{ name: event.name, data, key: null, ts: null }] : []
    // Of an event that nobody hears only the fact is written. Whoever came first has done it: "duplicate" is fine.
    await this.write(events, { runId: null, fanoutId: null, sealed: true }, (unit) =>
      this.#parts.committer.submit({ ...unit, changes: [...unit.changes, { kind: "fanout.announce", id: fanoutId }] }),
    )
  }

  /** Checks all events before anything is written. */
  async check(events: readonly EventInput[]): Promise<CheckedSend> {
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
      for (const checked of checkSlice(events, i, i + slice)) {
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
            kept.push(...checkSlice(events, i, Math.min(i + slice, from + size)))
            await this.#breathe()
          }
        return { events: whole ? kept.slice(from) : kept.splice(0), last: from + size >= events.length }
      },
    }
  }

  /** Admits checked events in one unit, together with what `extend` adds to it. */
  async write(
    events: readonly CheckedEvent[],
    origin: SendOrigin,
    commit: (unit: Unit, ids: readonly string[]) => Promise<UnitResult>,
  ): Promise<Written> {
    const { reload, telemetry } = this.#parts
    let admission = await this.#admit(events, origin)
    let result = await commit({ changes: admission.changes, guard: null, registry: admission.version }, admission.eventIds)
    while (result.kind === "stale") {
      await reload()
      admission = await this.#admit(events, origin)
      result = await commit({ changes: admission.changes, guard: null, registry: admission.version }, admission.eventIds)
    }
    const { eventIds, runs } = admission
    if (result.kind === "applied") telemetry.emit({ name: "events.accepted", events: events.length, runs, fanoutId: origin.fanoutId })
    const known = result.kind === "applied" ? result.duplicates : null
    const ids = known === null ? eventIds : eventIds.map((id) => known[id]?.id ?? id)
    const allKnown = known !== null && Object.keys(known).length === events.length
    return { result, ids, ...(allKnown ? { firstFanoutId: Object.values(known)[0]?.fanoutId ?? null } : {}) }
  }

  async #admit(events: readonly CheckedEvent[], origin: SendOrigin): Promise<Admission & { readonly version: number }> {
    const { registry, clock, newId } = this.#parts
    const now = clock.now()
    const { match, version } = registry
    const whole = { changes: [] as Change[], eventIds: [] as string[], runs: 0, version }
    for (let i = 0; i < events.length; i += slice) {
      if (i > 0) await this.#breathe()
      const admission = admit(events.slice(i, i + slice), match, origin, now, newId)
      whole.changes.push(...pack(admission.changes, now))
      whole.eventIds.push(...admission.eventIds)
      whole.runs += admission.runs
    }
    if (origin.fanoutId !== null) {
      const { fanoutId: id, runId, sealed } = origin
      whole.changes.push({ kind: "fanout.grow", id, runId, name: nameOf(events), events: events.length, runs: whole.runs, sealed, at: now })
    }
    return whole
  }

  /** Starts one run of a function by hand, with an event of its own. */
  async trigger(definition: FunctionDefinition, data: unknown): Promise<string> {
    this.#checkOpen()
    const { committer, clock, newId } = this.#parts
    const now = clock.now()
    const text = encodeJson(data ?? {}, { field: "data", bytes: limits.eventBytes })
    const cron = definition.triggers.find((trigger) => "cron" in trigger)
    const timer = cron === undefined || data !== undefined ? null : timerData(cron.cron, cron.timezone, now)
    const { changes, runId } = causedRun(
      definition,
      { name: timer === null ? "fanfare/function.invoked" : scheduledTimerEvent, data: timer ?? text, ts: now },
      newId,
      now,
    )
    const result = await committer.submit({ changes, guard: null, registry: null })
    if (result.kind !== "applied") throw refusal(result)
    return runId
  }

  #checkOpen(): void {
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

/** Where a part of a send comes from; `sealed`: it is the last one. */
export interface SendOrigin {
  readonly runId: string | null
  readonly fanoutId: string | null
  readonly sealed: boolean
}

export interface Written {
  readonly result: UnitResult
  /** The ids under which the events are stored, those of duplicates included. */
  readonly ids: readonly string[]
  /** When every event was a duplicate: the fan-out of the first ones. */
  readonly firstFanoutId?: string | null
}

/** The event of a cron moment. */
export function timerData(cron: string, timezone: string, at: number): string {
  return JSON.stringify({ cron, timezone, scheduledAt: new Date(at).toISOString() })
}

/** An event of Fanfare's own and the one run it starts. */
export function causedRun(
  definition: FunctionDefinition,
  cause: { readonly name: string; readonly data: string; readonly ts: number },
  newId: (kind: IdKind) => string,
  now: number,
): { changes: Change[]; runId: string } {
  const event: NewEvent = { id: newId("evt"), key: null, ...cause, receivedAt: now, fanoutId: null, sourceRunId: null }
  const runId = newId("run")
  return { changes: [{ kind: "event.add", event }, startRun(definition, event, runId, now, true)], runId }
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

function checkSlice(events: readonly EventInput[], from: number, to: number): CheckedEvent[] {
  return events.slice(from, to).map((event, i) => checkEvent(event, `events[${from + i}]`))
}

export function refusal(result: Exclude<UnitResult, { kind: "applied" }>): FanfareError {
  if (result.kind !== "conflict") return new FanfareError("internal", `the store refused the events: ${result.kind}`)
  return new FanfareError(
    "event_conflict",
    `an event with the id "${result.eventKey}" was sent within the last 24 h with another name or data`,
    {
      field: "id",
      hint: "Ids make a send idempotent: the same id must stand for the same event. Nothing of this send was written.",
    },
  )
}

function nameOf(events: readonly CheckedEvent[]): string {
  const names = new Set(events.map(({ name }) => name))
  const [first = ""] = names
  return names.size > 1 ? `${first} and ${names.size - 1} other` : first
}

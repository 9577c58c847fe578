import type { SourceSend } from "../core/attempt.ts"
import type { Unit, UnitResult } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import type { CheckedEvent, EventInput } from "../core/event.ts"
import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import { produce } from "../core/produce.ts"
import type { Pull, SourceCourse, SourcePart, SourcePartResult, SourceResult } from "../core/source.ts"
import type { FanoutCourse } from "../store/read-fanouts.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import { rulesFor, type SendOrigin, type Written } from "./origin.ts"
import { closedFor, refusal } from "./refusal.ts"

/** What of the door sources go through. */
interface Door {
  checkOpen(): void
  checkPart(functionId: string | null): (events: readonly EventInput[], from: number) => Promise<CheckedEvent[]>
  write(events: readonly CheckedEvent[], origin: SendOrigin, commit: (unit: Unit) => Promise<UnitResult>): Promise<Written>
}

export interface SourcesParts {
  readonly door: Door
  readonly committer: Pick<Committer, "submit">
  readonly course: Store["course"]
  readonly newId: (kind: IdKind) => string
  readonly clock: Clock
}

type Begun = Pick<FanoutCourse, "id" | "createdAt" | "taken" | "total" | "cursor" | "sealed" | "cancelled">

/** Fan-outs that are sent a part at a time: by a source in this process, or by one elsewhere whose parts come over HTTP. */
export class Sources {
  readonly #parts: SourcesParts

  constructor(parts: SourcesParts) {
    this.#parts = parts
  }

  /** Resolves when the whole source is durable. */
  async send(send: SourceSend, pull: Pull): Promise<SourceResult> {
    const { door, course, clock } = this.#parts
    door.checkOpen()
    const begun = await this.#begun(send.key)
    const check = door.checkPart(send.functionId ?? null)
    await produce({ check, clock, begun, pull }, (part, from, runsBefore) => this.#add(send, begun, part, from, runsBefore))
    const end = await course("id", begun.id)
    if (end === null || (!end.sealed && !end.cancelled)) throw closedFor(send.key)
    return { fanoutId: begun.id, items: end.taken, events: end.events, runs: end.total, cancelled: end.cancelled }
  }

  /** How far a source has come whose parts come one by one. */
  async course(key: string): Promise<SourceCourse> {
    checkKey(key)
    const known = await this.#parts.course("key", key)
    const { taken, cursor, events, total: runs, sealed, cancelled } = known ?? nothingSent
    return { fanoutId: known?.id ?? null, taken, cursor, events, runs, sealed, cancelled }
  }

  /** Adds the next part of a source. Whoever sends the same source at the same time is told that it is closed to them. */
  async add(key: string, part: SourcePart, trace: string | null = null): Promise<SourcePartResult> {
    const { door } = this.#parts
    door.checkOpen()
    checkKey(key)
    checkPart(part)
    const { from, events, cursor, last, rules, functionId } = part
    const begun = await this.#begun(key)
    if (begun.sealed || begun.cancelled || begun.taken !== from) return { closed: true, runs: 0 }
    const checked = await door.checkPart(functionId ?? null)(events, from)
    const send = {
      key,
      runId: null,
      ...(rules === undefined ? {} : { rules }),
      ...(functionId === undefined ? {} : { functionId }),
      trace,
    }
    const { result, runs } = await this.#add(send, begun, { events: checked, cursor, sealed: last }, from, begun.total)
    if (result.kind !== "applied" && result.kind !== "closed") throw refusal(result)
    return { closed: result.kind === "closed", runs }
  }

  async #begun(key: string): Promise<Begun> {
    const { course, newId, clock } = this.#parts
    return (await course("key", key)) ?? { ...nothingSent, id: newId("fan"), createdAt: clock.now() }
  }

  #add(
    { key, runId, functionId, rules, trace = null }: SourceSend,
    { id, createdAt }: Begun,
    { events, ...part }: { readonly events: readonly CheckedEvent[]; readonly cursor: string | null; readonly sealed: boolean },
    from: number,
    runsBefore: number,
  ): Promise<Written> {
    const fanout = { ...part, id, key, from, rules: rulesFor(rules, null), startedAt: createdAt, runsBefore }
    return this.#parts.door.write(events, { runId, functionId: functionId ?? null, fanout, trace }, (unit) =>
      this.#parts.committer.submit(unit),
    )
  }
}

const nothingSent = { taken: 0, total: 0, events: 0, cursor: null, sealed: false, cancelled: false }

const keyChars = limits.idChars + 1 + limits.eventIdChars

function checkKey(key: string): void {
  if (key !== "" && key.length <= keyChars) return
  throw new FanfareError("invalid_option", `the name of a source has 1 to ${keyChars} characters`, { field: "id", bound: keyChars })
}

function checkPart({ from, events, cursor, last }: SourcePart): void {
  const invalid = (field: string, message: string): FanfareError => new FanfareError("invalid_option", message, { field })
  if (!Number.isSafeInteger(from) || from < 0) throw invalid("from", "from must be how many items came before: a whole number, 0 or more")
  if (!Array.isArray(events)) throw invalid("events", "events must be an array")
  if (events.length > limits.eventsPerTransaction) {
    throw new FanfareError("too_many", `the part has ${events.length} items; the most is ${limits.eventsPerTransaction}`, {
      field: "events",
      bound: limits.eventsPerTransaction,
    })
  }
  if (cursor !== null && typeof cursor !== "string") throw invalid("cursor", "cursor must be a text, or null")
  if (typeof last !== "boolean") throw invalid("last", "last must be true for the part after which nothing comes, else false")
}

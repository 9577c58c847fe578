import type { UnitResult } from "./change.ts"
import { FanfareError } from "./errors.ts"
import type { EventInput } from "./event.ts"
import { limits } from "./limits.ts"
import type { Clock } from "./ports.ts"
import type { Piece, Pull } from "./source.ts"

/** @typeParam Checked an event behind the door */
export interface ProducerParts<Checked> {
  /** The door; `from`: items of the source before these. */
  readonly check: (events: readonly EventInput[], from: number) => Promise<readonly Checked[]>
  readonly clock: Pick<Clock, "after">
  /** How far the fan-out came before; `total`: its runs. */
  readonly begun: { readonly taken: number; readonly total: number; readonly cursor: string | null; readonly sealed: boolean }
  readonly pull: Pull
}

interface SourcePart<Checked> {
  readonly events: readonly Checked[]
  readonly cursor: string | null
  readonly sealed: boolean
}

/**
 * Takes a source to its end, a part at a time: what was taken is durable, and its runs begin, before the next part is asked for. So memory
 * holds one part, however long the source is. Ends early when the fan-out is closed.
 */
export async function produce<Checked>(
  { check, clock, begun, pull }: ProducerParts<Checked>,
  write: (part: SourcePart<Checked>, from: number, runsBefore: number) => Promise<{ readonly result: UnitResult; readonly runs: number }>,
): Promise<void> {
  if (begun.sealed) return
  let { taken, total, cursor } = begun
  const source = new Gatherer(pull({ taken, cursor }), clock)
  try {
    for (;;) {
      const { events, last, ...reached } = await source.next(cursor)
      const checked = await check(events, taken)
      const { result, runs } = await write({ events: checked, cursor: reached.cursor, sealed: last }, taken, total)
      if (result.kind === "closed") return
      if (result.kind === "conflict") throw conflict(result.eventKey)
      if (result.kind !== "applied") throw new FanfareError("internal", `the store refused a part of the source: ${result.kind}`)
      taken += events.length
      total += runs
      cursor = reached.cursor
      if (last) return
    }
  } finally {
    await source.close()
  }
}

/** Gathers pieces of a source into parts: full ones where it is fast, whatever has come where it is slow. */
class Gatherer {
  readonly #source: AsyncIterator<Piece, unknown, undefined>
  readonly #clock: Pick<Clock, "after">
  #asked: Promise<IteratorResult<Piece, unknown>> | null = null
  #ended = false

  constructor(source: AsyncIterator<Piece, unknown, undefined>, clock: Pick<Clock, "after">) {
    this.#source = source
    this.#clock = clock
  }

  async next(from: string | null): Promise<{ events: readonly EventInput[]; cursor: string | null; last: boolean }> {
    const events: EventInput[] = []
    let cursor = from
    let late = false
    let cancel = (): void => undefined
    const deadline = new Promise<null>((resolve) => {
      cancel = this.#clock.after(limits.sourceGatherMs, () => {
        late = true
        resolve(null)
      })
    })
    try {
      while (!this.#ended && events.length < limits.eventsPerPart && !(late && events.length > 0)) {
        this.#asked ??= this.#source.next()
        // Without a single item there is nothing to send: the source may take its time.
        const piece = events.length === 0 ? await this.#asked : await Promise.race([this.#asked, deadline])
        if (piece === null) break
        this.#asked = null
        if (piece.done === true) this.#ended = true
        else {
          checkSize(piece.value.events.length)
          for (const event of piece.value.events) events.push(event)
          cursor = piece.value.cursor
          if (piece.value.last === true) this.#ended = true
        }
      }
    } finally {
      cancel()
    }
    return { events, cursor, last: this.#ended }
  }

  async close(): Promise<void> {
    // A source that still waits for something is left to itself.
    if (!this.#ended && this.#asked === null) await this.#source.return?.()
  }
}

function checkSize(items: number): void {
  if (items <= limits.eventsPerTransaction) return
  throw new FanfareError("too_many", `a page of the source has ${items} items; the most is ${limits.eventsPerTransaction}`, {
    field: "source",
    bound: limits.eventsPerTransaction,
    hint: "Give smaller pages: each is written as a whole.",
  })
}

function conflict(eventKey: string): FanfareError {
  return new FanfareError("event_conflict", `the item with the key "${eventKey}" was sent before with other data`, {
    field: "key",
    hint: "A key stands for one item. What was sent before it stays; the same fan-out goes on there when the source is right.",
  })
}

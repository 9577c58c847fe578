import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { Standing } from "../core/views.ts"
import { Loop } from "../engine/loop.ts"
import type { Telemetry } from "../engine/telemetry.ts"
import type { StreamChange } from "../protocol/api.ts"
import type { Reader } from "../store/store.ts"
import { everything, Gathering, isNothing, merge, moved, nothing } from "./stream-change.ts"

export interface StreamParts {
  readonly telemetry: Telemetry
  readonly reader: Pick<Reader, "standing">
  readonly clock: Clock
  /** Tells events of this node from another's. */
  readonly nodeId: string
}

interface Told {
  readonly number: number
  readonly change: StreamChange
}

/** The store is looked at no longer than one part in so many of the time. */
const restPerLook = 20

/**
 * Tells those who look what has changed, a few times a second however much that is: a hint to ask again, never data. Heard from this
 * node's facts, and for what other nodes do by looking at the store every second. Whoever reads slowly gets what has gathered
 * meanwhile as one event. While nobody listens nothing is done.
 */
export class Stream {
  readonly #parts: StreamParts
  readonly #listeners = new Set<Listener>()
  readonly #loop: Loop
  readonly #gathering = new Gathering()
  readonly #told: Told[] = []
  #number = 0
  #standing: Standing | null = null
  #unlisten: (() => void) | null = null
  #soon: (() => void) | null = null
  #toldAt = 0
  #beatAt = 0
  #closed = false

  constructor(parts: StreamParts) {
    this.#parts = parts
    this.#loop = new Loop({ name: "stream", tick: () => this.#look() }, parts.clock, (agent, error) =>
      parts.telemetry.emit({ name: "agent.failed", agent, error }),
    )
  }

  /**
   * A stream of events for one listener. `lastId`: the last one that it got before its connection broke.
   * @throws FanfareError `busy` when too many listen; `stopping`
   */
  open(lastId: string | undefined): ReadableStream<Uint8Array> {
    if (this.#closed) throw new FanfareError("stopping", "the server is stopping")
    if (this.#listeners.size >= limits.streams) {
      throw new FanfareError("busy", `${limits.streams} live streams are open`, {
        bound: limits.streams,
        hint: "Close some; a browser needs one for all its pages.",
      })
    }
    const listener = new Listener((number) => `${this.#parts.nodeId}.${number}`)
    this.#listeners.add(listener)
    if (this.#listeners.size === 1) this.#begin()
    // Before the first look nothing is known that could be missed: that look tells everything.
    if (this.#standing !== null) listener.tell({ number: this.#number, change: this.#since(lastId) })
    return listener.stream(() => this.#leave(listener))
  }

  /** Something was done through the API that no fact tells of. */
  touched(change: Partial<StreamChange>): void {
    if (this.#listeners.size === 0) return
    this.#gathering.add({ ...nothing, ...change })
    this.#tellSoon()
  }

  get listening(): number {
    return this.#listeners.size
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const listener of this.#listeners) listener.end()
    this.#listeners.clear()
    this.#pause()
    await this.#loop.stop()
  }

  #begin(): void {
    const { telemetry, clock } = this.#parts
    this.#beatAt = clock.now()
    this.#unlisten = telemetry.listen((fact) => {
      if (this.#gathering.hear(fact)) this.#tellSoon()
    })
    this.#loop.start()
  }

  #leave(listener: Listener): void {
    if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return
    this.#pause()
    void this.#loop.stop()
  }

  #pause(): void {
    this.#unlisten?.()
    this.#unlisten = null
    this.#soon?.()
    this.#soon = null
    // What happens while nobody listens is not gathered: whoever comes back is told to look at everything.
    this.#gathering.take()
    this.#told.length = 0
    this.#number++
    this.#standing = null
  }

  #since(lastId: string | undefined): StreamChange {
    const last = lastId?.startsWith(`${this.#parts.nodeId}.`) === true ? Number(lastId.slice(this.#parts.nodeId.length + 1)) : Number.NaN
    const first = this.#told[0]?.number ?? this.#number + 1
    if (!(last >= first - 1 && last <= this.#number)) return everything
    return this.#told.filter(({ number }) => number > last).reduce((all, { change }) => merge(all, change), nothing)
  }

  #tellSoon(): void {
    if (this.#soon !== null) return
    const { clock } = this.#parts
    const rest = Math.max(gatherMs, this.#toldAt + limits.streamGapMs - clock.now())
    this.#soon = clock.after(rest, () => {
      this.#soon = null
      this.#tell()
    })
  }

  #tell(): void {
    const change = this.#gathering.take()
    if (isNothing(change)) return
    this.#toldAt = this.#parts.clock.now()
    const told = { number: ++this.#number, change }
    this.#told.push(told)
    if (this.#told.length > limits.streamKept) this.#told.shift()
    for (const listener of this.#listeners) listener.tell(told)
  }

  async #look(): Promise<number> {
    const { clock, reader } = this.#parts
    const began = clock.now()
    if (began - this.#beatAt >= limits.streamBeatMs) {
      this.#beatAt = began
      for (const listener of this.#listeners) if (!listener.beat()) this.#leave(listener)
    }
    const standing = await reader.standing()
    const change = this.#standing === null ? { ...everything, counts: standing.counts } : moved(this.#standing, standing)
    this.#standing = standing
    if (!isNothing(change)) {
      this.#gathering.add(change)
      this.#tellSoon()
    }
    return Math.max(limits.streamLookMs, (clock.now() - began) * restPerLook)
  }
}

/** What comes together is told together. */
const gatherMs = 50

/** One who listens. Whoever does not read in time gets what has gathered as one event. */
class Listener {
  readonly #idOf: (number: number) => string
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null
  #waiting: Told | null = null
  #wants = false
  #stuck = false

  constructor(idOf: (number: number) => string) {
    this.#idOf = idOf
  }

  stream(left: () => void): ReadableStream<Uint8Array> {
    return new ReadableStream(
      {
        start: (controller) => {
          this.#controller = controller
          controller.enqueue(bytes("retry: 2000\n\n"))
        },
        pull: () => {
          this.#wants = true
          this.#stuck = false
          this.#flush()
        },
        cancel: left,
      },
      { highWaterMark: 1 },
    )
  }

  tell(told: Told): void {
    this.#waiting = this.#waiting === null ? told : { number: told.number, change: merge(this.#waiting.change, told.change) }
    this.#flush()
  }

  /** A sign of life; false when it was given up, since it has read nothing since the last one. */
  beat(): boolean {
    if (this.#wants) this.#give(": beat\n\n")
    else if (this.#stuck) {
      this.end()
      return false
    } else this.#stuck = true
    return true
  }

  end(): void {
    try {
      this.#controller?.close()
    } catch {
      // It has gone by itself.
    }
  }

  #flush(): void {
    if (!this.#wants || this.#waiting === null) return
    const { number, change } = this.#waiting
    this.#waiting = null
    this.#give(`id: ${this.#idOf(number)}\nevent: change\ndata: ${JSON.stringify(change)}\n\n`)
  }

  #give(text: string): void {
    this.#wants = false
    this.#controller?.enqueue(bytes(text))
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

import type { Clock } from "../core/ports.ts"

/** One duty of a node. */
export interface Agent {
  readonly name: string
  /** Does a bounded piece of the duty; gives the milliseconds until it should look again. */
  tick(): Promise<number>
}

/** Keeps an agent at its duty: tick, rest, tick. A tick that fails is reported and tried again after `retryMs`. */
export class Loop {
  readonly #agent: Agent
  readonly #clock: Clock
  readonly #failed: (agent: string, error: unknown) => void
  #cancelRest: (() => void) | null = null
  #ticking: Promise<void> | null = null
  #rung = false
  #stopped = true

  constructor(agent: Agent, clock: Clock, failed: (agent: string, error: unknown) => void) {
    this.#agent = agent
    this.#clock = clock
    this.#failed = failed
  }

  start(): void {
    this.#stopped = false
    this.ring()
  }

  /** Look again now, or as soon as the tick under way is done. */
  ring(): void {
    if (this.#stopped) return
    if (this.#ticking !== null) {
      this.#rung = true
      return
    }
    this.#cancelRest?.()
    this.#cancelRest = null
    this.#ticking = this.#tick()
  }

  /** No tick begins any more; resolves when the one under way is done. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancelRest?.()
    this.#cancelRest = null
    await this.#ticking
  }

  async #tick(): Promise<void> {
    let rest = retryMs
    try {
      rest = await this.#agent.tick()
    } catch (error) {
      if (!this.#stopped) this.#failed(this.#agent.name, error)
    }
    this.#ticking = null
    if (this.#stopped) return
    const again = this.#rung
    this.#rung = false
    this.#cancelRest = this.#clock.after(again ? 0 : Math.max(0, rest), () => this.ring())
  }
}

const retryMs = 1_000

import { setImmediate as turn, setTimeout as delay } from "node:timers/promises"
import type { App } from "../core/app.ts"
import { type Duration, durationMs } from "../core/duration.ts"
import { FanfareError } from "../core/errors.ts"
import type { FanoutSummary, RunDetail, RunFilter, RunSummary } from "../core/views.ts"
import { Engine } from "../engine/engine.ts"
import { systemClock } from "../engine/system.ts"
import type { Listener } from "../engine/telemetry.ts"
import type { OpenStore } from "../store/open.ts"
import { sqlite } from "../store/open-sqlite.ts"
import { localTransport } from "../transport/local.ts"
import { VirtualClock } from "./clock.ts"
import { seededRandom } from "./random.ts"

export interface HarnessOptions {
  /** The app under test, or several. */
  readonly client: App | readonly App[]
  /** Where time begins: a `Date`, ISO 8601 text or milliseconds since 1970. Default: 2026-01-01T00:00:00Z. */
  readonly now?: Date | string | number
  /** Of all chance: default 1. */
  readonly seed?: number
  /** Attempts at the same time: default 200. */
  readonly concurrency?: number
}

/**
 * The real engine on a store in memory, with time that only moves when the test says so.
 *
 * ```ts
 * const harness = await createHarness({ client: fanfare, now: "2026-11-23T08:59:00Z" })
 * await harness.advance("26h")
 * const failed = await harness.runs({ state: "failed" })
 * await harness.close()
 * ```
 */
export interface Harness {
  /** Milliseconds since 1970. */
  now(): number
  /** Lets everything happen that is due now, without moving time. */
  settle(): Promise<void>
  /** Moves time, from one due moment to the next, letting everything happen on the way. */
  advance(duration: Duration): Promise<void>
  /** Time jumps: nothing happens on the way, all of it is late. Like a machine that slept. */
  jump(duration: Duration): Promise<void>
  /** Starts a run of a function by hand and lets it happen; gives the run as it stands then. */
  trigger(functionId: string, data?: unknown): Promise<RunDetail>
  /** One run with its attempts, steps, logs and output. */
  run(id: string): Promise<RunDetail>
  /** Newest first, at most 500. */
  runs(filter?: RunFilter): Promise<readonly RunSummary[]>
  /** Newest first, at most 500. */
  fanouts(): Promise<readonly FanoutSummary[]>
  /** The node dies at this moment without a word, and another one starts on the same store. */
  crash(): Promise<void>
  /** Hears the engine's facts, over crashes too; gives the way to stop. */
  listen(listener: Listener): () => void
  /** Ends it: nothing of it is left. */
  close(): Promise<void>
}

const begin = Date.UTC(2026, 0, 1)

/** Starts an engine for a test, on a store in memory and a clock that stands still. */
export async function createHarness(options: HarnessOptions): Promise<Harness> {
  const clock = new VirtualClock(options.now === undefined ? begin : new Date(options.now).getTime())
  const opened = await sqlite(":memory:").open(clock)
  const listeners = new Set<Listener>()
  const boot = (life: number): TestNode => {
    const born = new TestNode(options, clock, opened, life)
    born.engine.telemetry.listen((fact) => {
      for (const listener of listeners) listener(fact)
    })
    return born
  }
  let node = boot(0)
  await node.engine.start()
  await node.settle()

  const run = async (id: string): Promise<RunDetail> => {
    const found = await opened.reader.run(id)
    if (found === null) throw new FanfareError("not_found", `there is no run ${id}`)
    return found
  }
  return {
    now: () => clock.now(),
    settle: () => node.settle(),
    advance: (duration) => node.advance(durationMs(duration, "duration")),
    async jump(duration) {
      clock.jump(durationMs(duration, "duration"))
      await node.settle()
    },
    async trigger(functionId, data) {
      const definition = [...node.engine.registry.definitions.values()].find(
        ({ id, localId }) => id === functionId || localId === functionId,
      )
      if (definition === undefined) throw new FanfareError("not_found", `there is no function "${functionId}"`)
      const started = node.engine.intake.trigger(definition, data)
      await node.settle()
      return run(await started)
    },
    run,
    runs: async (filter = {}) => (await opened.reader.runs({ limit: 500, ...filter })).items,
    fanouts: async () => (await opened.reader.fanouts(null, 500)).items,
    async crash() {
      node.kill()
      node = boot(node.boot + 1)
      await node.engine.start()
      await node.settle()
    },
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async close() {
      node.kill()
      await opened.store.close()
    },
  }
}

/** Real time that a handler may take for what is not under the virtual clock, such as a file or a socket. */
const patienceMs = 1_000
const farMs = 24 * 60 * 60 * 1_000

/** One engine over its life; after `kill`, nothing that it still does reaches the store. */
class TestNode {
  readonly engine: Engine
  readonly boot: number
  readonly #clock: VirtualClock
  #dead = false
  /** Calls that wait for the next turn of the event loop. */
  #soon = 0

  constructor({ client, seed = 1, concurrency }: HarnessOptions, clock: VirtualClock, { store, reader }: OpenStore, boot: number) {
    this.boot = boot
    this.#clock = clock
    const apps = [client].flat()
    this.engine = new Engine({
      store: new Proxy(store, { get: (target, method: keyof typeof store) => this.#guard(target[method] as () => Promise<unknown>) }),
      reader,
      exclusive: true,
      apps,
      transport: localTransport(apps),
      clock: { now: () => clock.now(), after: (ms, ring) => this.#after(ms, ring) },
      random: seededRandom(seed, `boot ${boot}`),
      host: "test",
      pid: 0,
      pollMs: farMs,
      ...(concurrency === undefined ? {} : { concurrency }),
    })
  }

  kill(): void {
    this.#dead = true
  }

  async settle(): Promise<void> {
    await this.#drain(this.#clock.now())
  }

  async advance(ms: number): Promise<void> {
    const until = this.#clock.now() + ms
    await this.#drain(until)
    this.#clock.moveTo(until)
    await this.settle()
  }

  /** Rings what is due by `until`, in order, until nothing is left and no handler is on the way. */
  async #drain(until: number): Promise<void> {
    let waited = 0
    for (;;) {
      await turn()
      if (this.#soon > 0) continue
      if (this.engine.running > 0 && waited < patienceMs) {
        // A handler that waits for something real: give it real time before virtual time moves on.
        waited++
        await (waited < 5 ? turn() : delay(1))
        continue
      }
      if (!this.#clock.step(until)) return
      waited = 0
    }
  }

  /** What is due at once happens by itself, so that a test may simply await `client.send`; the rest waits for time to be moved. */
  #after(ms: number, ring: () => void): () => void {
    const call = (): void => {
      if (!this.#dead) ring()
    }
    if (ms > 0) return this.#clock.after(ms, call)
    let open = true
    const close = (): void => {
      if (open) this.#soon--
      open = false
    }
    this.#soon++
    const cancel = systemClock.after(0, () => {
      close()
      call()
    })
    return () => {
      close()
      cancel()
    }
  }

  #guard(method: (...args: unknown[]) => Promise<unknown>): (...args: unknown[]) => Promise<unknown> {
    return async (...args) => {
      if (this.#dead) return new Promise(() => {})
      const result = await method(...args)
      return this.#dead ? new Promise(() => {}) : result
    }
  }
}

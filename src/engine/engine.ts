import type { App } from "../core/app.ts"
import { createIds } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock, Random } from "../core/ports.ts"
import type { NodeRow, Store } from "../store/store.ts"
import type { Outbox } from "../store/within.ts"
import type { Transport } from "../transport/transport.ts"
import { createAnnouncer } from "./announcer.ts"
import { Committer } from "./committer.ts"
import { Dispatcher } from "./dispatcher.ts"
import { Executor } from "./executor.ts"
import { EventIntake } from "./intake.ts"
import { createJanitor } from "./janitor.ts"
import { JoinedSends } from "./joined.ts"
import { Loop } from "./loop.ts"
import { createPulse } from "./pulse.ts"
import { Registry, registration } from "./registry.ts"
import { createHealer, createRescuer } from "./rescuer.ts"
import { StoreClock } from "./store-clock.ts"
import { Telemetry } from "./telemetry.ts"
import { createTicker } from "./ticker.ts"
import { createWaker } from "./waker.ts"

export interface EngineOptions {
  readonly store: Store
  /** Calls back when another node put runs in line; gives the way to stop. */
  readonly listen?: (rung: () => void) => () => void
  /** Writes in transactions of user code, where the store can share one. */
  readonly outbox?: Outbox
  /** Whether this node has the store for itself, so that whoever else is recorded as alive is not. */
  readonly exclusive: boolean
  readonly apps: readonly App[]
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly host: string
  readonly pid: number
  /** Attempts at the same time: default 200. */
  readonly concurrency?: number
  /** Days that ended runs are kept: default 30. */
  readonly retentionDays?: number
  /** Longest rest of an agent when nothing rings: default 1 s. */
  readonly pollMs?: number
  /** Milliseconds that attempts under way have to end when the node stops: default 30 s. */
  readonly stopGraceMs?: number
}

/** One node: its agents, put together, started and stopped in order. */
export class Engine {
  readonly nodeId: string
  readonly startedAt: number
  readonly telemetry = new Telemetry()
  readonly registry = new Registry()
  readonly intake: EventIntake
  readonly #options: EngineOptions
  readonly #clock: StoreClock
  readonly #committer: Committer
  readonly #executor: Executor
  readonly #dispatcher: Dispatcher
  readonly #loops: Loop[]
  #disconnect: (() => void)[] = []
  #unlisten: (() => void) | undefined

  constructor(options: EngineOptions) {
    const { store, random, transport } = options
    const clock = new StoreClock(options.clock)
    this.#clock = clock
    this.#options = options
    const newId = createIds(clock, random)
    this.nodeId = newId("node")
    this.startedAt = clock.now()
    const { telemetry, registry } = this
    let waker: Loop | null = null
    let announcer: Loop | null = null
    this.#committer = new Committer(store, clock, {
      want: () => this.#dispatcher.want(),
      claimed: (claim) => this.#dispatcher.claimed(claim),
      timerSet: () => waker?.ring(),
      ended: () => announcer?.ring(),
      told: (now) => clock.told(now),
    })
    const committer = this.#committer
    const reload = async (): Promise<void> => registry.replace(await store.functions())
    const joined = new JoinedSends({ outbox: options.outbox ?? null, committer, registry, reload, clock, newId })
    this.intake = new EventIntake({ committer, joined, registry, reload, clock, newId, telemetry })
    this.#executor = new Executor({
      joined: (id, outputs) => store.joined(id, outputs),
      committer,
      intake: this.intake,
      clock,
      random,
      telemetry,
      newId,
      registry,
      transport,
    })
    const executor = this.#executor
    const concurrency = options.concurrency ?? limits.nodeConcurrency
    this.#dispatcher = new Dispatcher({ executor, clock, nodeId: this.nodeId, functionIds: () => transport.hosts(), concurrency })
    const pollMs = options.pollMs ?? limits.restMs
    // Only other nodes listen to a pulse.
    const pulseMs = options.exclusive ? Math.max(limits.pulseMs, pollMs) : limits.pulseMs
    const failed = (agent: string, error: unknown): void => telemetry.emit({ name: "agent.failed", agent, error })
    waker = new Loop(
      createWaker(store, pollMs, () => committer.ring()),
      clock,
      failed,
    )
    announcer = new Loop(createAnnouncer(store, this.intake, pollMs), clock, failed)
    const agents = [
      createPulse({ store, node: () => this.#node(), clock, executor, telemetry, pulseMs }),
      createRescuer({
        store,
        committer,
        registry,
        clock,
        nodeId: this.nodeId,
        restMs: Math.max(pollMs, options.exclusive ? limits.leaseMs : limits.pulseMs),
      }),
      createHealer(store, Math.max(limits.leaseMs, pollMs)),
      createTicker({ store, committer, registry, newId, telemetry, pollMs }),
      createJanitor(store, clock, options.retentionDays ?? limits.retentionDays),
      { name: "bell", tick: async () => (committer.ring(), pollMs) },
    ]
    this.#loops = [waker, announcer, ...agents.map((agent) => new Loop(agent, clock, failed))]
  }

  /** Attempts under way. */
  get running(): number {
    return this.#executor.running
  }

  /** Registers the apps, takes over what dead nodes left, and begins to work. */
  async start(): Promise<void> {
    const { store, apps, exclusive, listen } = this.#options
    await store.pulse(this.#node(), exclusive)
    await this.register(apps)
    this.intake.open()
    this.#dispatcher.start()
    for (const loop of this.#loops) loop.start()
    this.#unlisten = listen?.(() => this.#committer.ring())
    this.telemetry.emit({ name: "engine.started", nodeId: this.nodeId, functions: this.registry.definitions.size })
  }

  /** Makes these the functions of their apps from now on. */
  async register(apps: readonly App[]): Promise<void> {
    const { store } = this.#options
    await this.#committer.submit(registration(apps, await store.schedules(), this.#clock.now()))
    this.registry.host(apps)
    this.registry.replace(await store.functions())
    for (const disconnect of this.#disconnect) disconnect()
    this.#disconnect = apps.map((app) => app.connect(this.intake))
    for (const loop of this.#loops) loop.ring()
    this.#committer.ring()
  }

  /**
   * Stops claiming at once, hands back what has not begun, gives attempts under way their grace, and leaves. What is still running
   * then is aborted and handed back too.
   */
  async stop(): Promise<void> {
    this.intake.close()
    this.#unlisten?.()
    for (const disconnect of this.#disconnect) disconnect()
    await Promise.all(this.#loops.map((loop) => loop.stop()))
    const returned = this.#dispatcher.stop()
    await this.#until(() => this.#executor.running === 0, this.#options.stopGraceMs ?? limits.stopGraceMs)
    const abandoned = this.#executor.abandon("its node stopped before it ended")
    // A store that is away must not keep the process for ever: others take over what it could not say.
    await this.#until(() => this.#executor.unsettled === 0 && this.#committer.idle, limits.stopSettleMs)
    await this.#options.store
      .leave(this.nodeId)
      .catch((error: unknown) => this.telemetry.emit({ name: "agent.failed", agent: "pulse", error }))
    this.telemetry.emit({ name: "engine.stopped", nodeId: this.nodeId, returned, abandoned })
  }

  #node(): NodeRow {
    const { host, pid, transport } = this.#options
    return { id: this.nodeId, host, pid, functionIds: transport.hosts() }
  }

  async #until(condition: () => boolean, ms: number): Promise<void> {
    const clock = this.#clock
    const end = clock.now() + ms
    while (!condition() && clock.now() < end) {
      await new Promise<void>((resolve) => void clock.after(Math.min(5, end - clock.now()), resolve))
    }
  }
}

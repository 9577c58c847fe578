import type { App } from "../core/app.ts"
import type { PausePolicy } from "../core/definition.ts"
import { createIds } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock, Random } from "../core/ports.ts"
import type { NodeRow, Reader, Store } from "../store/store.ts"
import type { Outbox } from "../store/within.ts"
import type { Transport } from "../transport/transport.ts"
import { type Agents, createAgents } from "./agents.ts"
import { Committer } from "./committer.ts"
import { Dispatcher } from "./dispatcher.ts"
import { Executor } from "./executor.ts"
import { StoredFanouts } from "./fanouts.ts"
import { EventIntake } from "./intake.ts"
import { JoinedSends } from "./joined.ts"
import { Registry, registration } from "./registry.ts"
import { StoreClock } from "./store-clock.ts"
import { Telemetry } from "./telemetry.ts"

export interface EngineOptions {
  readonly store: Store
  readonly reader: Reader
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
  readonly #agents: Agents
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
    this.#committer = new Committer(store, clock, {
      want: () => this.#dispatcher.want(),
      claimed: (claim) => this.#dispatcher.claimed(claim),
      timerSet: () => this.#agents.waker.ring(),
      ended: () => this.#agents.announcer.ring(),
      cancelled: (runIds) => this.#executor.cancel(runIds),
      told: (now) => clock.told(now),
    })
    const committer = this.#committer
    const reload = async (): Promise<void> => registry.replace(await store.functions())
    const joined = new JoinedSends({ outbox: options.outbox ?? null, committer, registry, reload, clock, newId })
    const fanouts = new StoredFanouts({ store, reader: options.reader, clock, newId, begun: () => this.#agents.operator.ring() })
    this.intake = new EventIntake({ committer, joined, fanouts, registry, reload, clock, newId, telemetry })
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
    this.#agents = createAgents({
      store,
      committer,
      executor,
      intake: this.intake,
      registry,
      telemetry,
      clock,
      newId,
      nodeId: this.nodeId,
      node: () => this.#node(),
      exclusive: options.exclusive,
      pollMs: options.pollMs ?? limits.restMs,
      retentionDays: options.retentionDays ?? limits.retentionDays,
    })
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
    for (const loop of this.#agents.all) loop.start()
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
    for (const loop of this.#agents.all) loop.ring()
    this.#committer.ring()
  }

  /** Sets the most of a limit, from now on and on all nodes, in place of what its functions say; null: what they say. */
  async setLimit(key: string, max: number | null): Promise<void> {
    await this.#options.store.setLimit(key, max)
    this.#look()
  }

  /** Pauses a function on all nodes, or with null lets it go on. What executes goes on to its end. */
  async pause(functionId: string, policy: PausePolicy | null): Promise<void> {
    await this.#options.store.pause(functionId, policy)
    this.registry.replace(await this.#options.store.functions())
    this.#look()
  }

  /** Runs may go on. */
  #look(): void {
    this.#agents.waker.ring()
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
    await Promise.all(this.#agents.all.map((loop) => loop.stop()))
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

import type { App } from "../core/app.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import type { HttpApp } from "../core/http-app.ts"
import { createIds, type IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Login } from "../core/login.ts"
import type { Clock, Random } from "../core/ports.ts"
import type { StepRecord } from "../core/step.ts"
import type { KnownFunctions } from "../core/views.ts"
import { watchOf } from "../core/wait.ts"
import type { NodeRow, Reader, Store } from "../store/store.ts"
import type { Outbox } from "../store/within.ts"
import type { Transport } from "../transport/transport.ts"
import { type Agents, createAgents } from "./agents.ts"
import { Committer } from "./committer.ts"
import { Dispatcher } from "./dispatcher.ts"
import { Executor } from "./executor.ts"
import { storedFunctions, storedLimits } from "./flow-control.ts"
import { StoredFanouts } from "./fanouts.ts"
import { EventIntake } from "./intake.ts"
import { JoinedSends } from "./joined.ts"
import { inProcess, type RegisteredApp, Registry, registration, scheduleIds } from "./registry.ts"
import { StoredRuns } from "./runs.ts"
import { StoredSchedules } from "./schedules.ts"
import { StoreClock } from "./store-clock.ts"
import { Telemetry } from "./telemetry.ts"
import { Waiting } from "./waiting.ts"

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
  /** Days that ended runs are kept. */
  readonly retentionDays: number
  readonly telemetry = new Telemetry()
  readonly registry = new Registry()
  readonly intake: EventIntake
  readonly #options: EngineOptions
  readonly #clock: StoreClock
  readonly #committer: Committer
  readonly #executor: Executor
  readonly #dispatcher: Dispatcher
  readonly #fanouts: StoredFanouts
  readonly #waiting: Waiting
  readonly #agents: Agents
  #disconnect: (() => void)[] = []
  #unlisten: (() => void) | undefined

  constructor(options: EngineOptions) {
    const { store, random, transport } = options
    this.#options = options
    const clock = new StoreClock(options.clock)
    this.#clock = clock
    const newId = createIds(clock, random)
    this.nodeId = newId("node")
    this.startedAt = clock.now()
    this.retentionDays = options.retentionDays ?? limits.retentionDays
    const { telemetry, registry } = this
    const running = (): number => this.#executor.running
    this.#committer = new Committer(store, clock, {
      get running() {
        return running()
      },
      want: () => this.#dispatcher.want(),
      claimed: (claim) => this.#dispatcher.claimed(claim),
      timerSet: () => this.#agents.waker.ring(),
      ended: () => this.#fanoutsEnded(),
      opened: (fanoutIds) => this.#release(fanoutIds),
      doomed: () => this.#agents.canceller.ring(),
      taken: ({ now, ...turn }) => {
        clock.told(now)
        telemetry.emit({ name: "turn.taken", ...turn })
      },
    })
    const committer = this.#committer
    const reload = async (): Promise<void> => this.#learn(await store.functions())
    const joined = new JoinedSends({ outbox: options.outbox ?? null, committer, registry, reload, clock, newId })
    const course: Store["course"] = (by, value) => store.course(by, value)
    this.#fanouts = this.#createFanouts(newId)
    const asked = { fanouts: this.#fanouts, schedules: this.#createSchedules(), runs: this.#createRuns(newId) }
    const flow = { store, reader: options.reader, registry, reload, look: () => this.#look() }
    const control = { functions: storedFunctions(flow), limits: storedLimits(flow) }
    this.intake = new EventIntake({ ...asked, ...control, committer, joined, course, registry, reload, clock, newId, telemetry })
    this.#waiting = new Waiting({ store, committer, registry, reload, clock, newId })
    const shared = { committer, intake: this.intake, registry, telemetry, clock, random, newId }
    const attribute: Store["attribute"] = (eventId, runId) => store.attribute(eventId, runId)
    const keptSteps = async (runId: string): Promise<readonly StepRecord[]> => (await options.reader.run(runId))?.steps ?? []
    const joinedOf: Store["joined"] = (id, outputs) => store.joined(id, outputs)
    this.#executor = new Executor({ ...shared, waiting: this.#waiting, joined: joinedOf, course, attribute, keptSteps, transport })
    const executor = this.#executor
    const { nodeId } = this
    const concurrency = options.concurrency ?? limits.nodeConcurrency
    const reach = { functionIds: () => transport.hosts(), quotas: () => transport.quotas?.() ?? [] }
    this.#dispatcher = new Dispatcher({ executor, clock, nodeId, ...reach, concurrency })
    this.#agents = createAgents({
      ...shared,
      store,
      executor,
      reload,
      fanoutsEnded: () => this.#fanoutsEnded(),
      nodeId,
      node: () => this.#node(),
      exclusive: options.exclusive,
      pollMs: options.pollMs ?? limits.restMs,
      retentionDays: this.retentionDays,
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
    this.registry.host(apps)
    await this.#register(apps.map(inProcess))
    for (const disconnect of this.#disconnect) disconnect()
    this.#disconnect = apps.map((app) => app.connect(this.intake))
  }

  /** Keeps steps of a run that is in the hands of another node. False: that claim of it does not hold any more. */
  async keepSteps(runId: string, fence: number, steps: readonly StepRecord[]): Promise<boolean> {
    const changes = steps.map((step) => ({ kind: "step.save", runId, fence, step }) as const)
    const { kind } = await this.#committer.submit({ changes, guard: { runId, fence }, registry: null })
    return kind === "applied"
  }

  /** Ends a login of a person on every server that shares the store. */
  logOut(login: Login): Promise<void> {
    return this.#options.store.logOut(login)
  }

  /** Its transport reaches other functions, or has more room: there may be runs to claim. */
  reachChanged(): void {
    this.#committer.ring()
  }

  /** Makes these the functions of an app elsewhere; gives whether that changes anything. */
  async registerHttp(app: HttpApp, definitions: readonly FunctionDefinition[]): Promise<boolean> {
    const known = this.registry.apps.find(({ id }) => id === app.id)
    if (known?.checksum === app.checksum) return false
    await this.#register([{ id: app.id, definitions, http: app }])
    return true
  }

  /** Offers the functions of an app that is called over HTTP no more. What they did stays. */
  async forgetHttp(appId: string): Promise<void> {
    await this.#register([{ id: appId, definitions: [] }])
  }

  async #register(apps: readonly RegisteredApp[]): Promise<void> {
    const { store } = this.#options
    // What cancels runs is known to every sender before the first of them can start.
    await this.#waiting.watch(apps.flatMap(({ definitions }) => definitions.flatMap(({ cancelOn }) => cancelOn.map(watchOf))))
    // By the store's time: this node's own clock may be wrong, and nothing has put it right yet.
    const { stored, now } = await store.schedules(
      apps.map(({ id }) => id),
      scheduleIds(apps),
    )
    await this.#committer.submit(registration(apps, stored, now))
    this.#learn(await store.functions())
    for (const loop of this.#agents.all) loop.ring()
    this.#committer.ring()
  }

  /** Runs may go on. */
  #look(): void {
    this.#agents.waker.ring()
    this.#committer.ring()
  }

  #learn(known: KnownFunctions): void {
    this.registry.replace(known)
    this.#options.transport.learn?.(known)
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

  #createFanouts(newId: (kind: IdKind) => string): StoredFanouts {
    const { store, reader } = this.#options
    const begun = (): void => {
      this.#agents.operator.ring()
      this.#fanoutsEnded()
      this.#committer.ring()
    }
    const claimable = (): void => this.#committer.ring()
    return new StoredFanouts({ store, reader, registry: this.registry, clock: this.#clock, newId, begun, claimable })
  }

  #createSchedules(): StoredSchedules {
    const { store, reader, random } = this.#options
    const changed = (): void => this.#agents.ticker.ring()
    const lined = (): void => this.#committer.ring()
    return new StoredSchedules({ store, reader, registry: this.registry, clock: this.#clock, random, changed, lined })
  }

  #createRuns(newId: (kind: IdKind) => string): StoredRuns {
    const { store, reader } = this.#options
    const { registry, telemetry } = this
    const executor = { recall: (runIds: readonly string[]): void => this.#executor.recall(runIds) }
    const begun = (): void => this.#agents.operator.ring()
    const parts = { store, reader, committer: this.#committer, executor, registry, clock: this.#clock, newId, telemetry, begun }
    return new StoredRuns({ ...parts, checkOpen: () => this.intake.checkOpen() })
  }

  #fanoutsEnded(): void {
    this.#agents.announcer.ring()
    this.#fanouts.ended()
  }

  /** Gates have opened. Should this fail, or the node die before: the healer finds what may be released. */
  #release(fanoutIds: readonly string[]): void {
    for (const id of fanoutIds) {
      this.#options.store.releaseGate(id).then(
        () => this.#committer.ring(),
        (error: unknown) => this.telemetry.emit({ name: "agent.failed", agent: "gate", error }),
      )
    }
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

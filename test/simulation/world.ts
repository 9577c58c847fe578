import type { App } from "../../src/core/app.ts"
import { FanfareError } from "../../src/core/errors.ts"
import type { Clock, Random } from "../../src/core/ports.ts"
import { Engine } from "../../src/engine/engine.ts"
import type { Db } from "../../src/store/db.ts"
import { withPresence } from "../../src/store/presence.ts"
import { openReader, type Store, storeOn } from "../../src/store/store.ts"
import { VirtualClock } from "../../src/testing/clock.ts"
import { seededRandom } from "../../src/testing/random.ts"
import { localTransport } from "../../src/transport/local.ts"
import { giveBack, takeDatabase } from "./database.ts"

export const faults = ["none", "slow", "refused", "crash-before", "crash-after"] as const
export type Fault = (typeof faults)[number]

const failuresMost = 20

export interface WorldOptions {
  readonly seed: number
  readonly nodes: number
  /** Chance of each fault per store command, and of a jump of time per second. */
  readonly faults: { readonly slow: number; readonly refused: number; readonly crash: number; readonly jump: number }
  /** A node's clock may be off by up to this many milliseconds. */
  readonly skewMs: number
  readonly apps: (node: SimulatedNode) => readonly App[]
  /** A deliberate bug, to prove that the checks find it. */
  readonly mutate?: (store: Store, db: Db) => Store
}

/** A cluster in one thread: real engines on one real store in memory, under one virtual clock, with faults drawn from a seed. */
export class World {
  readonly clock: VirtualClock
  readonly db: Db
  readonly nodes: SimulatedNode[]
  readonly options: WorldOptions
  /** Every store command and its fault, in order: equal for equal seeds. */
  readonly trace: string[] = []
  readonly coverage = new Map<string, number>()
  /** Node deaths so far, and other reasons for which a run may have been taken from its node. */
  crashes = 0
  interruptions = 0
  /** Errors of the store that nobody simulated. With many of them no time passes any more: the engine would try for ever. */
  readonly failures: string[] = []
  faulty = true
  /** Engines that are gone, where nodes see that: with every other seed all nodes are on one machine. */
  readonly gone: Set<string> | null

  private constructor(options: WorldOptions, clock: VirtualClock, db: Db) {
    this.options = options
    this.clock = clock
    this.db = db
    this.gone = options.seed % 2 === 0 ? new Set() : null
    this.nodes = Array.from({ length: options.nodes }, (_, i) => new SimulatedNode(this, i))
  }

  static async open(options: WorldOptions): Promise<World> {
    const clock = new VirtualClock(Date.UTC(2026, 0, 1))
    return new World(options, clock, await takeDatabase(clock))
  }

  /** Lets `ms` of virtual time pass, with all that happens in it. */
  async pass(ms: number): Promise<void> {
    const until = this.clock.now() + Math.round(ms)
    // A turn of the event loop lets every promise that can settle do so before time moves on.
    do await new Promise((resolve) => setImmediate(resolve))
    while (this.failures.length < failuresMost && this.clock.step(until))
    this.clock.moveTo(until)
  }

  /** From now on no fault happens, every node is up, and clocks stand still relative to each other. */
  heal(): void {
    this.faulty = false
    for (const node of this.nodes) node.boot()
  }

  async close(): Promise<void> {
    for (const node of this.nodes) node.kill()
    // What is under way in the database ends.
    await new Promise((resolve) => setImmediate(resolve))
    await giveBack(this.db)
  }
}

/** A place for a node: engines come and go in it, one boot after the other. */
export class SimulatedNode {
  readonly world: World
  readonly index: number
  engine: Engine | null = null
  life = 0
  #random: Random

  constructor(world: World, index: number) {
    this.world = world
    this.index = index
    this.#random = seededRandom(world.options.seed, `node ${index}`)
  }

  get name(): string {
    return `${this.index}.${this.life}`
  }

  /** Whether this is the life that `life` numbers: code of an earlier one is a zombie. */
  lives(life: number): boolean {
    return this.engine !== null && this.life === life
  }

  boot(): void {
    if (this.engine !== null) return
    const life = ++this.life
    const { options, clock } = this.world
    const skew = Math.round((this.#random.next() * 2 - 1) * options.skewMs)
    const nodeClock: Clock = {
      now: () => clock.now() + skew,
      after: (ms, ring) => clock.after(ms, () => (this.lives(life) ? ring() : undefined)),
    }
    const apps = options.apps(this)
    this.engine = new Engine({
      store: this.#faultyStore(life),
      reader: openReader(this.world.db),
      exclusive: options.nodes === 1,
      apps,
      transport: localTransport(apps),
      clock: nodeClock,
      random: seededRandom(options.seed, `engine ${this.name}`),
      host: `node ${this.index}`,
      pid: life,
      pollMs: 5_000,
      concurrency: 1 + Math.floor(this.#random.next() * 20),
    })
    this.engine.start().catch(() => {
      if (this.lives(life)) this.crash()
    })
  }

  kill(): void {
    if (this.engine !== null) this.world.gone?.add(this.engine.nodeId)
    this.engine = null
  }

  /** The process is gone at this instruction; another one comes after a while. */
  crash(): void {
    this.kill()
    this.world.crashes++
    this.world.clock.after(50 + this.#random.next() * 8_000, () => this.boot())
  }

  #faultyStore(life: number): Store {
    const { db, clock, options } = this.world
    // What a node remembers of the line is its own: a store for each life of each.
    const { gone } = this.world
    const seen = {
      enter: () => {},
      ended: (nodeId: string) => gone?.has(nodeId) === true,
      forget: () => {},
      clear: () => {},
      leave: () => {},
    }
    const own = gone === null ? storeOn(db, clock) : withPresence(storeOn(db, clock), seen)
    return new Proxy(options.mutate?.(own, db) ?? own, {
      get: (target, method: string) =>
        method === "then" ? undefined : (...args: unknown[]) => this.#command(life, method, () => call(target, method, args)),
    })
  }

  async #command(life: number, method: string, apply: () => Promise<unknown>): Promise<unknown> {
    if (!this.lives(life)) return never()
    const { world } = this
    const fault = this.#draw()
    world.trace.push(`${world.clock.now()} ${this.name} ${method} ${fault}`)
    world.coverage.set(`${method} ${fault}`, (world.coverage.get(`${method} ${fault}`) ?? 0) + 1)
    if (fault === "slow") world.interruptions++
    if (fault === "refused") throw new FanfareError("store_failed", "simulated: the store refused, nothing was written")
    if (fault === "crash-before") return this.#die()
    if (fault === "slow") await this.#sleep(this.#random.next() * 3_000)
    if (!this.lives(life)) return never()
    const result = await apply().catch((error: unknown) => {
      world.failures.push(`${method}: ${String(error)}`)
      throw error
    })
    if (fault === "crash-after") return this.#die()
    // An answer takes its time: what happens meanwhile is what makes interleavings.
    await this.#sleep(fault === "slow" ? this.#random.next() * 3_000 : this.#random.next() * 3)
    return this.lives(life) ? result : never()
  }

  #draw(): Fault {
    const { faults } = this.world.options
    if (!this.world.faulty) return "none"
    const x = this.#random.next()
    if (x < faults.crash / 2) return "crash-before"
    if (x < faults.crash) return "crash-after"
    if (x < faults.crash + faults.refused) return "refused"
    return x < faults.crash + faults.refused + faults.slow ? "slow" : "none"
  }

  #die(): Promise<never> {
    this.crash()
    return never()
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.world.clock.after(ms, resolve))
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}

function call(store: Store, method: string, args: readonly unknown[]): Promise<unknown> {
  return (store as unknown as Record<string, (...args: readonly unknown[]) => Promise<unknown>>)[method]?.(...args) ?? never()
}

import type * as Pg from "pg"
import { limits } from "../core/limits.ts"
import type { ThreadClock } from "./beat.ts"
import { loadPg } from "./postgres.ts"
import { bellChannel } from "./postgres-dialect.ts"
import type { Store } from "./store.ts"

export interface BellParts {
  readonly url: string
  readonly schema: string
  /** Tells this node's own bells from others'. */
  readonly id: string
  readonly clock: ThreadClock
  readonly rung: () => void
}

const reconnectMs = 2_000

/**
 * Tells other nodes to look again, and hears them. On a connection of its own and off the commit path, since each NOTIFY takes a lock
 * that all of a server share; bells within a few milliseconds are one. Where it cannot work (some poolers) nothing is lost but speed.
 */
export class Bell {
  readonly #parts: BellParts
  #client: Pg.Client | null = null
  #waiting = false
  #sent: Promise<unknown> | undefined
  #closed = false

  constructor(parts: BellParts) {
    this.#parts = parts
  }

  async open(): Promise<void> {
    const { Client } = await loadPg()
    const client = new Client({ connectionString: this.#parts.url, application_name: "fanfare bell", keepAlive: true })
    const again = (): void => {
      if (this.#client !== client && this.#client !== null) return
      this.#client = null
      client.removeAllListeners("end")
      client.end().catch(() => undefined)
      if (!this.#closed) this.#parts.clock.after(reconnectMs, () => void this.open())
    }
    client.on("error", () => undefined)
    client.on("end", again)
    client.on("notification", ({ payload }) => {
      if (payload !== this.#parts.id) this.#parts.rung()
    })
    try {
      await client.connect()
      await client.query(`listen "${bellChannel(this.#parts.schema)}"`)
      this.#client = client
      // Whatever was rung while nobody listened.
      this.#parts.rung()
    } catch {
      again()
    }
  }

  ring(): void {
    if (this.#waiting) return
    this.#waiting = true
    this.#parts.clock.after(limits.bellMs, () => this.#notify())
  }

  async close(): Promise<void> {
    this.#closed = true
    // What a node hands back at its end is what others should hear of most; to end a connection cuts off a query under way.
    this.#notify()
    await this.#sent
    await this.#client?.end().catch(() => undefined)
  }

  #notify(): void {
    if (!this.#waiting) return
    this.#waiting = false
    const { schema, id } = this.#parts
    this.#sent = this.#client?.query("select pg_notify($1, $2)", [bellChannel(schema), id]).catch(() => undefined)
  }
}

/** Rings for what a command left in line for others. */
export function ringing(store: Store, bell: Bell): Store {
  return {
    ...store,
    async turn(request) {
      const result = await store.turn(request)
      if (result.left > 0) bell.ring()
      return result
    },
    async wake(limit) {
      const result = await store.wake(limit)
      if (result.count > 0) bell.ring()
      return result
    },
    async tick(chance) {
      const result = await store.tick(chance)
      if (result.ticks.length > 0) bell.ring()
      return result
    },
    async close() {
      await bell.close()
      await store.close()
    },
  }
}

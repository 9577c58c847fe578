import { performance } from "node:perf_hooks"
import { setTimeout as delay } from "node:timers/promises"
import { Fanfare } from "fanfare"
import { createServer } from "fanfare/server"
import type { Places } from "./place.ts"

/** What flow control costs those who use it, and those who do not. */
export interface FlowFigures {
  /** Runs of one key with limit 1 that are held while the others are measured. */
  readonly backlog: number
  /** Start of a single run of another key, p95: on an idle store, and behind the backlog whose runs start one after the other. */
  readonly idleP95Ms: number
  readonly behindP95Ms: number
  /** Time for 5,000 runs of 500 other keys behind the backlog, per time without it. */
  readonly claimRatio: number
  /** Runs per second of as many runs, each with a key of its own, per those of a function without limits. */
  readonly distinctKeys: number
  readonly distinctRatio: number
}

interface Tenants {
  send(tenants: readonly string[]): Promise<void>
  /** Milliseconds from a call of `send` until all of these runs have begun. */
  through(tenants: readonly string[]): Promise<number>
  stop(): Promise<void>
}

const hot = "hot"

/** A function with a limit of one per tenant, or without any. The hot tenant's runs take a while. */
async function tenants(place: string, limited: boolean): Promise<Tenants> {
  const app = new Fanfare({ id: "bench" })
  let begun = 0
  let wanted = 0
  let reached: () => void = () => undefined
  const rules = limited ? { concurrency: [{ limit: 1_000 }, { limit: 1, key: "event.data.tenant" }] } : {}
  app.createFunction({ id: "tenant", triggers: [{ event: "bench/tenant" }], ...rules }, async ({ event }) => {
    if (event.data["tenant"] === hot) {
      await delay(20)
      return
    }
    if (++begun === wanted) reached()
  })
  const server = await createServer({ client: app, db: place, http: { port: 0 }, logs: "none", stopGrace: 100 })
  await server.start()
  const send = async (names: readonly string[]): Promise<void> =>
    void (await app.send(names.map((tenant) => ({ name: "bench/tenant", data: { tenant, text: "x".repeat(150) } }))))
  return {
    send,
    async through(names) {
      const all = new Promise<void>((resolve) => {
        reached = resolve
      })
      wanted = begun + names.length
      const began = performance.now()
      const sent = send(names)
      await all
      const took = performance.now() - began
      await sent
      return took
    },
    stop: () => server.stop(),
  }
}

export async function flow(places: Places, size: number): Promise<FlowFigures> {
  const idle = await tenants(await places.next(), true)
  const behind = await tenants(await places.next(), true)
  await behind.send(Array.from({ length: size }, () => hot))
  const latencies: [number[], number[]] = [[], []]
  const bulks: [number[], number[]] = [[], []]
  for (let i = 0; i < 220; i++) {
    for (const [k, bench] of [idle, behind].entries()) {
      await delay(5)
      const took = await bench.through([`single-${i}`])
      if (i >= 20) latencies[k]?.push(took)
    }
  }
  for (let i = 0; i < 7; i++) {
    for (const [k, bench] of [idle, behind].entries()) {
      const took = await bench.through(Array.from({ length: 5_000 }, (_, n) => `bulk-${n % 500}`))
      bulks[k]?.push(took)
    }
  }
  await idle.stop()
  await behind.stop()
  const rates: [number[], number[]] = [[], []]
  for (let i = 0; i < 3; i++) {
    for (const [k, limited] of [false, true].entries()) {
      const bench = await tenants(await places.next(), limited)
      await bench.through(Array.from({ length: 500 }, (_, n) => `warm-${n}`))
      const took = await bench.through(Array.from({ length: size }, (_, n) => `tenant-${n}`))
      rates[k]?.push((size / took) * 1_000)
      await bench.stop()
    }
  }
  return {
    backlog: size,
    idleP95Ms: at(latencies[0], 0.95),
    behindP95Ms: at(latencies[1], 0.95),
    claimRatio: round(at(bulks[1], 0.5) / at(bulks[0], 0.5)),
    distinctKeys: Math.round(at(rates[1], 0.5)),
    distinctRatio: round(at(rates[1], 0.5) / at(rates[0], 0.5)),
  }
}

function at(numbers: readonly number[], share: number): number {
  return round(numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length * share)] ?? 0)
}

function round(number: number): number {
  return Math.round(number * 100) / 100
}

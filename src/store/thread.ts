import { randomUUID } from "node:crypto"
import { parentPort, workerData } from "node:worker_threads"
import { packError } from "../core/packed-error.ts"
import { keepBeating, type ThreadClock } from "./beat.ts"
import { lockFile } from "./lock.ts"
import type { PostgresOptions } from "./postgres.ts"
import { presenceOn, withPresence } from "./presence.ts"
import { openSqlite } from "./sqlite.ts"
import { openReader, openStore, type Reader, type Store, storeOn } from "./store.ts"
import type { Answer, Bell as Rung, Call, Place, ThreadData } from "./thread-protocol.ts"

// The store's thread: user code on the main thread never delays a commit, and a commit never delays user code.
const { role, place } = workerData as ThreadData
const port = parentPort
const clock: ThreadClock = {
  now: () => Date.now(),
  after(ms, ring) {
    const timer = setTimeout(ring, ms)
    return () => clearTimeout(timer)
  },
}

function open(): Promise<Store | Reader> {
  if (place.kind === "postgres") return role === "reader" ? readPostgres(place) : writePostgres(place)
  return role === "reader" ? readSqlite(place.file) : writeSqlite(place.file)
}

async function readSqlite(file: string): Promise<Reader> {
  return openReader(openSqlite({ file, clock, readOnly: true }))
}

async function writeSqlite(file: string): Promise<Store> {
  const lock = lockFile(file)
  try {
    const store = keepBeating(await openStore(openSqlite({ file: lock.file, clock }), clock), clock)
    return {
      ...store,
      close: async () => {
        await store.close()
        lock.release()
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

type Server = Extract<Place, { kind: "postgres" }>

/** Connections of one node: for commits and sweeps, for the heartbeat alone, for people; and one for the bell. */
const connections = { engine: 4, pulse: 1, people: 2 }

function options(server: Server, use: PostgresOptions["use"], most: number): PostgresOptions {
  return { ...server, use, connections: most, wait: (ms) => new Promise((resolve) => void clock.after(ms, resolve)), newId: randomUUID }
}

async function readPostgres(server: Server): Promise<Reader> {
  const { openPostgres } = await import("./postgres.ts")
  return openReader(await openPostgres(options(server, "people", connections.people)))
}

async function writePostgres(server: Server): Promise<Store> {
  const { openPostgres, upgradePostgres } = await import("./postgres.ts")
  const { Bell, ringing } = await import("./postgres-bell.ts")
  const bell = new Bell({ ...server, id: randomUUID(), clock, rung: () => port?.postMessage({ bell: true } satisfies Rung) })
  const engine = await openPostgres(options(server, "engine", connections.engine))
  const pulses = await openPostgres(options(server, "engine", connections.pulse))
  // Connections are made meanwhile. What is wrong with the server, the upgrade is the first to say.
  await Promise.all([upgradePostgres(options(server, "upgrade", 1)), engine.now(), pulses.now(), bell.open()])
  const store = storeOn(engine, clock, pulses)
  const presence = presenceOn()
  return ringing(keepBeating(presence === null ? store : withPresence(store, presence), clock), bell)
}

const opened = open()
opened.then(
  () => port?.postMessage({ id: 0 } satisfies Answer),
  (error: unknown) => port?.postMessage({ id: 0, error: packError(error, "store_failed") } satisfies Answer),
)
port?.on("message", ({ id, method, args }: Call) => {
  opened
    .then((target) => (target as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[method]?.(...args))
    .then(
      (value) => port.postMessage({ id, value } satisfies Answer),
      (error: unknown) => port.postMessage({ id, error: packError(error, "store_failed") } satisfies Answer),
    )
    .finally(() => {
      if (method === "close") port.close()
    })
})

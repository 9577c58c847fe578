import { hostname } from "node:os"
import type { App } from "../core/app.ts"
import { durationMs, type Duration } from "../core/duration.ts"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { Engine } from "../engine/engine.ts"
import { systemClock, systemRandom } from "../engine/system.ts"
import type { Listener } from "../engine/telemetry.ts"
import { isMetered } from "../otel/meter.ts"
import type { OpenStore, StoreChoice } from "../store/open.ts"
import { postgres } from "../store/open-postgres.ts"
import { sqlite } from "../store/open-sqlite.ts"
import { defaultPlace, parsePlace } from "../store/place.ts"
import { localTransport } from "../transport/local.ts"
import { firstOf, type Transport } from "../transport/transport.ts"
import { consoleListener, type LogFormat } from "./console.ts"
import type { Apps } from "./apps.ts"
import { type Front, type HttpOptions, openFront } from "./front.ts"
import { Measuring } from "./metrics.ts"

export interface ServerOptions {
  /** The app whose functions run here, or several. */
  readonly client?: App | readonly App[]
  /**
   * Where everything is kept: a path, a `postgres://` URL, `sqlite(path)` or `postgres(url)`. Default: `FANFARE_DB`, else
   * `DATABASE_URL` if that names a PostgreSQL, else `.fanfare/fanfare.db`.
   */
  readonly db?: string | StoreChoice
  /** Attempts that run at the same time in this process: 1 to 100,000, default 200. */
  readonly concurrency?: number
  /** Days that ended runs are kept: default 30. */
  readonly retentionDays?: number
  /** Time that running attempts have to end when the server stops: default `"30s"`. */
  readonly stopGrace?: Duration
  /** The HTTP API, through which apps elsewhere register and are called too. Default: none. */
  readonly http?: HttpOptions
  /** How logs go to standard output: `pretty`, `json` or `none`. Default: `pretty` on a terminal, else `json`. */
  readonly logs?: LogFormat
}

/** An engine in this process. */
export interface FanfareServer {
  /** The address of the HTTP API, once started with one. */
  readonly url: string | null
  /** Opens the store and begins to work. Once. */
  start(): Promise<void>
  /** Stops claiming at once, lets running attempts end (up to `stopGrace`), hands the rest back, closes the store. May be called again. */
  stop(): Promise<void>
}

/**
 * Makes an engine that runs the functions of `client` in this process.
 * @throws FanfareError `invalid_option` naming the option
 */
export async function createServer(options: ServerOptions): Promise<FanfareServer> {
  checkApps(options.client)
  const apps = options.client === undefined ? [] : [options.client].flat()
  return assemble(options, apps, localTransport(apps))
}

/** Like `createServer`, for code that reaches its functions in another way; gives the engine too. */
export async function assemble(options: ServerOptions, apps: readonly App[], transport: Transport): Promise<FanfareServer & Internals> {
  check(options)
  const choice = chooseStore(options.db)
  const stopGraceMs = durationMs(options.stopGrace ?? limits.stopGraceMs, "stopGrace")
  let started: Started | null = null
  let starting: Promise<Started> | null = null
  let stopping: Promise<void> | null = null

  return {
    get url() {
      return started?.http?.api.url ?? null
    },
    get apps() {
      return started?.http?.apps ?? null
    },
    get engine() {
      return started?.engine ?? null
    },
    async start() {
      if (starting !== null) throw new FanfareError("invalid_option", "this server was started before; create another one")
      starting = begin({ ...options, stopGraceMs }, choice, apps, transport)
      started = await starting
    },
    async stop() {
      stopping ??= end(starting)
      await stopping
    },
  }
}

/** Also when the start is still under way, or has failed. */
async function end(starting: Promise<Started> | null): Promise<void> {
  const started = await starting?.catch(() => null)
  if (started === null || started === undefined) return
  await started.http?.api.close()
  await started.engine.stop()
  started.measuring?.close()
  await started.http?.close()
  await started.opened.reader.close()
  await started.opened.store.close()
}

export interface Internals {
  readonly engine: Engine | null
  readonly apps: Apps | null
}

interface Started {
  readonly engine: Engine
  readonly opened: OpenStore
  readonly http: Front | null
  /** Null while nobody can ask. */
  readonly measuring: Measuring | null
}

type Resolved = Omit<ServerOptions, "stopGrace"> & { readonly stopGraceMs: number }

async function begin(options: Resolved, choice: StoreChoice, apps: readonly App[], transport: Transport): Promise<Started> {
  const front = options.http === undefined ? null : await openFront(options.http, choice.exclusive)
  const opened = await choice.open(systemClock)
  let measuring: Measuring | null = null
  try {
    const engine = new Engine({
      store: opened.store,
      reader: opened.reader,
      listen: opened.listen,
      ...(opened.outbox === undefined ? {} : { outbox: opened.outbox }),
      exclusive: choice.exclusive,
      apps,
      transport: front === null ? transport : firstOf([transport, front.transport]),
      clock: systemClock,
      random: systemRandom,
      host: hostname(),
      pid: process.pid,
      stopGraceMs: options.stopGraceMs,
      ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
      ...(options.retentionDays === undefined ? {} : { retentionDays: options.retentionDays }),
    })
    const listener: Listener | null = consoleListener(options.logs)
    if (listener !== null) engine.telemetry.listen(listener)
    const { reader } = opened
    if (front !== null || isMetered()) measuring = new Measuring({ engine, reader, clock: systemClock })
    const http = front === null || measuring === null ? null : await front.listen({ engine, reader, storeName: choice.name, measuring })
    await engine.start()
    return { engine, opened, http, measuring }
  } catch (error) {
    measuring?.close()
    await opened.reader.close()
    await opened.store.close()
    throw error
  }
}

const known = new Set(["client", "db", "concurrency", "retentionDays", "stopGrace", "http", "logs"])

function check(options: ServerOptions): void {
  for (const field of Object.keys(options)) {
    if (!known.has(field)) throw invalid(field, `createServer: unknown option "${field}"; known are ${[...known].join(", ")}`)
  }
  const ids = [options.client ?? []].flat().map(({ id }) => id)
  const twice = ids.find((id, i) => ids.indexOf(id) !== i)
  if (twice !== undefined) throw invalid("client", `two apps share the id "${twice}"; ids name stored runs, so rename one`)
  const { concurrency, retentionDays, http } = options
  if (concurrency !== undefined && !(Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= limits.concurrencyMax)) {
    throw invalid("concurrency", `concurrency must be a whole number from 1 to ${limits.concurrencyMax}`, limits.concurrencyMax)
  }
  if (retentionDays !== undefined && !(Number.isFinite(retentionDays) && retentionDays >= 1)) {
    throw invalid("retentionDays", "retentionDays must be a number of days, at least 1 (event ids are remembered for 24 h)", 1)
  }
  if (http !== undefined && !(Number.isInteger(http.port) && http.port >= 0 && http.port <= 65_535)) {
    throw invalid("http.port", "http.port must be a whole number from 0 to 65535", 65_535)
  }
}

function checkApps(client: unknown): void {
  const clients: readonly unknown[] = client === undefined ? [] : [client].flat()
  const stray = clients.findIndex((each) => typeof (each as Partial<App> | null)?.hosted !== "function")
  if (stray === -1) return
  const field = Array.isArray(client) ? `client[${stray}]` : "client"
  throw new FanfareError("invalid_option", `createServer: ${field} is no app`, {
    field,
    hint: "Give what new Fanfare({ id }) made, not its functions: createServer({ client: fanfare }).",
  })
}

function chooseStore(db: ServerOptions["db"]): StoreChoice {
  if (typeof db === "object") return db
  const place = parsePlace(db ?? defaultPlace(process.env))
  return place.kind === "postgres" ? postgres(place.url) : sqlite(place.file)
}

function invalid(field: string, message: string, bound?: number): FanfareError {
  return new FanfareError("invalid_option", message, { field, ...(bound === undefined ? {} : { bound }) })
}

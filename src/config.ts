import type { Duration } from "./core/duration.ts"

/** What `fanfare.config.ts` may say. Flags and environment come before it; keys are taken from the environment only. */
export interface FanfareConfig {
  /** The files that export your apps, relative to the config file. `fanfare start` needs none: apps may be called over HTTP. */
  readonly functions?: string | readonly string[]
  /** The store, a path or a `postgres://` URL: default `.fanfare/dev.db` for `fanfare dev`, `.fanfare/fanfare.db` for `fanfare start`. */
  readonly db?: string
  /** Port of the HTTP API: default 8288. */
  readonly port?: number
  /** Address that `fanfare start` listens on: default all with keys, `127.0.0.1` without. */
  readonly host?: string
  /** URLs of apps that `fanfare start` registers. */
  readonly apps?: readonly string[]
  /** Networks that `fanfare start` calls beside public addresses: `10.0.0.0/8`, `loopback` or `private`. */
  readonly allow?: readonly string[]
  /** Attempts at the same time on `fanfare start`: default 200. */
  readonly concurrency?: number
  /** Days that ended runs are kept by `fanfare start`: default 30. */
  readonly retentionDays?: number
  /** Time that running attempts have to end when `fanfare start` stops: default `"30s"`. */
  readonly stopGrace?: Duration
  /** How `fanfare start` logs: `pretty`, `json` or `none`. Default: `pretty` on a terminal, else `json`. */
  readonly logs?: "pretty" | "json" | "none"
  /** Events that `fanfare start` takes per second with each event key, ten seconds of it at once. Default: no bound. */
  readonly eventsPerSecond?: number
  /** Whether those with a read key see data, outputs and logs on `fanfare start`. Default: false. */
  readonly readPayloads?: boolean
}

/** Gives the config its types: `export default defineConfig({ functions: "src/jobs.ts" })`. */
export function defineConfig(config: FanfareConfig): FanfareConfig {
  return config
}

/** What `fanfare.config.ts` may say. Flags and environment come before it. */
export interface FanfareConfig {
  /** The files that export your apps, relative to the config file. */
  readonly functions: string | readonly string[]
  /** The store, a path or a `postgres://` URL: default `.fanfare/dev.db` for `fanfare dev`. */
  readonly db?: string
  /** Port of the HTTP API: default 8288. */
  readonly port?: number
}

/** Gives the config its types: `export default defineConfig({ functions: "src/jobs.ts" })`. */
export function defineConfig(config: FanfareConfig): FanfareConfig {
  return config
}

import type { FanfareConfig } from "../config.ts"
import { FanfareError } from "../core/errors.ts"
import type { ServerOptions } from "../server/create.ts"
import type { HttpOptions } from "../server/front.ts"
import type { LogFormat } from "../server/console.ts"
import { defaultPlace, parsePlace } from "../store/place.ts"
import type { Place } from "../store/thread-protocol.ts"

/** Flags of `fanfare start`. */
export interface StartFlags {
  readonly port?: number
  readonly host?: string
  readonly db?: string
  readonly sdkUrl?: readonly string[]
  readonly allow?: readonly string[]
  readonly concurrency?: number
  readonly retentionDays?: number
  readonly stopGrace?: string
  readonly logs?: string
  readonly eventsPerSecond?: number
  readonly webhooks?: string
}

export interface Settings {
  readonly server: ServerOptions & { readonly http: HttpOptions }
  readonly place: Place
  readonly host: string
  /** Without keys: this machine only. */
  readonly open: boolean
  /** Apps to register. */
  readonly urls: readonly string[]
  /** File of webhooks. */
  readonly webhooks: string | undefined
}

type Env = Readonly<Record<string, string | undefined>>

/**
 * What flags, environment and config file say together: a flag before a variable, a variable before the file. Keys are only taken from
 * the environment: files are shared.
 * @throws FanfareError `invalid_option` naming what is wrong
 */
export function settingsOf(flags: StartFlags, env: Env, config: Partial<FanfareConfig>): Settings {
  const signingKeys = listed(env["FANFARE_SIGNING_KEY"], env["FANFARE_SIGNING_KEY_FALLBACK"])
  const eventKeys = split(env["FANFARE_EVENT_KEY"])
  const open = signingKeys.length === 0 && eventKeys.length === 0
  if (open && env["NODE_ENV"] === "production") {
    throw new FanfareError("invalid_option", "NODE_ENV is production and there are no keys: anybody who reaches this server could use it", {
      field: "FANFARE_SIGNING_KEY",
      hint: "Set FANFARE_SIGNING_KEY (openssl rand -hex 32) and FANFARE_EVENT_KEY (openssl rand -hex 16).",
    })
  }
  const place = parsePlace(flags.db ?? filled(env["FANFARE_DB"]) ?? config.db ?? defaultPlace(env))
  const host = flags.host ?? filled(env["FANFARE_HOST"]) ?? config.host ?? (open ? "127.0.0.1" : "0.0.0.0")
  const allow = flags.allow ?? several(env["FANFARE_ALLOW"]) ?? config.allow ?? []
  const eventsPerSecond = flags.eventsPerSecond ?? whole("FANFARE_EVENTS_PER_SECOND", env) ?? config.eventsPerSecond
  const http = {
    port: flags.port ?? whole("FANFARE_PORT", env) ?? config.port ?? 8288,
    host,
    signingKeys,
    eventKeys,
    adminKeys: split(env["FANFARE_ADMIN_KEY"]),
    readKeys: split(env["FANFARE_READ_KEY"]),
    readPayloads:
      filled(env["FANFARE_READ_PAYLOADS"]) === undefined ? (config.readPayloads ?? false) : env["FANFARE_READ_PAYLOADS"] === "1",
    ...(open && allow.length === 0 ? {} : { allow }),
    ...(eventsPerSecond === undefined ? {} : { eventsPerSecond }),
  }
  const concurrency = flags.concurrency ?? whole("FANFARE_CONCURRENCY", env) ?? config.concurrency
  const retentionDays = flags.retentionDays ?? whole("FANFARE_RETENTION_DAYS", env) ?? config.retentionDays
  const stopGrace = flags.stopGrace ?? filled(env["FANFARE_STOP_GRACE"]) ?? config.stopGrace
  const logs = logFormat(flags.logs ?? filled(env["FANFARE_LOGS"]) ?? config.logs)
  return {
    place,
    host,
    open,
    webhooks: flags.webhooks ?? filled(env["FANFARE_WEBHOOKS"]),
    urls: flags.sdkUrl ?? several(env["FANFARE_SDK_URL"]) ?? config.apps ?? [],
    server: {
      db: place.kind === "postgres" ? place.url : place.file,
      http,
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(retentionDays === undefined ? {} : { retentionDays }),
      ...(stopGrace === undefined ? {} : { stopGrace }),
      ...(logs === undefined ? {} : { logs }),
    },
  }
}

function filled(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === "" ? undefined : text.trim()
}

function listed(...texts: readonly (string | undefined)[]): string[] {
  return texts.flatMap((text) => filled(text) ?? [])
}

function split(text: string | undefined): string[] {
  return listed(...(text ?? "").split(","))
}

function several(text: string | undefined): string[] | undefined {
  return filled(text) === undefined ? undefined : split(text)
}

function whole(name: string, env: Env): number | undefined {
  const text = filled(env[name])
  if (text === undefined) return undefined
  const value = Number(text)
  if (Number.isInteger(value)) return value
  throw new FanfareError("invalid_option", `${name} must be a whole number, not "${text}"`, { field: name })
}

const formats: ReadonlySet<string> = new Set<LogFormat>(["pretty", "json", "none"])

function logFormat(text: string | undefined): LogFormat | undefined {
  if (text === undefined || formats.has(text)) return text as LogFormat | undefined
  throw new FanfareError("invalid_option", `logs must be one of ${[...formats].join(", ")}, not "${text}"`, { field: "logs" })
}

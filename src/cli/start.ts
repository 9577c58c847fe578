import { readFile } from "node:fs/promises"
import { styleText } from "node:util"
import { FanfareError } from "../core/errors.ts"
import { assemble } from "../server/create.ts"
import type { Webhook } from "../server/webhooks.ts"
import { version } from "../server/version.ts"
import { defaultPlace, nameOfPlace, parsePlace } from "../store/place.ts"
import { localTransport } from "../transport/local.ts"
import type { Globals } from "./globals.ts"
import { interrupted } from "./interrupted.ts"
import { printJson, say } from "./output.ts"

export interface StartOptions extends Globals {
  readonly port?: number
  readonly host?: string
  readonly db?: string
  readonly sdkUrl?: readonly string[]
  readonly allow?: readonly string[]
  readonly concurrency?: number
  readonly webhooks?: string
}

/** The server for production: events in, apps called over HTTP, several of them on one PostgreSQL. Runs until it is interrupted. */
export async function start(options: StartOptions): Promise<void> {
  const env = process.env
  const signingKeys = listed(env["FANFARE_SIGNING_KEY"], env["FANFARE_SIGNING_KEY_FALLBACK"])
  const eventKeys = listed(...(env["FANFARE_EVENT_KEY"] ?? "").split(","))
  const open = signingKeys.length === 0 && eventKeys.length === 0
  if (open && env["NODE_ENV"] === "production") {
    throw new FanfareError("invalid_option", "NODE_ENV is production and there are no keys: anybody who reaches this server could use it", {
      field: "FANFARE_SIGNING_KEY",
      hint: "Set FANFARE_SIGNING_KEY (openssl rand -hex 32) and FANFARE_EVENT_KEY (openssl rand -hex 16).",
    })
  }
  const place = parsePlace(options.db ?? defaultPlace(env))
  const host = options.host ?? env["FANFARE_HOST"] ?? (open ? "127.0.0.1" : "0.0.0.0")
  const allow = options.allow ?? listed(...(env["FANFARE_ALLOW"] ?? "").split(","))
  const webhooks = await readWebhooks(options.webhooks ?? env["FANFARE_WEBHOOKS"], env)
  const server = await assemble(
    {
      db: place.kind === "postgres" ? place.url : place.file,
      http: {
        port: options.port ?? port(env["FANFARE_PORT"]),
        host,
        signingKeys,
        eventKeys,
        adminKeys: listed(...(env["FANFARE_ADMIN_KEY"] ?? "").split(",")),
        readKeys: listed(...(env["FANFARE_READ_KEY"] ?? "").split(",")),
        readPayloads: env["FANFARE_READ_PAYLOADS"] === "1",
        ...(webhooks === null ? {} : { webhooks }),
        ...(open && allow.length === 0 ? {} : { allow }),
      },
      ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
      ...(options.json ? { logs: "json" } : {}),
    },
    [],
    localTransport([]),
  )
  await server.start()
  if (options.json) printJson({ event: "ready", url: server.url, host, db: nameOfPlace(place), keys: !open })
  else {
    say(`\n  ${styleText("bold", "fanfare")} ${version}  ${server.url}  listens on ${host}  store ${nameOfPlace(place)}`)
    if (open)
      say(`  ${styleText("yellow", "!")} There are no keys, so only this machine is served. Set FANFARE_SIGNING_KEY and FANFARE_EVENT_KEY.`)
    say("")
  }
  await Promise.all(
    (options.sdkUrl ?? []).map(async (url) => {
      try {
        await server.apps?.sync(url)
        say(`${styleText("green", "✓")} ${url} is registered`)
      } catch (error) {
        say(`${styleText("red", "✗")} ${error instanceof Error ? error.message : String(error)}`)
      }
    }),
  )
  await interrupted()
  say("stopping: what is running may end (interrupt again to stop at once)")
  await server.stop()
}

/**
 * Webhooks as a file has them; a secret `env:NAME` stands for that variable, so that the file has none.
 * @throws FanfareError `invalid_option`: there is no such file, it is not JSON, or a variable is not set
 */
async function readWebhooks(file: string | undefined, env: NodeJS.ProcessEnv): Promise<Record<string, Webhook> | null> {
  if (file === undefined || file === "") return null
  const secretOf = (text: string): string => {
    if (!text.startsWith("env:")) return text
    const value = env[text.slice("env:".length)]
    if (value !== undefined && value !== "") return value
    throw new FanfareError("invalid_option", `${file}: the variable ${text.slice("env:".length)} is not set`, { field: "webhooks" })
  }
  try {
    const given = JSON.parse(await readFile(file, "utf8")) as Record<string, Webhook>
    return Object.fromEntries(
      Object.entries(given).map(([name, webhook]) => [
        name,
        { ...webhook, secret: [webhook.secret].flat().map((text) => secretOf(String(text))) },
      ]),
    )
  } catch (cause) {
    if (cause instanceof FanfareError) throw cause
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new FanfareError("invalid_option", `the webhooks in ${file} cannot be read: ${why}`, { field: "webhooks", cause })
  }
}

function listed(...texts: readonly (string | undefined)[]): string[] {
  return texts.map((text) => (text ?? "").trim()).filter((text) => text !== "")
}

function port(text: string | undefined): number {
  return text === undefined || text === "" ? 8288 : Number(text)
}

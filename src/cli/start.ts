import { styleText } from "node:util"
import { assemble } from "../server/create.ts"
import { version } from "../server/version.ts"
import { nameOfPlace } from "../store/place.ts"
import { localTransport } from "../transport/local.ts"
import { findConfig, loadApps } from "./config.ts"
import type { Globals } from "./globals.ts"
import { interrupted } from "./interrupted.ts"
import { printJson, say } from "./output.ts"
import { settingsOf, type StartFlags } from "./start-settings.ts"
import { readWebhooks } from "./webhooks.ts"

export interface StartOptions extends Globals, StartFlags {
  /** The config file; default: the one in this folder, if there is one. */
  readonly config?: string
}

/** The server for production: events in, apps called over HTTP, several of them on one PostgreSQL. Runs until it is interrupted. */
export async function start(options: StartOptions): Promise<void> {
  const found = await findConfig(options.config)
  const { server: settings, place, host, open, urls, webhooks } = settingsOf(options, process.env, found?.config ?? {})
  const own = found !== null && found.files.length > 0 ? await loadApps(found.files) : []
  const http = { ...settings.http, ...(webhooks === undefined ? {} : { webhooks: await readWebhooks(webhooks, process.env) }) }
  const server = await assemble({ ...settings, http, ...(options.json ? { logs: "json" } : {}), client: own }, own, localTransport(own))
  await server.start()
  if (options.json) printJson({ event: "ready", url: server.url, host, db: nameOfPlace(place), keys: !open })
  else {
    say(`\n  ${styleText("bold", "fanfare")} ${version}  ${server.url}  listens on ${host}  store ${nameOfPlace(place)}`)
    if (own.length > 0) say(`  functions of ${own.map(({ id }) => id).join(", ")} run here`)
    if (open)
      say(`  ${styleText("yellow", "!")} There are no keys, so only this machine is served. Set FANFARE_SIGNING_KEY and FANFARE_EVENT_KEY.`)
    say("")
  }
  await Promise.all(
    urls.map(async (url) => {
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

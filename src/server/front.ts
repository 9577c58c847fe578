import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Engine } from "../engine/engine.ts"
import { systemClock } from "../engine/system.ts"
import { addressRule } from "../transport/address.ts"
import { HttpClient } from "../transport/http-client.ts"
import { HttpTransport } from "../transport/http.ts"
import { Workers } from "../transport/workers.ts"
import type { Transport } from "../transport/transport.ts"
import { createAccess, type Keys } from "./access.ts"
import type { ApiParts } from "./api.ts"
import { Apps } from "./apps.ts"
import { EventRates } from "./flow.ts"
import { type Api, isLoopback, startHttp } from "./http.ts"
import { Stream } from "./stream.ts"
import { checkWebhooks, type Webhook } from "./webhooks.ts"
import { WorkerConnections } from "./worker-connections.ts"

/** The HTTP side of a server. */
export interface HttpOptions extends Keys {
  /** 0 for any that is free. */
  readonly port: number
  /** Address to listen on: default `127.0.0.1`. Another one needs `signingKeys` and `eventKeys`. */
  readonly host?: string
  /**
   * What is called beside public addresses: networks such as `10.0.0.0/8`, `loopback`, or `private` for all networks of one's own.
   * Default: `private` without keys, none with them.
   */
  readonly allow?: readonly string[]
  /** URLs at which services tell of what has happened, by name: `POST /hooks/<name>`. Default: none. */
  readonly webhooks?: Readonly<Record<string, Webhook>>
  /** Events that each event key may send per second, ten seconds of it at once: 1 to 1,000,000. Default: no bound. */
  readonly eventsPerSecond?: number
}

/** The side of a node that others reach, and through which it reaches their apps. */
export interface Front {
  readonly api: Api
  readonly apps: Apps
  /** When nothing is called any more. */
  close(): Promise<void>
}

/** What has to be there before the engine: the way to apps. */
export interface OpenedFront {
  readonly transport: Transport
  listen(parts: Pick<ApiParts, "engine" | "reader" | "storeName" | "measuring">): Promise<Front>
}

/**
 * @param alone whether no other node shares the store
 * @throws FanfareError `invalid_option`: keys that are none, or no keys on an address that others reach
 */
export async function openFront(
  { port, host = "127.0.0.1", allow, eventsPerSecond, webhooks = {}, ...keys }: HttpOptions,
  alone: boolean,
): Promise<OpenedFront> {
  checkRate(eventsPerSecond)
  const access = await createAccess(keys)
  if (access.kind === "dev" && !isLoopback(host)) {
    throw new FanfareError("invalid_option", `without keys this server may not listen on ${host}: anybody there could use it`, {
      field: "http.host",
      hint: "Set FANFARE_SIGNING_KEY and FANFARE_EVENT_KEY, or listen on 127.0.0.1.",
    })
  }
  const hooks = checkWebhooks(webhooks)
  const client = new HttpClient(addressRule(allow ?? (access.kind === "dev" ? ["private"] : [])))
  let engine: Engine | null = null
  const workers = new Workers(systemClock, () => engine?.reachChanged())
  const transport = new HttpTransport({
    workers,
    client,
    keys: access.signing,
    kind: access.kind,
    alone,
    keepElsewhere: async (runId, fence, steps) => engine !== null && engine.keepSteps(runId, fence, steps),
  })
  return {
    transport,
    async listen(parts) {
      const apps = new Apps({ engine: parts.engine, client, workers, access, clock: systemClock })
      engine = parts.engine
      const { telemetry } = engine
      const connections = new WorkerConnections({ workers, apps, signing: access.signing, clock: systemClock, telemetry })
      const stream = new Stream({ telemetry, reader: parts.reader, clock: systemClock, nodeId: engine.nodeId })
      parts.measuring.streams = () => stream.listening
      const eventRates = new EventRates(eventsPerSecond ?? null, systemClock)
      let closing: Promise<void> | null = null
      const way = { access, apps, stream, eventRates, checkpoints: transport, webhooks: hooks, workers, connections }
      const api = await startHttp({ ...parts, ...way }, host, port)
      return {
        apps,
        api: {
          url: api.url,
          async close() {
            await stream.close()
            // Workers are connected yet: they bring the answers of what is under way.
            closing = api.close()
            connections.drain()
          },
        },
        async close() {
          connections.close()
          await closing
          await apps.close()
          client.close()
        },
      }
    },
  }
}

function checkRate(eventsPerSecond: number | undefined): void {
  if (eventsPerSecond === undefined) return
  if (!(Number.isInteger(eventsPerSecond) && eventsPerSecond >= 1 && eventsPerSecond <= limits.eventsPerSecondMax)) {
    throw new FanfareError("invalid_option", `http.eventsPerSecond must be a whole number from 1 to ${limits.eventsPerSecondMax}`, {
      field: "http.eventsPerSecond",
      bound: limits.eventsPerSecondMax,
    })
  }
}

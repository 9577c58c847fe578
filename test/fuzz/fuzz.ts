import { mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Fanfare } from "../../src/index.ts"
import { assemble } from "../../src/server/create.ts"
import type { HttpOptions } from "../../src/server/front.ts"
import { localTransport } from "../../src/transport/local.ts"
import { Chance, type Input, inputOf, type Known } from "./inputs.ts"

export interface Fuzzed {
  readonly inputs: number
  readonly answers: Readonly<Record<string, number>>
  /** Answers of 5xx by our fault, errors that nobody caught, agents that met an error: each with what was sent. */
  readonly faults: readonly string[]
}

const signingKey = "00112233445566778899aabbccddeeff"
const keys = { signingKeys: [signingKey], eventKeys: ["event-key-0123456789"], readKeys: ["read-key-0123456789-0123456789abc"] }
const hooks = { hook: { scheme: "github", secret: "secret-0123456789" } } as const

/**
 * Sends so many requests, made from the seed, to two real servers: one without keys and one with. Requests go over raw connections, many
 * after each other on each, several connections at a time.
 */
export async function fuzz(seed: number, inputs: number, progress: (done: number) => void = () => undefined): Promise<Fuzzed> {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-fuzz-"))
  const found = { answers: {} as Record<string, number>, faults: [] as string[] }
  const uncaught = (error: unknown): void => void found.faults.push(`uncaught: ${error instanceof Error ? error.stack : String(error)}`)
  process.on("uncaughtException", uncaught)
  process.on("unhandledRejection", uncaught)
  try {
    const open = await target(join(folder, "open.db"), {}, found.faults)
    const closed = await target(join(folder, "closed.db"), keys, found.faults)
    const chance = new Chance(seed)
    let done = 0
    const lane = async (): Promise<void> => {
      while (done < inputs) {
        const to = chance.is(0.6) ? open : closed
        const batch: Input[] = []
        do batch.push(inputOf(chance, to.known))
        while (batch.length < batchMost && batch.at(-1)?.clean === true)
        done += batch.length
        progress(done)
        note(await exchange(to.port, batch), batch, found)
      }
    }
    await Promise.all(Array.from({ length: lanes }, lane))
    for (const { url, stop } of [open, closed]) {
      const alive = await fetch(`${url}/health`)
      if (alive.status !== 200) found.faults.push(`afterwards /health answered ${alive.status}`)
      await stop()
    }
    if ("polluted" in {}) found.faults.push("Object.prototype was polluted")
    return { inputs: done, ...found }
  } finally {
    process.off("uncaughtException", uncaught)
    process.off("unhandledRejection", uncaught)
    rmSync(folder, { recursive: true, force: true })
  }
}

const lanes = 8
const batchMost = 32

interface Target {
  readonly url: string
  readonly port: number
  readonly known: Known
  stop(): Promise<void>
}

async function target(db: string, http: Partial<HttpOptions>, faults: string[]): Promise<Target> {
  const app = new Fanfare({ id: "shop" })
  app.createFunction({ id: "f", triggers: [{ event: "shop/go" }], retries: 0 }, ({ event }) => event.data)
  const server = await assemble(
    { client: app, db, http: { port: 0, webhooks: hooks, ...http }, logs: "none" },
    [app],
    localTransport([app]),
  )
  await server.start()
  server.engine?.telemetry.listen((fact) => {
    if (fact.name === "agent.failed") faults.push(`agent ${fact.agent}: ${String(fact.error)}`)
  })
  const url = server.url ?? ""
  const { ids, fanoutId } = await app.send([{ name: "shop/go" }, { name: "shop/go" }])
  await app.fanouts.wait(fanoutId ?? "")
  const runs = await app.runs.list()
  const authorizations =
    http.signingKeys === undefined
      ? []
      : [...Array.from({ length: 12 }, () => signingKey), keys.readKeys[0], keys.readKeys[0], "wrong"].map((key) => `Bearer ${key}`)
  return {
    url,
    port: Number(new URL(url).port),
    known: {
      ids: [
        ...ids,
        ...runs.items.map(({ id }) => id),
        fanoutId ?? "",
        "shop-f",
        "f",
        "shop-s1",
        "s2",
        "fn:shop-f",
        "0",
        "1",
        "hook",
        "shop",
      ],
      authorizations: authorizations.length === 0 ? [] : [...authorizations, `Basic ${btoa(`x:${signingKey}`)}`, "Basic %%%", "nonsense"],
      eventKeys: http.eventKeys === undefined ? ["key", "x%00"] : [keys.eventKeys[0] ?? "", "wrong"],
    },
    stop: () => server.stop(),
  }
}

/** Sends requests after each other on one connection; gives what comes back until the other side ends it, or is silent for a while. */
function exchange(port: number, batch: readonly Input[]): Promise<string> {
  const clean = batch.at(-1)?.clean === true
  // The last answer ends the connection; where a request may leave the server waiting for more of it, silence does.
  const last = clean ? "GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n" : ""
  return new Promise((resolve) => {
    let answer = ""
    const socket = connect(port, "127.0.0.1", () => socket.write(batch.map(({ text }) => text).join("") + last, "utf8"))
    socket.setTimeout(clean ? stuckMs : silentMs, () => socket.destroy())
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1")
    })
    socket.on("error", () => undefined)
    socket.on("close", () => resolve(answer))
  })
}

const stuckMs = 10_000
const silentMs = 100

function note(answer: string, batch: readonly Input[], found: { answers: Record<string, number>; faults: string[] }): void {
  for (const [, status = ""] of answer.matchAll(/HTTP\/1\.1 (\d\d\d) /g)) {
    found.answers[status] = (found.answers[status] ?? 0) + 1
    // Where the dashboard was not built it says so, with the headers of its pages.
    const at = answer.indexOf(`HTTP/1.1 ${status}`)
    if (status.startsWith("5") && !/^content-security-policy: .*script-src/im.test(answer.slice(at, at + 600))) {
      found.faults.push(`${answer.slice(at, at + 600)}\nto one of:\n${batch.map(({ text }) => text.slice(0, 400)).join("\n---\n")}`)
    }
  }
}

import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Standing } from "../../src/core/views.ts"
import { limits } from "../../src/core/limits.ts"
import { Telemetry } from "../../src/engine/telemetry.ts"
import { Fanfare } from "../../src/index.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"
import { Stream } from "../../src/server/stream.ts"
import { VirtualClock } from "../../src/testing/clock.ts"
import { listen, type Listening } from "./events.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-stream-"))
const app = new Fanfare({ id: "app" })
app.createFunction({ id: "f", triggers: [{ event: "app/go" }] }, () => null)
let server: FanfareServer
beforeAll(async () => {
  server = await createServer({ client: app, db: join(folder, "stream.db"), http: { port: 0 }, logs: "none" })
  await server.start()
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function until(condition: () => boolean, ms = 5_000): Promise<void> {
  const end = performance.now() + ms
  while (!condition()) {
    if (performance.now() > end) expect.unreachable("it did not come about")
    await delay(5)
  }
}

const post = (path: string, body: unknown): Promise<Response> =>
  fetch(`${server.url}${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })

describe("the live stream over HTTP", () => {
  it("tells first that all may have changed, then which fan-outs, functions and counts have", async () => {
    const listening = await listen(server.url ?? "")
    await until(() => listening.heard.length === 1)
    expect(listening.heard[0]?.change).toMatchObject({ runs: true, functions: "all", fanouts: "all", registry: true })
    const { fanoutId } = await app.send(Array.from({ length: 3 }, () => ({ name: "app/go" })))
    const told = (wanted: (listening: Listening) => boolean): Promise<void> => until(() => wanted(listening))
    await told(({ heard }) =>
      heard.some(({ change: { fanouts, functions } }) => fanouts.includes(fanoutId ?? "") && functions.includes("app-f")),
    )
    await post("/api/v1/functions/f/pause", {})
    await told(({ heard }) => heard.slice(1).some(({ change }) => change.registry))
    await app.send({ name: "app/go" })
    await told(({ heard }) => heard.some(({ change }) => change.counts?.waiting === 1 || change.counts?.ready === 1))
    await post("/api/v1/functions/f/resume", {})
    await post("/api/v1/schedules", { app: "app", schedules: [{ id: "s", function: "f", every: "1h" }] })
    await told(({ heard }) => heard.slice(1).some(({ change }) => change.schedules === "all"))
    listening.close()
  })

  it("goes on where a connection broke, and else says that all may have changed", async () => {
    const stays = await listen(server.url ?? "")
    const first = await listen(server.url ?? "")
    await until(() => first.heard.length > 0 && stays.heard.length > 0)
    first.close()
    const { fanoutId } = await app.send([{ name: "app/go" }, { name: "app/go" }])
    await until(() => stays.heard.some(({ change }) => change.fanouts.includes(fanoutId ?? "")))
    const again = await listen(server.url ?? "", { "last-event-id": first.heard.at(-1)?.id ?? "" })
    await until(() => again.heard.length > 0)
    expect(again.heard[0]?.change).toMatchObject({ nodes: false, registry: false })
    expect(again.heard[0]?.change.fanouts).toContain(fanoutId)
    for (const unknown of [
      "node_other.3",
      "nonsense",
      `${again.heard[0]?.id.split(".")[0]}.99999`,
      `${again.heard[0]?.id.split(".")[0]}.-5`,
    ]) {
      const other = await listen(server.url ?? "", { "last-event-id": unknown })
      await until(() => other.heard.length > 0)
      expect(other.heard[0]?.change.fanouts).toBe("all")
      other.close()
    }
    for (const each of [stays, again]) each.close()
  })

  it("ends when the server stops", async () => {
    const own = await createServer({ db: join(folder, "own.db"), http: { port: 0 }, logs: "none" })
    await own.start()
    const listening = await listen(own.url ?? "")
    await until(() => listening.heard.length > 0)
    await own.stop()
    await until(() => listening.ended)
  })
})

const still: Standing = {
  counts: { ready: 0, running: 0, scheduled: 0, waiting: 0 },
  registry: 1,
  newestRun: "",
  newestTickAt: 0,
  ended: 0,
  fanouts: {},
  nodes: "node_a",
}
const ended = (n: number) => ({
  name: "run.ended" as const,
  runId: `run_${n}`,
  functionId: `app-f${n % 3}`,
  state: "completed" as const,
  attempt: 1,
  ms: 1,
  delayMs: 0,
  failure: null,
  fanoutId: `fan_${n}`,
})

describe("a live stream", () => {
  const begun = (): {
    clock: VirtualClock
    telemetry: Telemetry
    stream: Stream
    looks: () => number
    pass: (ms: number) => Promise<void>
  } => {
    const clock = new VirtualClock(1_800_000_000_000)
    const telemetry = new Telemetry()
    let looks = 0
    const reader = { standing: async () => (looks++, still) }
    const stream = new Stream({ telemetry, reader, clock, nodeId: "node_a" })
    const pass = async (ms: number): Promise<void> => {
      const end = clock.now() + ms
      do for (let i = 0; i < 10; i++) await Promise.resolve()
      while (clock.step(end))
      clock.moveTo(end)
    }
    return { clock, telemetry, stream, looks: () => looks, pass }
  }
  const reading = (stream: Stream, lastId?: string): { texts: string[]; ended: () => boolean; cancel: () => Promise<void> } => {
    const texts: string[] = []
    let over = false
    const reader = stream.open(lastId).getReader()
    void (async () => {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        texts.push(new TextDecoder().decode(value))
      }
      over = true
    })()
    return { texts, ended: () => over, cancel: () => reader.cancel() }
  }

  it("tells 5,000 facts a second as at most four events, and more than 100 ids as all", async () => {
    const { telemetry, stream, pass } = begun()
    const { texts } = reading(stream)
    await pass(400)
    const before = texts.length
    for (let ms = 0; ms < 1_000; ms++) {
      for (let i = 0; i < 5; i++) telemetry.emit(ended(ms * 5 + i))
      await pass(1)
    }
    await pass(400)
    const told = texts.slice(before)
    expect(told.length).toBeGreaterThanOrEqual(3)
    expect(told.length).toBeLessThanOrEqual(5)
    expect(told[1]).toContain('"fanouts":"all"')
    expect(told[1]).toContain('"functions":["app-f')
    await stream.close()
  })

  it("costs nothing while nobody listens, gives a sign of life, and asks the store each second meanwhile", async () => {
    const { telemetry, stream, looks, pass } = begun()
    await pass(10_000)
    expect(looks()).toBe(0)
    const { texts, cancel } = reading(stream)
    await pass(31_000)
    expect(texts.filter((text) => text === ": beat\n\n")).toHaveLength(2)
    expect(looks()).toBeGreaterThan(25)
    expect(looks()).toBeLessThan(35)
    await cancel()
    const after = looks()
    telemetry.emit(ended(1))
    await pass(10_000)
    expect(looks()).toBe(after)
    expect(stream.listening).toBe(0)
  })

  it("keeps one event for who reads slowly, and lets go of who reads nothing", async () => {
    const { telemetry, stream, pass } = begun()
    const slow = stream.open(undefined).getReader()
    const { texts } = reading(stream)
    for (let i = 0; i < 20; i++) {
      telemetry.emit(ended(i))
      await pass(400)
    }
    expect(texts.length).toBeGreaterThan(15)
    const read = async (): Promise<string> => new TextDecoder().decode((await slow.read()).value)
    expect(await read()).toBe("retry: 2000\n\n")
    const missed = await read()
    expect(missed).toContain('"fanouts":"all"')
    expect(missed).toMatch(/^id: node_a\.\d\d\n/)
    await pass(2 * limits.streamBeatMs + 2_000)
    expect(stream.listening).toBe(2)
    telemetry.emit(ended(1))
    await pass(3 * limits.streamBeatMs)
    expect(stream.listening).toBe(1)
    await stream.close()
  })

  it("is open to so many and no more", async () => {
    const { stream } = begun()
    const all = Array.from({ length: limits.streams }, () => stream.open(undefined))
    expect(() => stream.open(undefined)).toThrow(expect.objectContaining({ code: "busy", bound: limits.streams }))
    await all[0]?.cancel()
    expect(stream.listening).toBe(limits.streams - 1)
    stream.open(undefined)
    await stream.close()
    expect(() => stream.open(undefined)).toThrow(expect.objectContaining({ code: "stopping" }))
  })
})

import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttp } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { connectedUrl } from "../../src/core/http-app.ts"
import type { FanoutSummary, Page, RunDetail, RunSummary } from "../../src/core/views.ts"
import { assemble, type FanfareServer, type Internals } from "../../src/server/create.ts"
import { localTransport } from "../../src/transport/local.ts"
import type { Sdk, SdkApp } from "./sdk-apps.ts"
import { farFunctions, functions, Ledger } from "./sdk-functions.ts"

const signingKey = "signkey-prod-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
const eventKey = "an-event-key-of-the-tests"
const cloud = { signingKeys: [signingKey], eventKeys: [eventKey], allow: ["loopback"] }
const homes = {
  dev: ["that is developed", {}, (baseUrl: string) => ({ baseUrl, isDev: true })],
  cloud: ["in production, with keys", cloud, (baseUrl: string) => ({ baseUrl, isDev: false, signingKey, eventKey })],
} as const

type Running = FanfareServer & Internals

const folder = mkdtempSync(join(tmpdir(), "fanfare-sdk-"))
let servers = 0

/** A server of its own, with a store that is empty. */
export async function startServer(http: object = {}): Promise<Running> {
  const server = await assemble({ db: join(folder, `${++servers}.db`), http: { port: 0, ...http }, logs: "none" }, [], localTransport([]))
  await server.start()
  return server
}

/** Looks until there is something to see. */
export async function until<T>(look: () => Promise<T | null | undefined | false>, what: string, seconds = 8): Promise<T> {
  for (let i = 0; i < seconds * 40; i++) {
    const seen = await look()
    if (seen !== null && seen !== undefined && seen !== false) return seen
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`${what} did not happen`)
}

/** What apps of the official SDKs may rely on. */
export function sdkSuite(sdks: readonly Sdk[], kinds: readonly (keyof typeof homes)[] = ["dev", "cloud"]): void {
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  describe.each(sdks)("an app of $name", (sdk) => {
    describe.each(kinds.map((kind) => homes[kind]))("%s", { concurrent: true }, (_, http, home) => {
      const ledger = new Ledger()
      let server: Running
      let app: SdkApp
      let other: SdkApp
      beforeAll(async () => {
        server = await startServer(http)
        app = await sdk.start("demo", home(server.url ?? ""), functions(sdk, ledger))
        ledger.send = (events) => app.send(events)
        other = await sdk.start("other", home(server.url ?? ""), farFunctions())
        await sync(app)
        await sync(other)
      })
      /** Apps that connect have said so themselves. */
      const sync = async ({ url }: SdkApp): Promise<void> => {
        if (url !== connectedUrl) await server.apps?.sync(url)
      }
      afterAll(async () => {
        await app.close()
        await other.close()
        await server.stop()
      })

      const get = async <T>(path: string): Promise<T> => {
        const response = await fetch(new URL(path, server.url ?? ""), { headers: { authorization: `Bearer ${signingKey}` } })
        if (!response.ok) throw new Error(await response.text())
        return (await response.json()) as T
      }
      /** Sends one event of `t/<id>` and waits for the end of its run. */
      const run = async (id: string, data: object = {}): Promise<RunDetail> => {
        const { ids } = await app.send({ name: `t/${id}`, data })
        return ended(ids[0] ?? "")
      }
      const ended = (eventId: string): Promise<RunDetail> =>
        until(async () => {
          const { data } = await get<{ data: { run_id: string; ended_at: string | null }[] }>(`/v1/events/${eventId}/runs`)
          const found = data.find(({ ended_at: at }) => at !== null)
          return found === undefined ? null : get<RunDetail>(`/api/v1/runs/${found.run_id}`)
        }, `the end of the run of ${eventId}`)
      const output = (detail: RunDetail): unknown => JSON.parse(detail.output ?? "null")

      it("is registered, and registers again without a change", async () => {
        const { items } = await get<Page<{ id: string; error: string | null }>>("/api/v1/apps")
        expect(items.find(({ id }) => id === "demo")).toMatchObject({ url: app.url, error: null })
        const version = server.engine?.registry.version
        await sync(app)
        expect(server.engine?.registry.version).toBe(version)
      })

      it("gets its event, and what it returns is kept", async () => {
        const detail = await run("plain", { text: "täxt \u0000 \ud83d\ude00", deep: [{ n: 1.5e300 }] })
        expect(detail).toMatchObject({ state: "completed", functionId: "demo-plain" })
        expect(output(detail)).toMatchObject({
          attempt: 0,
          event: { name: "t/plain", data: { text: "täxt \u0000 \ud83d\ude00", deep: [{ n: 1.5e300 }] } },
        })
      })

      it("does steps once, sleeps, and repeats an id", async () => {
        const detail = await run("steps", { n: 7 })
        expect(output(detail)).toEqual({ a: "a 7", same: [1, 2] })
        expect(ledger.count("a 7")).toBe(1)
        expect(detail.steps.map(({ key }) => key).toSorted()).toEqual(["a", "nap", "same", "same:1"])
      })

      it("does steps side by side, each once", async () => {
        expect(output(await run("parallel"))).toEqual([["x 1 x 2", "y 1 y 2", null, "z"], "end"])
        expect(["x 1", "x 1 x 2", "y 1", "y 1 y 2", "z", "end"].map((what) => ledger.count(what))).toEqual([1, 1, 1, 1, 1, 1])
      })

      it("has a failed step tried again when the error says, alone and beside others", async () => {
        const detail = await run("step-retries")
        expect(output(detail)).toBe("flaky after 1")
        expect(detail.steps).toMatchObject([{ key: "flaky", state: "completed", attempts: 2 }])
        expect(output(await run("side-by-side"))).toEqual(["good", "bad after 1"])
        expect([ledger.count("good"), ledger.count("bad")]).toEqual([1, 2])
      })

      it("catches a step that has failed for good", async () => {
        const [exhausted, never] = output(await run("caught")) as string[]
        expect(exhausted).toMatch(/always busy/)
        expect(never).toMatch(/no use/)
        expect([ledger.count("exhausted"), ledger.count("never")]).toEqual([2, 1])
      })

      it("has its run tried again as often as it says, and no more", async () => {
        expect(output(await run("run-retries"))).toBe("run after 1")
        const hopeless = await run("hopeless")
        expect(hopeless).toMatchObject({ state: "failed", attempt: 1, failure: { message: "hopeless" } })
        const exhausted = await run("exhausted-run")
        expect(exhausted).toMatchObject({ state: "failed", attempt: 2, failure: { message: "still" } })
        expect([ledger.count("hopeless"), ledger.count("exhausted-run")]).toEqual([1, 2])
        expect(await run("throws-odd")).toMatchObject({ state: "failed", attempt: 1 })
      })

      it("sends from a step: a fan-out of its own", async () => {
        const { ids } = output(await run("sends")) as { ids: string[] }
        expect(ids).toHaveLength(3)
        for (const id of ids) await ended(id)
        expect([0, 1, 2].map((i) => ledger.count(`kid ${i}`))).toEqual([1, 1, 1])
        const { items } = await get<Page<FanoutSummary>>("/api/v1/fanouts")
        expect(items.filter(({ name, events, completed }) => name === "t/kid" && events === 3 && completed === 3)).not.toEqual([])
      })

      it("has what it sends shown as sent by its run: from a step for sending, and from code in a step where the SDK says so", async () => {
        const { id: runId } = await run("sends", { from: 20 })
        const sent = await until(async () => {
          const { items } = await get<Page<string>>(`/api/v1/runs/${runId}/fanouts`)
          return items[0]
        }, "the fan-out of the run")
        expect(await get<FanoutSummary>(`/api/v1/fanouts/${sent}`)).toMatchObject({ name: "t/kid", events: 3, runId })
        const inside = await run("sends-inside")
        const { items } = await get<Page<string>>(`/api/v1/runs/${inside.id}/fanouts`)
        expect(items).toHaveLength(sdk.linked ? 1 : 0)
      })

      it("is part of the trace that its event came with, and hands it on in a step for sending", async () => {
        const traceId = "0af7651916cd43dd8448eb211c80319c"
        const headers = { "content-type": "application/json", traceparent: `00-${traceId}-b7ad6b7169203331-01` }
        const body = JSON.stringify({ name: "t/sends", data: { from: 40 } })
        const sent = await fetch(new URL(`/e/${eventKey}`, server.url ?? ""), { method: "POST", headers, body })
        const { ids } = (await sent.json()) as { ids: string[] }
        const detail = await ended(ids[0] ?? "")
        const [kid = ""] = (output(detail) as { ids: string[] }).ids
        expect([detail.traceId, (await ended(kid)).traceId]).toEqual([traceId, traceId])
      })

      it("tells of steps during one call, or answers after each", async () => {
        expect(output(await run("chain"))).toBe(6)
        expect(["1", "2", "3"].map((link) => ledger.count(link))).toEqual([1, 1, 1])
        // One call for three steps, and one after the sleep: or one for each, and one that finds the sleep.
        expect(ledger.count("chain called")).toBe(sdk.checkpoints ? 2 : 5)
      })

      it("starts nothing twice for an id, whatever the second event holds", async () => {
        const before = await app.send({ name: "t/plain", id: "once", data: { n: 1 } })
        const after = await app.send([{ name: "t/plain", id: "once", data: { n: 2 } }])
        expect(after.ids).toEqual(before.ids)
        const detail = await ended(before.ids[0] ?? "")
        expect(output(detail)).toMatchObject({ event: { id: "once", data: { n: 1 } } })
        const { items } = await get<Page<RunSummary>>("/api/v1/runs?function=demo-plain")
        expect(items.filter(({ eventId }) => eventId === before.ids[0])).toHaveLength(1)
      })

      it("hears several events, one of them with a condition", async () => {
        const { ids } = await app.send([
          { name: "t/any", data: { yes: false } },
          { name: "t/any", data: { yes: true } },
          { name: "t/other", data: {} },
        ])
        await ended(ids[1] ?? "")
        await ended(ids[2] ?? "")
        expect((await get<{ data: unknown[] }>(`/v1/events/${ids[0]}/runs`)).data).toEqual([])
      })

      /** Waits until the run of an event stands somewhere. */
      const standing = (eventId: string, state: string): Promise<RunSummary> =>
        until(async () => {
          const { items } = await get<Page<RunSummary>>("/api/v1/runs?limit=500")
          return items.find((each) => each.eventId === eventId && each.state === state)
        }, `${state} of ${eventId}`)

      it("waits for events: one that matches, one that never comes, and one that is answered at once", async () => {
        const { ids } = await app.send({ name: "t/waits", data: { order: 7 } })
        await standing(ids[0] ?? "", "waiting")
        await app.send([
          { name: "t/paid", data: { order: 8 } },
          { name: "t/paid", data: { order: 7, sum: 1 } },
        ])
        expect(output(await ended(ids[0] ?? ""))).toMatchObject({ matched: { name: "t/paid", data: { order: 7, sum: 1 } }, missed: null })
        expect(output(await run("both", { n: 5 }))).toMatchObject([
          { name: "t/answer", data: { text: "here" } },
          { ids: [expect.any(String)] },
        ])
      })

      it("invokes functions, and gets what they return or throw", async () => {
        const [result, failure, nobody] = output(await run("invokes")) as unknown[]
        expect(result).toBe(40)
        expect(failure).toMatch(/negative/)
        expect(nobody).toMatch(/nobody/)
      })

      it("tells its onFailure", async () => {
        expect(await run("sad", { n: 3 })).toMatchObject({ state: "failed" })
        await until(async () => ledger.count("sad ended: too sad 3") === 1, "onFailure")
      })

      it("is cancelled by an event that matches", async () => {
        const { ids } = await app.send([
          { name: "t/cancelled", data: { n: 1 } },
          { name: "t/cancelled", data: { n: 2 } },
        ])
        for (const id of ids) await standing(id, "waiting")
        await app.send({ name: "t/stop", data: { n: 1 } })
        expect(await ended(ids[0] ?? "")).toMatchObject({ state: "cancelled" })
        await standing(ids[1] ?? "", "waiting")
      })

      it("is held back by its flow control", async () => {
        const several = async (id: string, list: readonly object[]): Promise<string[]> =>
          (await app.send(list.map((data) => ({ name: `t/${id}`, data })))).ids
        const numbers = [{ n: 1 }, { n: 2 }, { n: 3 }]
        const batched = await several("batch", numbers)
        const alone = await several("alone", numbers)
        const single = await several("single", [{ n: 1 }, { n: 1 }, { n: 2 }])
        const replaced = await several("replaced", [{ n: 1 }, { n: 2 }])
        const unique = await several("unique", [{ cart: "a" }, { cart: "a" }, { cart: "b" }])
        await several("calm", numbers)
        expect(output(await ended(batched[0] ?? ""))).toEqual([1, 2, 3])
        for (const id of alone) await ended(id)
        expect([ledger.count("alone 1"), ledger.count("alone 2")]).toEqual([3, 0])
        await standing(single[0] ?? "", "waiting")
        await standing(single[1] ?? "", "skipped")
        await standing(single[2] ?? "", "waiting")
        await ended(unique[0] ?? "")
        await standing(unique[1] ?? "", "skipped")
        await ended(unique[2] ?? "")
        expect([ledger.count("unique a"), ledger.count("unique b")]).toEqual([1, 1])
        for (const id of replaced) await standing(id, "waiting")
        const [newer] = await several("replaced", [{ n: 1 }])
        await standing(replaced[0] ?? "", "cancelled")
        await standing(newer ?? "", "waiting")
        await standing(replaced[1] ?? "", "waiting")
        const { items } = await until(async () => {
          const page = await get<Page<RunSummary>>("/api/v1/runs?function=demo-calm&state=completed")
          return page.items.length > 0 && page
        }, "the end of the debounce")
        expect(items.map(({ id }) => id)).toHaveLength(1)
        expect(output(await get<RunDetail>(`/api/v1/runs/${items[0]?.id}`))).toBe(3)
      })

      it("waits for a moment, for a signal, and for an answer that the server asks for", async () => {
        const at = Date.now() + 1_500
        const listening = await app.send({ name: "t/listens", data: { n: 4 } })
        expect(output(await run("fetches", { url: `${server.url}/health` }))).toEqual([200, '{"status":200,"message":"OK"}'])
        await standing(listening.ids[0] ?? "", "waiting")
        await run("signals", { n: 4 })
        expect(output(await ended(listening.ids[0] ?? ""))).toEqual({ signal: "go 4", data: { from: "a step" } })
        expect(output(await run("until", { at }))).toBeGreaterThanOrEqual(at)
      })

      it("has a model asked by the server", async () => {
        const seen: unknown[] = []
        const model = createHttp((request, response) => {
          seen.push([request.method, request.url, request.headers.authorization])
          request.resume()
          response.writeHead(request.url === "/" ? 200 : 500).end('{"answer":42}')
        })
        await new Promise<void>((resolve) => model.listen(0, "127.0.0.1", resolve))
        const { port } = model.address() as AddressInfo
        const [wrapped, answer, refused] = output(await run("thinks", { url: `http://127.0.0.1:${port}` })) as unknown[]
        expect([wrapped, answer]).toEqual([2, { answer: 42 }])
        expect(refused).toMatch(/AIGatewayError.*status 500/)
        expect(seen).toEqual([
          ["POST", "/", "Bearer a key"],
          ["POST", "/none", "Bearer a key"],
        ])
        model.close()
        model.closeAllConnections()
      })

      it("invokes a function of another app", async () => {
        expect(output(await run("invokes-far"))).toBe(21)
      })

      it("is throttled, rated, and started by priority", async () => {
        const send = async (id: string, list: readonly object[]): Promise<string[]> =>
          (await app.send(list.map((data) => ({ name: `t/${id}`, data })))).ids
        const throttled = await send("throttled", [{ n: 1 }, { n: 2 }])
        const rated = await send("rated", [{ who: "a" }, { who: "a" }, { who: "b" }])
        const first = await send("important", [{ n: 0 }])
        await until(async () => ledger.count("important 0") === 1, "the first")
        const rest = await send("important", [{ n: 1 }, { n: 500 }, { n: 100 }])
        for (const id of [...first, ...rest]) await ended(id)
        expect(ledger.done.filter((what) => what.startsWith("important"))).toEqual([0, 500, 100, 1].map((n) => `important ${n}`))
        const starts = [(await ended(throttled[0] ?? "")).startedAt, (await ended(throttled[1] ?? "")).startedAt] as number[]
        expect(Math.abs((starts[0] ?? 0) - (starts[1] ?? 0))).toBeGreaterThanOrEqual(900)
        await ended(rated[0] ?? "")
        await ended(rated[2] ?? "")
        await standing(rated[1] ?? "", "skipped")
      })

      it("is started by the clock, as its cron line says", async () => {
        const [tick] = await until(async () => {
          const { items } = await get<Page<{ at: number; outcome: string; runId: string | null }>>("/api/v1/schedules/demo-clock/ticks")
          return items.length > 0 && items
        }, "the tick")
        expect([tick?.outcome, (tick?.at ?? 0) % 3_000]).toEqual(["fired", 0])
        const detail = await until(async () => {
          const seen = await get<RunDetail>(`/api/v1/runs/${tick?.runId}`)
          return seen.endedAt !== null && seen
        }, "its end")
        expect(output(detail)).toEqual(["clock inngest/scheduled.timer", "*/3 * * * * *"])
      })

      it("is started later by an event that is dated so", async () => {
        const ts = Date.now() + 1_000
        const { ids } = await app.send({ name: "t/late", data: {}, ts })
        const detail = await ended(ids[0] ?? "")
        expect(detail.startedAt).toBeGreaterThanOrEqual(ts)
        expect(output(detail)).toBe(ts)
      })
    })
  })
}

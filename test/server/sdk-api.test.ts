import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttp } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { createServer, type FanfareServer } from "../../src/server.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-sdk-api-"))
const client = new Fanfare({ id: "shop" })
const heard: unknown[] = []
client.createFunction({ id: "hears", triggers: [{ event: "shop/form" }] }, ({ event }) => void heard.push([event.name, event.data]))
client.createFunction({ id: "sleeps", triggers: [{ event: "shop/sleep" }] }, ({ step }) => step.sleep("long", "1h"))
client.createFunction({ id: "asked", triggers: [] }, ({ event }) => void heard.push([event.name, event.data]))

let server: FanfareServer
beforeAll(async () => {
  server = await createServer({ client, db: join(folder, "1.db"), http: { port: 0 }, logs: "none", stopGrace: "1s" })
  await server.start()
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

const ask = (path: string, init: RequestInit = {}) => fetch(new URL(path, server.url ?? ""), init)
const post = (path: string, body: unknown) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
const data = async <T>(response: Response): Promise<T> => ((await response.json()) as { data: T }).data

async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (let i = 0; i < 400; i++) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error("it did not happen")
}

describe("the event API", () => {
  it("takes forms: one event, with what is not its own field in its data", async () => {
    const url = new URLSearchParams({ name: "shop/form", data: '{"a":1}', b: "two" })
    const multi = new FormData()
    multi.set("name", "shop/form")
    multi.set("c", "three")
    multi.set("file", new Blob(["x"]), "x.bin")
    for (const body of [url, multi]) expect(await (await ask("/e/any", { method: "POST", body })).json()).toMatchObject({ status: 200 })
    await until(async () => heard.length === 2)
    expect(heard.splice(0)).toEqual([
      ["shop/form", { a: 1, b: "two" }],
      ["shop/form", { c: "three" }],
    ])
  })

  it("takes all events of a request or none, and says which of them is wrong", async () => {
    const answer = await post("/e/any", [{ name: "shop/whole" }, { name: "shop/whole", data: [1] }, { name: "shop/whole" }])
    expect([answer.status, await answer.json()]).toEqual([
      400,
      { status: 400, ids: [], error: expect.stringContaining("events[1]") as string },
    ])
    expect(
      (
        await post(
          "/e/any",
          Array.from({ length: 100_001 }, () => ({ name: "shop/whole" })),
        )
      ).status,
    ).toBe(413)
    expect(await data(await ask("/v1/events?name=shop/whole"))).toEqual([])
  })

  it("refuses forms that say no name, and those of pages elsewhere", async () => {
    expect((await ask("/e/any", { method: "POST", body: new URLSearchParams({ a: "1" }) })).status).toBe(400)
    const headers = { origin: "https://elsewhere.example" }
    const body = new URLSearchParams({ name: "shop/form" })
    expect((await ask("/e/any", { method: "POST", headers, body })).status).toBeGreaterThanOrEqual(400)
  })
})

describe("the API of the official SDKs", () => {
  it("tells of events and of functions", async () => {
    const { ids } = (await (await post("/e/any", { name: "shop/alone", data: { n: 1 } })).json()) as { ids: string[] }
    const events = await data<{ internal_id: string; data: unknown }[]>(await ask("/v1/events?limit=5&name=shop/alone"))
    expect(events).toMatchObject([{ internal_id: ids[0], name: "shop/alone", data: { n: 1 } }])
    expect(await data(await ask(`/v1/events/${ids[0]}`))).toMatchObject({ internal_id: ids[0] })
    expect((await ask("/v1/events/evt_none")).status).toBe(404)
    expect((await ask("/v1/events?limit=1000")).status).toBe(400)
    const received = async (query: string): Promise<number> =>
      (await data<unknown[]>(await ask(`/v1/events?name=shop/alone&${query}`))).length
    const soon = new Date(Date.now() + 60_000).toISOString()
    expect([await received(`received_after=${soon}`), await received(`received_before=${soon}`)]).toEqual([0, 1])
    expect([await received("received_before=2020-01-01"), await received("received_after=2020-01-01")]).toEqual([0, 1])
    expect((await ask("/v1/events?received_after=soon")).status).toBe(400)
    const { functions } = await data<{ functions: { slug: string }[] }>(await ask("/v1/apps/shop/functions"))
    expect(functions.map(({ slug }) => slug).toSorted()).toEqual(["shop-asked", "shop-hears", "shop-sleeps"])
  })

  it("starts a function by its slug", async () => {
    expect(await (await post("/invoke/shop-asked", { data: { n: 2 } })).json()).toMatchObject({ status: 200 })
    await until(async () => heard.length === 1)
    expect(heard.splice(0)).toEqual([["fanfare/function.invoked", { n: 2 }]])
    expect((await post("/invoke/shop-none", {})).status).toBe(404)
  })

  it("tells what is in line for a run, and cancels many by function and time", async () => {
    const { ids } = (await (
      await post(
        "/e/any",
        [1, 2, 3].map((n) => ({ name: "shop/sleep", data: { n } })),
      )
    ).json()) as { ids: string[] }
    const runOf = async (id: string | undefined) =>
      (await data<{ run_id: string; status: string }[]>(await ask(`/v1/events/${id}/runs`)))[0]
    const run = await until(async () => {
      const found = await runOf(ids[0])
      return (
        found !== undefined && (await data<{ kind: string }[]>(await ask(`/v1/runs/${found.run_id}/jobs`)))[0]?.kind === "sleep" && found
      )
    })
    const wrong = [{}, { function_id: "none" }, { function_id: "sleeps", app_id: "shop", if: "event.data.n == 1" }]
    for (const each of wrong) expect((await post("/v1/cancellations", each)).status).toBeGreaterThanOrEqual(400)
    const made = await post("/v1/cancellations", { app_id: "shop", function_id: "sleeps", started_before: new Date(Date.now() + 60_000) })
    expect(made.status).toBe(201)
    const cancellation = await data<{ id: string }>(made)
    expect(cancellation).toMatchObject({ app_id: "shop", function_id: "shop-sleeps", if: null, kind: "api" })
    expect(await data(await ask("/v1/cancellations"))).toEqual([cancellation])
    for (const id of ids) await until(async () => (await runOf(id))?.status === "Cancelled")
    expect(await data(await ask(`/v1/runs/${run.run_id}/jobs`))).toEqual([])
    // What is done stays done, and in the list.
    expect((await ask(`/v1/cancellations/${cancellation.id}`, { method: "DELETE" })).status).toBe(204)
    expect(await data(await ask("/v1/cancellations"))).toEqual([cancellation])
  })

  it("stops a cancellation that is under way, and no other operation", async () => {
    // Far more runs than one part of it cancels.
    await client.send(Array.from({ length: 3_000 }, () => ({ name: "shop/sleep" })))
    const all = await until(async () => client.runs.count({ functionId: "sleeps", state: "waiting" }).then((n) => n === 3_000))
    expect(all).toBe(true)
    const { id } = await data<{ id: string }>(await post("/v1/cancellations", { function_id: "shop-sleeps" }))
    expect((await ask(`/v1/cancellations/${id}`, { method: "DELETE" })).status).toBe(204)
    const { state, affected } = await client.runs.stop(id)
    if (state === "stopped") expect(affected).toBeLessThan(3_000)
    const replay = await client.runs.bulk("replay", { functionId: "hears" })
    for (const other of [replay.id, "op_none"]) expect((await ask(`/v1/cancellations/${other}`, { method: "DELETE" })).status).toBe(404)
  })
})

describe("a request that a run makes through the server", () => {
  it("goes only where the server may go", async () => {
    const target = createHttp((_, response) => response.end("here"))
    await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve))
    const { port } = target.address() as AddressInfo
    const { askFor } = await import("../../src/transport/gateway.ts")
    const { HttpClient } = await import("../../src/transport/http-client.ts")
    const { addressRule } = await import("../../src/transport/address.ts")
    const op = { id: "g", key: "g", kind: "Gateway", name: "g", data: null, error: null, opts: { url: `http://127.0.0.1:${port}/` } }
    const [free, guarded] = [new HttpClient(addressRule(["loopback"])), new HttpClient(addressRule([]))]
    const way = { signal: new AbortController().signal }
    expect(await askFor(op, free, way)).toMatchObject({ status_code: 200, body: "here" })
    await expect(askFor(op, guarded, way)).rejects.toMatchObject({ name: "GatewayError" })
    for (const url of ["file:///etc/passwd", "nonsense", 5])
      await expect(askFor({ ...op, opts: { url } }, free, way)).rejects.toThrow("no URL")
    const model = { ...op, kind: "AIGateway", opts: { url: `http://127.0.0.1:${port}/`, format: "anthropic", auth_key: "k", body: {} } }
    await expect(askFor(model, free, way)).rejects.toMatchObject({ name: "AIGatewayError" })
    for (const each of [free, guarded]) each.close()
    target.close()
    target.closeAllConnections()
  })
})

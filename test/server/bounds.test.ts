import { mkdtempSync, rmSync } from "node:fs"
import type { AddressInfo } from "node:net"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, describe, expect, it } from "vitest"
import { createServer } from "../../src/server.ts"
import { boundedServer } from "../../src/server/http.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-bounds-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Sends pieces a while apart; gives what came back, and after how many milliseconds the other side ended it. */
async function slowly(port: number, pieces: readonly string[], everyMs: number): Promise<{ answer: string; ms: number }> {
  const began = performance.now()
  let answer = ""
  const socket = connect(port, "127.0.0.1")
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString()))
  socket.on("error", () => undefined)
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()))
  for (const piece of pieces) {
    if (socket.destroyed) break
    socket.write(piece)
    await delay(everyMs)
  }
  await Promise.race([closed, delay(5_000)])
  socket.destroy()
  return { answer, ms: performance.now() - began }
}

describe("the bounds of the server", () => {
  it("let go of who sends slowly, while others are answered", async () => {
    const server = boundedServer(async (request) => new Response(`ok${await request.text()}`), {
      headersTimeout: 200,
      requestTimeout: 400,
      connectionsCheckingInterval: 50,
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    const drip = Array.from({ length: 100 }, (_, i) => `x-${i}: y\r\n`)
    const body = ["POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n", ...Array.from({ length: 99 }, () => "x")]
    const attacks = [
      slowly(port, ["GET / HTTP/1.1\r\nhost: a\r\n", ...drip], 30),
      slowly(port, body, 30),
      slowly(port, ["G"], 30),
      ...Array.from({ length: 200 }, () => slowly(port, ["GET / HTTP/1.1\r\nhost: a\r\n", ...drip], 30)),
    ]
    await delay(100)
    const began = performance.now()
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("ok")
    expect(performance.now() - began).toBeLessThan(1_000)
    const ended = await Promise.all(attacks)
    for (const { answer, ms } of ended) {
      expect(ms).toBeLessThan(2_500)
      expect(answer).toMatch(/^(HTTP\/1\.1 408|$)/)
    }
    server.close()
    server.closeAllConnections()
  })

  it("are set: time for headers and requests, size and number of headers, connections", () => {
    const { headersTimeout, requestTimeout, maxHeadersCount, maxConnections, keepAliveTimeout } = boundedServer(() => new Response())
    expect({ headersTimeout, requestTimeout, maxHeadersCount, maxConnections, keepAliveTimeout }).toEqual({
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      maxHeadersCount: 100,
      maxConnections: 10_000,
      keepAliveTimeout: 65_000,
    })
  })

  it("refuse what is too large before it is read, and too many events of one key", async () => {
    const keys = { signingKeys: ["00".repeat(16)], eventKeys: ["event-key-0123456789", "other-key-0123456789"] }
    const server = await createServer({ db: join(folder, "a.db"), http: { port: 0, ...keys, eventsPerSecond: 2 }, logs: "none" })
    await server.start()
    const port = Number(new URL(server.url ?? "").port)
    const head = (length: string): string =>
      `POST /e/${keys.eventKeys[0]} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n${length}\r\n\r\n`
    expect((await slowly(port, [head("content-length: 99999999999")], 50)).answer).toMatch(/^HTTP\/1\.1 413/)
    expect((await slowly(port, [`GET /health HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(20_000)}\r\n\r\n`], 50)).answer).toMatch(
      /^HTTP\/1\.1 431/,
    )
    const send = (events: number, key = keys.eventKeys[0]): Promise<Response> =>
      fetch(`${server.url}/e/${key}`, { method: "POST", body: JSON.stringify(Array.from({ length: events }, () => ({ name: "a/b" }))) })
    expect((await send(20)).status).toBe(200)
    const refused = await send(2)
    expect([refused.status, Number(refused.headers.get("retry-after"))]).toEqual([429, 1])
    const own = await fetch(`${server.url}/api/v1/events`, {
      method: "POST",
      headers: { authorization: `Bearer ${keys.eventKeys[0]}`, "content-type": "application/json" },
      body: '[{"name":"a/b"},{"name":"a/b"}]',
    })
    expect([own.status, await own.json()]).toEqual([429, expect.objectContaining({ code: "busy" })])
    expect((await send(20, keys.eventKeys[1])).status).toBe(200)
    await delay(1_100)
    expect((await send(2)).status).toBe(200)
    await server.stop()
    await expect(
      createServer({ http: { port: 0, eventsPerSecond: 0 }, db: join(folder, "b.db") }).then((other) => other.start()),
    ).rejects.toMatchObject({
      field: "http.eventsPerSecond",
    })
  })
})

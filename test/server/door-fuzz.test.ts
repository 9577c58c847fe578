import { mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createServer, type FanfareServer } from "../../src/server.ts"

describe("a server that is open to anybody", () => {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-fuzz-"))
  let server: FanfareServer
  beforeAll(async () => {
    server = await createServer({ db: join(folder, "fuzz.db"), http: { port: 0 }, logs: "none" })
    await server.start()
  })
  afterAll(async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it("survives whatever bytes come: nothing is answered with a fault of ours", { timeout: 60_000 }, async () => {
    const { port } = new URL(server.url ?? "")
    const path = fc.oneof(
      fc.constantFrom("/e/k", "/fn/register", "/v1/runs/x", "/v0/runs/x/batch", "/api/v1/runs?limit=x", "/dev"),
      fc.string().map((text) => `/${text}`),
    )
    const body = fc.oneof(
      fc.json(),
      fc.string({ unit: "binary" }),
      fc.constantFrom('{"name":"a/b"}', "[".repeat(20_000), '[{"name":"a","data":{"__proto__":{"x":1}}}]'),
    )
    const request = fc.record({
      method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "NONSENSE"),
      path,
      headers: fc.array(
        fc.oneof(
          fc.constantFrom(
            "content-type: application/json",
            "expect: 100-continue",
            "transfer-encoding: chunked",
            "content-length: 5",
            "x-inngest-event-id-seed: 1,x",
            "host: evil",
          ),
          fc.string(),
        ),
        { maxLength: 4 },
      ),
      body,
    })
    const faults: string[] = []
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 3 }), async (requests) => {
        const text = requests
          .map(
            (each) =>
              `${each.method} ${each.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${each.headers.map((line) => `${line}\r\n`).join("")}content-length: ${Buffer.byteLength(each.body)}\r\n\r\n${each.body}`,
          )
          .join("")
        const answer = await raw(Number(port), text)
        if (/^HTTP\/1\.1 5\d\d/m.test(answer)) faults.push(text.slice(0, 300))
      }),
      { numRuns: 400 },
    )
    expect(faults).toEqual([])
    expect((await fetch(new URL("/health", server.url ?? ""))).status).toBe(200)
  })
})

/** Sends bytes; gives what comes back until the other side ends it or is silent for a moment. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = ""
    const socket = connect(port, "127.0.0.1", () => socket.write(text, "latin1"))
    socket.setTimeout(60, () => socket.destroy())
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1")
    })
    socket.on("error", () => undefined)
    socket.on("close", () => resolve(answer))
  })
}

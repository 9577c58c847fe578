import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { gzipSync } from "node:zlib"
import { afterEach, describe, expect, it } from "vitest"
import { addressRule, checkHost } from "../../src/transport/address.ts"
import { HttpClient } from "../../src/transport/http-client.ts"

const servers: Server[] = []
const clients: HttpClient[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

function client(allowed: readonly string[] = ["loopback"]): HttpClient {
  const made = new HttpClient(addressRule(allowed))
  clients.push(made)
  return made
}

const post = (url: string, of = client(), signal = new AbortController().signal) =>
  of.send({ method: "POST", url, headers: {}, body: "{}", signal })

describe("addresses that may be called", () => {
  const forbidden = [
    "127.0.0.1",
    "10.1.2.3",
    "172.31.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.0.8",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
  ]
  const forbidden6 = [
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "::ffff:169.254.169.254",
    "nonsense",
    "",
  ]

  it("are the public ones, and those that the operator allows; never link-local ones", () => {
    const rule = addressRule([])
    expect([...forbidden, ...forbidden6].filter(rule)).toEqual([])
    expect(["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"].every(rule)).toBe(true)
    const ours = addressRule(["10.0.0.0/8", "::1"])
    expect([...forbidden, ...forbidden6].filter(ours)).toEqual(["10.1.2.3", "::1"])
    const own = addressRule(["private"])
    expect([...forbidden, ...forbidden6].filter((address) => !own(address))).toEqual([
      "169.254.169.254",
      "0.0.0.0",
      "224.0.0.1",
      "255.255.255.255",
      "::",
      "fe80::1",
      "fd00:ec2::254",
      "ff02::1",
      "::ffff:169.254.169.254",
      "nonsense",
      "",
    ])
    expect(() => addressRule(["169.254.0.0/16"])("169.254.169.254")).not.toThrow()
    expect(addressRule(["169.254.0.0/16"])("169.254.169.254")).toBe(false)
  })

  it.each(["10.0.0.0/33", "10.0.0.0/", "10.0.0", "host", "10.0.0.0/x", ""])("cannot be named %j", (network) => {
    expect(() => addressRule([network])).toThrow(/is no network/)
  })

  it("are looked at in a URL, in any spelling, and behind a name", async () => {
    const rule = addressRule([])
    for (const url of [
      "http://127.0.0.1/",
      "http://2130706433/",
      "http://0x7f.1/",
      "http://[::1]/",
      "http://[::ffff:127.0.0.1]/",
      "http://169.254.169.254/",
    ])
      expect(() => checkHost(new URL(url).hostname, rule)).toThrow(/may not call/)
    let reached = 0
    const url = new URL(await listen((_, answer) => (reached++, answer.end())))
    url.hostname = "localhost"
    await expect(post(url.href, client([]))).rejects.toThrow(/may not call/)
    expect(reached).toBe(0)
    expect((await post(url.href)).status).toBe(200)
  })
})

describe("what answers", () => {
  it("is read whole, whatever its status; a redirect is not followed", async () => {
    const url = await listen((request, answer) => {
      answer.writeHead(302, { location: "http://169.254.169.254/", "x-method": request.method ?? "" })
      answer.end("there")
    })
    expect(await post(url)).toMatchObject({ status: 302, body: "there", headers: { "x-method": "POST" } })
  })

  it("may be too long, or never end: it is let go of at the bound", async () => {
    const endless = await listen((_, answer) => {
      const more = (): void =>
        void (answer.destroyed || (answer.write("x".repeat(1_000_000)) ? setImmediate(more) : answer.once("drain", more)))
      more()
    })
    await expect(post(endless)).rejects.toThrow(/over 8388608 bytes/)
    const silent = await listen(() => undefined)
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 50)
    await expect(post(silent, client(), controller.signal)).rejects.toThrow()
  })

  it("may be packed, broken off, or no HTTP at all: an error that says so", async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000))
    await expect(post(await listen((_, answer) => answer.writeHead(200, { "content-encoding": "gzip" }).end(bomb)))).rejects.toThrow(
      /packed/,
    )
    await expect(
      post(
        await listen(
          (_, answer) => (answer.writeHead(200, { "content-length": 100 }), answer.write("x"), setTimeout(() => answer.destroy(), 20)),
        ),
      ),
    ).rejects.toThrow()
    await expect(post(await listen(({ socket }) => socket.end("nonsense\r\n\r\n")))).rejects.toThrow()
    await expect(post(await listen(({ socket }) => socket.destroy()))).rejects.toThrow()
    await expect(post("http://127.0.0.1:1/")).rejects.toThrow(/ECONNREFUSED/)
    await expect(post("http://nowhere.invalid/")).rejects.toThrow(/nowhere\.invalid/)
    // What speaks no TLS where it should is like one whose certificate does not hold.
    const plain = await listen((_, answer) => answer.end("1"))
    await expect(post(plain.replace("http:", "https:"))).rejects.toThrow()
  })

  it("may have closed a connection that was kept: it is asked again on a new one", async () => {
    let asked = 0
    const url = await listen((request, answer) => {
      asked++
      answer.end("ok")
      setTimeout(() => request.socket.destroy(), 5)
    })
    const kept = client()
    for (let i = 0; i < 20; i++) {
      expect((await post(url, kept)).body).toBe("ok")
      await new Promise((resolve) => setTimeout(resolve, i % 8))
    }
    expect(asked).toBeGreaterThanOrEqual(20)
  })
})

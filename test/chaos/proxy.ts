import { createConnection, createServer, type Socket } from "node:net"
import { seededRandom } from "../../src/testing/random.ts"

export type Cut = "before" | "after" | "half-open"

export interface Proxy {
  readonly port: number
  /** Cuts so far, by kind. */
  readonly cuts: Readonly<Record<Cut, number>>
  /** Share of commits around which the connection is cut. */
  rate: number
  close(): Promise<void>
}

/**
 * Stands between nodes and a PostgreSQL and knows where a COMMIT begins: it cuts connections right before it reaches the server, or
 * right after the server has done it and before the answer gets back; or it leaves them open and carries nothing any more.
 */
export async function startProxy(target: number, seed: number): Promise<Proxy> {
  const random = seededRandom(seed, "cuts")
  const sockets = new Set<Socket>()
  const cuts = { before: 0, after: 0, "half-open": 0 }
  const state = { rate: 0 }
  const server = createServer((client) => {
    const upstream = createConnection(target, "127.0.0.1")
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on("error", () => undefined)
      socket.on("close", () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    const messages = new Messages()
    let cutting: Cut | null = null
    client.on("data", (data) => {
      if (cutting !== null) return
      for (const message of messages.add(data)) {
        if (isCommit(message) && random.next() < state.rate) {
          const x = random.next()
          cutting = x < 0.48 ? "before" : x < 0.98 ? "after" : "half-open"
          cuts[cutting]++
          if (cutting === "before") client.destroy()
          else if (cutting === "after") upstream.write(message)
          return
        }
        upstream.write(message)
      }
    })
    // What the server says while a commit is cut is kept from the client; its first word is that the commit is done.
    upstream.on("data", (data) => {
      if (cutting === null) client.write(data)
      else if (cutting === "after" && data.includes("COMMIT")) client.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    cuts,
    get rate() {
      return state.rate
    },
    set rate(rate) {
      state.rate = rate
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** Cuts a stream of a client into messages: the first one has a length only, the others a letter before it. */
class Messages {
  #rest = Buffer.alloc(0)
  #started = false

  add(data: Buffer): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, data])
    const whole: Buffer[] = []
    for (;;) {
      const head = this.#started ? 1 : 0
      if (this.#rest.length < head + 4) return whole
      const length = head + this.#rest.readUInt32BE(head)
      if (this.#rest.length < length) return whole
      whole.push(this.#rest.subarray(0, length))
      this.#rest = this.#rest.subarray(length)
      this.#started = true
    }
  }
}

function isCommit(message: Buffer): boolean {
  return message[0] === 0x51 && message.toString("latin1", 5, 11) === "commit"
}

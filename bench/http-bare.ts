import { Agent, request } from "node:http"
import { callBody } from "../src/protocol/call.ts"

/**
 * Requests with nothing behind them, from a process of their own: the calls of a fan-out, made by a bare client, or sends of one event.
 * Says how many were answered in a second.
 */
const [, , kind = "", url = "", count = "0", connections = "0"] = process.argv
const total = Number(count)
const agent = new Agent({ keepAlive: true, maxSockets: Number(connections) })
const began = performance.now()
let next = 0
await Promise.all(
  Array.from({ length: Number(connections) }, async () => {
    while (next < total) await ask(kind === "calls" ? callOf(next++) : JSON.stringify([{ name: "bench/alone", data: { i: next++ } }]))
  }),
)
process.send?.({ perSecond: (total / (performance.now() - began)) * 1_000 })
process.disconnect()
agent.destroy()

function ask(body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) }
    const asked = request(url, { method: "POST", agent, headers }, (answer) => {
      if (answer.statusCode !== 200) reject(new Error(`answered with ${answer.statusCode}`))
      answer.resume()
      answer.on("end", resolve)
    })
    asked.on("error", reject)
    asked.end(body)
  })
}

function callOf(i: number): string {
  const event = { id: `evt_${i}`, name: "bench/leaf", data: `{"i":${i}}`, ts: Date.now() }
  const first = {
    attempt: 0,
    maxAttempts: 5,
    stepId: null,
    planOnly: false,
    version: -1,
    memos: [],
    byApi: false,
    ticket: null,
    linked: true,
    defers: [],
  }
  return callBody({ runId: `run_${i}`, events: [event], ...first })
}

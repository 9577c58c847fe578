import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { setTimeout as delay } from "node:timers/promises"

// Behaves like a real chat API: some answers are slow, 2 % are errors, and above a rate it asks to slow down.
const ratePerSecond = 3_000
const burst = 20
const errorShare = 0.02

const seen = new Map<string, number>()
let errors = 0
let refused = 0
let tokens = burst
let last = performance.now()

function takeToken(): boolean {
  const now = performance.now()
  tokens = Math.min(burst, tokens + ((now - last) / 1_000) * ratePerSecond)
  last = now
  if (tokens < 1) return false
  tokens--
  return true
}

const server = createServer((request, response) => void answer(request, response))

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "GET") {
    const duplicates = [...seen.values()].reduce((sum, times) => sum + times - 1, 0)
    response.setHeader("content-type", "application/json").end(JSON.stringify({ received: seen.size, duplicates, errors, refused }))
    return
  }
  let body = ""
  for await (const chunk of request) body += chunk
  if (!takeToken()) {
    refused++
    response.writeHead(429, { "retry-after": "1" }).end()
    return
  }
  await delay(Math.random() < 0.01 ? 300 : 5 + Math.random() * 25)
  if (Math.random() < errorShare) {
    errors++
    response.writeHead(500).end()
    return
  }
  const { id } = JSON.parse(body) as { id: string }
  seen.set(id, (seen.get(id) ?? 0) + 1)
  response.end("ok")
}

server.keepAliveTimeout = 60_000
server.listen(Number(process.env["PORT"] ?? 8399), "127.0.0.1", () => {
  const address = server.address()
  process.send?.(typeof address === "object" ? address?.port : null)
})
// The one that started it has ended.
process.on("disconnect", () => process.exit(0))

import { Fanfare } from "fanfare"
import { createServer } from "fanfare/server"

// One of several nodes on a PostgreSQL; sends and leaves when it is told to.
const [place = ""] = process.argv.slice(2)
const app = new Fanfare({ id: "bench" })
app.createFunction({ id: "noop", triggers: [{ event: "bench/noop" }] }, () => undefined)
app.createFunction(
  { id: "slow", triggers: [{ event: "bench/slow" }], retries: 20 },
  () => new Promise((resolve) => setTimeout(resolve, 60_000)),
)
const server = await createServer({ client: app, db: place, logs: "none", concurrency: 50, stopGrace: 0 })
await server.start()
process.send?.("started")
process.on("message", (message: { send: string; events: number } | "stop") => {
  if (message === "stop") void server.stop().then(() => process.exit(0))
  else {
    const events = Array.from({ length: message.events }, (_, i) => ({ name: message.send, data: { i, text: "x".repeat(150) } }))
    void app.send(events).then(() => process.send?.("sent"))
  }
})

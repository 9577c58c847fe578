import { Fanfare } from "fanfare"
import { createServer } from "fanfare/server"

// Sends a fan-out, or starts on the store of one that was killed, and tells when the first handler runs.
const [place = "", mode] = process.argv.slice(2)
const app = new Fanfare({ id: "bench" })
let told = false
app.createFunction({ id: "slow", triggers: [{ event: "bench/slow" }], retries: 20 }, async () => {
  if (!told) process.send?.("runs")
  told = true
  await new Promise((resolve) => setTimeout(resolve, 20))
})
const server = await createServer({ client: app, db: place, logs: "none" })
await server.start()
if (mode === "send") await app.send(Array.from({ length: 10_000 }, (_, i) => ({ name: "bench/slow", data: { i } })))

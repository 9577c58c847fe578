import { Fanfare } from "../../src/index.ts"
import { postgres } from "../../src/postgres.ts"
import { createServer } from "../../src/server.ts"

// A node whose user code blocks the event loop for longer than a node may be silent.
const [url = ""] = process.argv.slice(2)
const app = new Fanfare({ id: "blocked" })
app.createFunction({ id: "block", triggers: [{ event: "b/block" }] }, () => {
  process.send?.("blocking")
  const end = Date.now() + 7_000
  while (Date.now() < end);
  process.send?.("blocked")
})
const server = await createServer({ client: app, db: postgres(url), logs: "none" })
await server.start()
process.send?.("started")
process.on("message", (data: object) => void app.send({ name: "b/block", data }))

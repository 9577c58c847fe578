import { setTimeout as delay } from "node:timers/promises"
import { Fanfare } from "../../src/index.ts"
import { createServer } from "../../src/server.ts"
import { sqlite } from "../../src/sqlite.ts"

// One life of an engine, to be killed at any moment. Tells its supervisor what it acknowledged.
// Since the process began: nothing of the engine has happened yet.
const loaded = performance.now()
const [file = ""] = process.argv.slice(2)
const app = new Fanfare({ id: "chaos" })

// A death of the node counts as an attempt from the second in a row on. No run here is to blame for them: each may have many.
app.createFunction({ id: "parent", triggers: [{ event: "chaos/begin" }], retries: 20 }, async ({ step }) => {
  await app.send(Array.from({ length: 10_000 }, (_, i) => ({ name: "chaos/child", data: { i } })))
  await step.run("after", () => "sent")
})
app.createFunction({ id: "child", triggers: [{ event: "chaos/child" }], retries: 20 }, async ({ step, event }) => {
  // Slow enough for the fan-out to live through many lives of the engine.
  await delay(50)
  if (Number(event.data["i"]) % 10 === 0) await step.run("work", () => event.data["i"])
})
app.createFunction({ id: "extra", triggers: [{ event: "chaos/extra" }], concurrency: { limit: 5 }, retries: 20 }, () => null)

const server = await createServer({ client: app, db: sqlite(file), logs: "none" })
await server.start()
process.send?.({ kind: "started", loadMs: loaded, openMs: performance.now() - loaded })
process.on("message", (message: { kind: "send"; ids: string[] } | { kind: "stop" }) => {
  if (message.kind === "stop") void server.stop().then(() => process.exit(0))
  else {
    const events = message.ids.map((id) => ({ name: id === "begin" ? "chaos/begin" : "chaos/extra", id }))
    void app.send(events).then(() => process.send?.({ kind: "acked", ids: message.ids }))
  }
})
process.on("disconnect", () => process.exit(1))

import { randomUUID } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { Fanfare } from "../../src/index.ts"
import { postgres } from "../../src/postgres.ts"
import { createServer } from "../../src/server.ts"

// One of several nodes on one PostgreSQL, to be killed, frozen and cut off. Tells its supervisor what it acknowledged.
const [url = "", children = "0"] = process.argv.slice(2)
const app = new Fanfare({ id: "chaos" })

app.createFunction({ id: "parent", triggers: [{ event: "chaos/begin" }], retries: 20 }, async ({ step }) => {
  await app.send(Array.from({ length: Number(children) }, (_, i) => ({ name: "chaos/child", data: { i } })))
  await step.run("after", () => "sent")
})
// What an attempt draws is kept at its step: an output that differs from it was written by an attempt that had lost its run.
app.createFunction({ id: "child", triggers: [{ event: "chaos/child" }], retries: 20 }, async ({ step, event }) => {
  await delay(5 + (Number(event.data["i"]) % 50))
  const drawn = await step.run("draw", () => randomUUID())
  await delay(5)
  return drawn
})
app.createFunction({ id: "extra", triggers: [{ event: "chaos/extra" }], concurrency: { limit: 3 }, retries: 20 }, async ({ step }) => {
  const drawn = await step.run("draw", () => randomUUID())
  await step.sleep("a while", 50)
  return drawn
})

const server = await createServer({ client: app, db: postgres(url), logs: "none", stopGrace: "2s" })
await server.start()
process.send?.({ kind: "started" })
process.on("message", (message: { kind: "send"; ids: string[] } | { kind: "stop" }) => {
  if (message.kind === "stop") void server.stop().then(() => process.exit(0))
  else {
    const events = message.ids.map((id) => ({ name: id === "begin" ? "chaos/begin" : "chaos/extra", id }))
    // A send that fails is sent again by the supervisor, with the same ids, to some node.
    app.send(events).then(
      () => process.send?.({ kind: "acked", ids: message.ids }),
      () => undefined,
    )
  }
})
process.on("disconnect", () => process.exit(1))

import { Fanfare } from "../../src/index.ts"
import { createServer } from "../../src/server.ts"

// A node with the first or the second version of a program: the second has another step and another function for the same event.
const [place = "", version = "1"] = process.argv.slice(2)
const app = new Fanfare({ id: "versions" })
app.createFunction({ id: "work", triggers: [{ event: "versions/work" }], retries: 20 }, async ({ step }) => {
  await step.run("first", () => 1)
  if (version === "2") await step.run("second", () => 2)
})
if (version === "2") app.createFunction({ id: "added", triggers: [{ event: "versions/work" }], retries: 20 }, () => null)
const server = await createServer({ client: app, db: place, logs: "none", stopGrace: "2s" })
await server.start()
process.send?.({ kind: "started" })
process.on("message", (message: { kind: "send"; ids: string[] } | { kind: "stop" }) => {
  if (message.kind === "stop") void server.stop().then(() => process.exit(0))
  else
    app.send(message.ids.map((id) => ({ name: "versions/work", id }))).then(
      () => process.send?.({ kind: "acked", ids: message.ids }),
      () => undefined,
    )
})
process.on("disconnect", () => process.exit(1))

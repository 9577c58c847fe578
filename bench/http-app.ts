import express from "express"
import { Inngest } from "inngest"
import { serve } from "inngest/express"

/** An app written with the official SDK, as its users have it: a process of its own. Says its port, and when the first run of a fan-out began. */
const [, , url = "", steps = "0"] = process.argv
const inngest = new Inngest({ id: "bench", isDev: true, baseUrl: url })
/** A pause comes before the first one of a fan-out. */
let lastAt = 0
const leaf = inngest.createFunction({ id: "leaf", triggers: [{ event: "bench/leaf" }] }, async ({ event, step }) => {
  const now = Date.now()
  if (now - lastAt > 200) process.send?.({ first: now })
  lastAt = now
  for (let i = 0; i < Number(steps); i++) await step.run(`step ${i}`, () => i)
  return event.data
})
const app = express()
app.use(express.json({ limit: "10mb" }))
app.use("/api/inngest", serve({ client: inngest, functions: [leaf] }))
const server = app.listen(0, "127.0.0.1", () => {
  const address = server.address()
  process.send?.({ port: typeof address === "object" ? address?.port : null })
})

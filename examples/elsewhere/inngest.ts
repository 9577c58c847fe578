// An app of the official SDK, unchanged: npx fanfare dev, then INNGEST_DEV=http://127.0.0.1:8288 node examples/elsewhere/inngest.ts
import express from "express"
import { Inngest } from "inngest"
import { serve } from "inngest/express"

const inngest = new Inngest({ id: "shop" })

const digest = inngest.createFunction({ id: "digest", triggers: [{ cron: "0 9 * * MON-FRI" }] }, async ({ step }) => {
  const users = await step.run("users", () => Array.from({ length: 1_000 }, (_, i) => `user-${i}`))
  await step.sendEvent(
    "due",
    users.map((user) => ({ name: "shop/digest.due", data: { user } })),
  )
})

const send = inngest.createFunction({ id: "send", triggers: [{ event: "shop/digest.due" }], retries: 4 }, async ({ event, step }) =>
  step.run("send", () => `sent to ${String(event.data["user"])}`),
)

const app = express()
app.use(express.json({ limit: "10mb" }))
app.use("/api/inngest", serve({ client: inngest, functions: [digest, send] }))
app.listen(3000, () => console.log("an app at http://localhost:3000/api/inngest"))

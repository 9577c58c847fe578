// An app of the official SDK that opens the connection itself, and listens nowhere: npx fanfare dev, then
// INNGEST_DEV=http://127.0.0.1:8288 node examples/elsewhere/connect.ts
import { Inngest } from "inngest"
import { connect } from "inngest/connect"

const inngest = new Inngest({ id: "shop" })

const welcome = inngest.createFunction({ id: "welcome", triggers: [{ event: "shop/user.joined" }] }, async ({ event, step }) => {
  const mail = await step.run("mail", () => `to ${String(event.data["email"])}`)
  await step.sleep("a while", "10s")
  return mail
})

// Start it as often as you like: each worker gets ten requests at a time.
await connect({ apps: [{ client: inngest, functions: [welcome] }], maxWorkerConcurrency: 10 })
console.log('connected; try: npx fanfare send shop/user.joined --data \'{"email":"ada@example.com"}\'')

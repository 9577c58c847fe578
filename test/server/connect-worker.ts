import { Inngest } from "inngest"
import { connect } from "inngest/connect"
import { quiet } from "./sdk-apps.ts"

/** An app with one function, which says when it is in the middle of its work. */
export function workApp(baseUrl: string, name: string, during: () => void) {
  const client = new Inngest({ id: "demo", isDev: true, baseUrl, logger: quiet })
  const work = client.createFunction({ id: "work", triggers: [{ event: "t/work" }], retries: 0 }, async ({ step, event, attempt }) => {
    const before = await step.run("before", () => name)
    const after = await step.run("after", async () => {
      during()
      await new Promise((resolve) => setTimeout(resolve, name === "one" ? Number(event.data["ms"]) : 300))
      return name
    })
    return [before, after, attempt]
  })
  return { client, functions: [work] }
}

// A process of its own, which a test can kill.
if (process.send !== undefined && process.argv[1] === import.meta.filename) {
  await connect({ apps: [workApp(process.argv[2] ?? "", "one", () => process.send?.("during"))], handleShutdownSignals: [] })
  process.send("connected")
}

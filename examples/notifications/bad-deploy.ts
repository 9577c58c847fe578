import { execFile, fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { promisify } from "node:util"
import { Fanfare, NonRetriableError, RetryAfterError } from "fanfare"
import { createServer, type FanfareServer } from "fanfare/server"
import { sqlite } from "fanfare/sqlite"

// The same 10,000 notifications, sent by a version whose code fails for a third of them, after it has posted. The canary stops it; the fixed version
// is deployed; one command runs what failed again, without posting twice, and lets the others go. Ends with exit code 0 only if so.
const expected = 10_000
const first = 50

const receiver = fork(new URL("./receiver.ts", import.meta.url), {
  env: { ...process.env, PORT: "0" },
  stdio: ["ignore", "inherit", "inherit", "ipc"],
})
const [port] = (await once(receiver, "message")) as [number]
const chatUrl = `http://127.0.0.1:${port}`
const folder = mkdtempSync(join(tmpdir(), "fanfare-bad-deploy-"))

interface Notification {
  readonly id: string
  readonly channel: string
}

function createApp(version: "bad" | "fixed"): Fanfare {
  const app = new Fanfare({ id: "notifications" })
  app.createFunction(
    { id: "send-slack-notification", triggers: [{ event: "app/notification.dispatched" }], retries: 4, concurrency: { limit: 50 } },
    async ({ event, step }) => {
      const notification = event.data["notification"] as Notification
      // Kept: whatever happens after it, it is not posted twice.
      await step.run("post", () => post(notification))
      await step.run("record", () => {
        if (version === "bad" && Number(notification.id.replaceAll(/\D/g, "")) % 3 === 0) {
          throw new NonRetriableError(`no handler for the channel "${notification.channel}"`)
        }
      })
    },
  )
  return app
}

async function post(notification: Notification): Promise<void> {
  const response = await fetch(`${chatUrl}/messages`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(notification),
  })
  await response.arrayBuffer()
  if (response.status === 429)
    throw new RetryAfterError("the chat API asks us to slow down", Number(response.headers.get("retry-after")) * 1_000)
  if (!response.ok) throw new Error(`the chat API answered ${response.status}`)
}

async function deploy(app: Fanfare): Promise<FanfareServer> {
  const server = await createServer({ client: app, db: sqlite(join(folder, "demo.db")), http: { port: 0 }, logs: "none" })
  await server.start()
  return server
}

const cli = new URL("../../dist/cli/main.js", import.meta.url).pathname
async function command(server: FanfareServer, ...args: string[]): Promise<void> {
  console.log(`\n$ fanfare ${args.join(" ")}`)
  const { stdout } = await promisify(execFile)(process.execPath, [cli, ...args], { env: { ...process.env, FANFARE_URL: server.url ?? "" } })
  console.log(stdout.trimEnd().replaceAll(/^/gm, "  "))
}

const stats = async (): Promise<{ received: number; duplicates: number }> =>
  (await (await fetch(chatUrl)).json()) as { received: number; duplicates: number }

const lines = readFileSync(new URL("./notifications.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
const events = lines.map((line) => ({ name: "app/notification.dispatched", data: { notification: JSON.parse(line) as Notification } }))

console.log(
  `sending ${events.length.toLocaleString("en-US")} notifications with a version that fails for a third of them, { canary: ${first} } …`,
)
const bad = createApp("bad")
let server = await deploy(bad)
const { fanoutId } = await bad.send(events, { canary: first, breaker: { failures: "5%" } })
const id = fanoutId ?? ""
let stopped = await bad.fanouts.get(id)
for (let i = 0; i < 600 && (stopped.state !== "paused" || stopped.completed + stopped.failed < first); i++) {
  await delay(50)
  stopped = await bad.fanouts.get(id)
}
await command(server, "fanouts", "show", id)
const { received: atStop } = await stats()
console.log(`\n${atStop} of ${expected.toLocaleString("en-US")} posted; the others wait. Deploying the fixed version …`)
await server.stop()

const fixed = createApp("fixed")
server = await deploy(fixed)
await command(server, "fanouts", "retry", id)
const end = await fixed.fanouts.wait(id, 300_000)
await command(server, "fanouts", "show", id)
const { received, duplicates } = await stats()
await server.stop()
receiver.disconnect()
rmSync(folder, { recursive: true })

const held = stopped.state === "paused" && stopped.failed > 0 && atStop <= first
const repaired = end.completed === expected && end.failed === 0 && received === expected && duplicates === 0
console.log(`
  stopped after  ${stopped.completed + stopped.failed} runs, ${stopped.failed} of them failed
  sent           ${end.completed.toLocaleString("en-US")} of ${expected.toLocaleString("en-US")}
  duplicates     ${duplicates}  (seen by the receiver)
`)
console.log(held && repaired ? "✓ the canary stopped it, and one command repaired it" : "✗ it was not stopped, or not repaired")
process.exitCode = held && repaired ? 0 : 1

import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { createServer } from "fanfare/server"
import { sqlite } from "fanfare/sqlite"

// Starts a chat API in a process of its own and an engine in this one, fires the cron function, and follows its fan-out of 10,000
// notifications to the end. Ends with exit code 0 only if the receiver got every one of them.
// With --bad-deploy: see bad-deploy.ts.
if (process.argv.includes("--bad-deploy")) {
  await import("./bad-deploy.ts")
  process.exit()
}

const expected = 10_000

interface Fanout {
  readonly total: number
  readonly completed: number
  readonly failed: number
  readonly createdAt: number
  readonly lastEndAt: number | null
}

const receiver = fork(new URL("./receiver.ts", import.meta.url), {
  env: { ...process.env, PORT: "0" },
  stdio: ["ignore", "inherit", "inherit", "ipc"],
})
const [port] = (await once(receiver, "message")) as [number]
process.env["CHAT_URL"] = `http://127.0.0.1:${port}`
const { fanfare } = await import("./app.ts")

const folder = mkdtempSync(join(tmpdir(), "fanfare-demo-"))
const server = await createServer({ client: fanfare, db: sqlite(join(folder, "demo.db")), http: { port: 0 }, logs: "none" })
await server.start()

const get = async <T>(path: string): Promise<T> => (await (await fetch(`${server.url}/api/v1/${path}`)).json()) as T
console.log(`chat API on port ${port}: 2 % errors, slow answers, "slow down" above 3,000 messages a second`)
console.log("firing slack-notification-cron …")
await fetch(`${server.url}/api/v1/functions/slack-notification-cron/trigger`, {
  method: "POST",
  headers: { "content-type": "application/json" },
})

let shown = -1
let fanout: Fanout | undefined
for (;;) {
  await delay(100)
  fanout = (await get<{ items: Fanout[] }>("fanouts")).items[0]
  if (fanout === undefined) continue
  const ended = fanout.completed + fanout.failed
  const percent = Math.floor((ended / fanout.total) * 100)
  const bar = "█".repeat(Math.floor(percent / 4)).padEnd(25, "░")
  const line = `${bar} ${String(percent).padStart(3)} %  ${ended.toLocaleString("en-US")} of ${fanout.total.toLocaleString("en-US")} notifications`
  if (process.stdout.isTTY) process.stdout.write(`\r${line}`)
  else if (Math.floor(percent / 10) > shown) console.log(line)
  shown = Math.floor(percent / 10)
  if (ended === fanout.total) break
}
if (process.stdout.isTTY) process.stdout.write("\n")

const { retried } = await get<{ retried: number }>("status")
const stats = (await (await fetch(process.env["CHAT_URL"])).json()) as {
  received: number
  duplicates: number
  errors: number
  refused: number
}
const seconds = ((fanout.lastEndAt ?? 0) - fanout.createdAt) / 1_000
console.log(`
  sent        ${fanout.completed.toLocaleString("en-US")} of ${expected.toLocaleString("en-US")}
  retried     ${retried.toLocaleString("en-US")}  (${stats.errors} errors and ${stats.refused} requests to slow down)
  failed      ${fanout.failed}
  duplicates  ${stats.duplicates}  (seen by the receiver)
  took        ${seconds.toFixed(1)} s, ${Math.round(fanout.total / seconds).toLocaleString("en-US")} runs/s with 50 at a time
`)
await server.stop()
receiver.disconnect()
rmSync(folder, { recursive: true })
const complete = stats.received === expected && fanout.completed === expected
console.log(complete ? "✓ the receiver got every notification" : `✗ the receiver got ${stats.received} of ${expected}`)
process.exitCode = complete ? 0 : 1

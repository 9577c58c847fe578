import { createReadStream } from "node:fs"
import { createInterface } from "node:readline"
import { Fanfare, RetryAfterError } from "fanfare"

interface Notification {
  readonly id: string
  readonly channel: string
  readonly text: string
}

const chatUrl = process.env["CHAT_URL"] ?? "http://127.0.0.1:8399"

export const fanfare = new Fanfare({ id: "notifications" })

/** Twice on Mondays and Fridays: one run for each notification that is due. */
export const digest = fanfare.createFunction({ id: "slack-notification-cron", triggers: [{ cron: "0 9,12 * * MON,FRI" }] }, async () => {
  const due = await getNotificationsToRun()
  await fanfare.send(due.map((notification) => ({ name: "app/notification.dispatched", data: { notification } })))
  return `${due.length} notifications dispatched`
})

/** Posts one notification, with retries, logs and a share of concurrency of its own. */
export const post = fanfare.createFunction(
  { id: "send-slack-notification", triggers: [{ event: "app/notification.dispatched" }], retries: 4, concurrency: { limit: 50 } },
  async ({ event, logger, attempt, signal }) => {
    const notification = event.data["notification"] as Notification
    const response = await fetch(`${chatUrl}/messages`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(notification),
      signal,
    })
    await response.arrayBuffer()
    if (response.status === 429)
      throw new RetryAfterError("the chat API asks us to slow down", Number(response.headers.get("retry-after")) * 1_000)
    if (!response.ok) throw new Error(`the chat API answered ${response.status}`)
    if (attempt > 0) logger.info("posted after a retry", { channel: notification.channel, attempt })
  },
)

async function getNotificationsToRun(): Promise<Notification[]> {
  const file = createReadStream(new URL("./notifications.jsonl", import.meta.url))
  const due: Notification[] = []
  for await (const line of createInterface({ input: file })) due.push(JSON.parse(line) as Notification)
  return due
}

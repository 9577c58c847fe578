import { Fanfare } from "fanfare"

export const fanfare = new Fanfare({ id: "shop" })

/** One trigger: every subscriber gets a letter, each in a run of its own. */
export const newsletter = fanfare.createFunction({ id: "newsletter", triggers: [{ cron: "0 9 * * MON" }] }, async ({ step }) => {
  const subscribers = await step.run("subscribers", () => ["ada@example.com", "grace@example.com"])
  await step.sendEvent(
    "letters",
    subscribers.map((to) => ({ name: "shop/letter.due", data: { to } })),
  )
})

export const letter = fanfare.createFunction(
  { id: "letter", triggers: [{ event: "shop/letter.due" }], retries: 4 },
  async ({ event, step }) => step.run("send", () => `sent to ${String(event.data["to"])}`),
)

import { encryption, Fanfare, referenceFunction, saga } from "fanfare"

// npx fanfare dev examples/steps/app.ts
// npx fanfare send shop/order.placed --data '{"order":"A1","total":120}'
// npx fanfare send shop/order.paid --data '{"order":"A1"}'
export const shop = new Fanfare({
  id: "shop",
  // Data at rest is encrypted when there is a key; what waits and rules look at stays readable.
  middleware: process.env["SHOP_KEY"] === undefined ? [] : [encryption({ key: process.env["SHOP_KEY"], plain: ["order", "total"] })],
})

/** step.run, step.sleep, step.sendEvent: done once each, whatever happens in between. */
export const welcome = shop.createFunction({ id: "welcome", triggers: [{ event: "shop/user.joined" }] }, async ({ event, step }) => {
  const text = await step.run({ id: "render", timeout: "10s" }, () => `Welcome, ${String(event.data["name"])}`)
  await step.sleep("a day", "1d")
  await step.sendEvent("ask", { name: "shop/survey.due", data: { user: event.data["name"] } })
  return text
})

/** step.waitForEvent, cancelOn, timeouts, onFailure. */
export const order = shop.createFunction(
  {
    id: "order",
    triggers: [{ event: "shop/order.placed" }],
    cancelOn: [{ event: "shop/order.withdrawn", match: "data.order" }],
    timeouts: { finish: "7d" },
    onFailure: ({ error, event, logger }) =>
      logger.error("an order failed", { error: error.message, order: event.data.event.data["order"] }),
  },
  async ({ event, step }) => {
    const paid = await step.waitForEvent("payment", { event: "shop/order.paid", match: "data.order", timeout: "3d" })
    if (paid === null) return "never paid"
    const large = await step.run("check", () => Number(event.data["total"]) > 100)
    return large ? step.invoke("approval", { function: approval, data: { order: String(event.data["order"]) }, timeout: "2d" }) : "sent"
  },
)

/** step.waitForSignal: `curl -X POST localhost:8288/api/v1/signals -H 'content-type: application/json' -d '{"signal":"approve A1"}'` */
export const approval = shop.createFunction({ id: "approval", triggers: [{ event: "shop/approval.asked" }] }, async ({ event, step }) => {
  const answer = await step.waitForSignal<{ by: string }>("answer", { signal: `approve ${String(event.data["order"])}`, timeout: "1d" })
  return answer === null ? "nobody answered" : "approved"
})

/** step.fetch, a race, and a function of another app. */
const convert = referenceFunction<{ amount: number }, number>({ appId: "bank", functionId: "convert" })
export const price = shop.createFunction({ id: "price", triggers: [{ event: "shop/price.asked" }] }, async ({ step }) => {
  const { status, body } = await step.fetch("catalogue", "https://example.com/price.json", { timeout: "30s" })
  if (status !== 200) return null
  return Promise.race([
    step.invoke("convert", { function: convert, data: { amount: body.length } }),
    step.sleep("patience", "1h").then(() => null),
  ])
})

/** saga: undone in reverse when it fails, or when its run is cancelled. */
export const trip = shop.createFunction(
  { id: "trip", triggers: [{ event: "shop/trip.booked" }], onCancel: "compensate" },
  ({ step, logger }) =>
    saga(step, async (saga) => {
      const flight = await saga.run(
        "flight",
        () => "F-17",
        (id) => logger.info("flight given back", { id }),
      )
      await step.sleep("hold", "1h")
      const hotel = await saga.run(
        "hotel",
        () => "H-4",
        (id) => logger.info("hotel given back", { id }),
      )
      return { flight, hotel }
    }),
)

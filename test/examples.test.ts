import { afterEach, describe, expect, it } from "vitest"
import { createHarness, type Harness } from "fanfare/testing"
import { crm } from "../examples/flow-control/app.ts"
import { shop } from "../examples/steps/app.ts"

let harness: Harness
afterEach(() => harness.close())

const runs = (functionId: string) => harness.runs({ functionId, limit: 100 })
const states = async (functionId: string): Promise<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(Object.groupBy(await runs(functionId), ({ state }) => state)).map(([state, all]) => [state, all?.length ?? 0]),
  )
const output = async (functionId: string): Promise<unknown> =>
  JSON.parse((await harness.run((await runs(functionId))[0]?.id ?? "")).output ?? "null")

describe("the examples of flow control", () => {
  const start = async (name: string, data: readonly object[]): Promise<void> => {
    harness = await createHarness({ client: crm })
    await crm.send(data.map((each) => ({ name, data: { ...each } })))
    await harness.settle()
  }

  it("do what they say of each option when contacts change", async () => {
    const changes = [1, 1, 1, 2, 3].map((contact) => ({ tenant: "acme", contact, rows: contact === 3 ? 50 : 1 }))
    await start("crm/contact.changed", changes)
    expect(await states("crm-sync")).toEqual({ completed: 5 })
    expect(await states("crm-summarise")).toEqual({ completed: 5 })
    expect(await states("crm-index")).toEqual({ scheduled: 3, skipped: 2 })
    expect(await states("crm-insert")).toEqual({ completed: 1, scheduled: 1 })
    await harness.advance("5s")
    expect(await states("crm-insert")).toEqual({ completed: 2 })
    expect(await output("crm-insert")).toBe(1)
    await harness.advance("5s")
    expect(await states("crm-index")).toEqual({ completed: 3, skipped: 2 })
  })

  it("keep whole runs apart, space starts, skip what is too much or known", async () => {
    await start("crm/tenant.created", [{ tenant: "acme" }, { tenant: "acme" }, { tenant: "other" }])
    await harness.advance("1h")
    expect((await runs("crm-onboard")).map(({ reason }) => reason?.startsWith("the limit fn:crm-onboard:acme is full") ?? false)).toContain(
      true,
    )
    await harness.advance("3d")
    expect(await states("crm-onboard")).toEqual({ completed: 3 })
    await crm.send(Array.from({ length: 8 }, () => ({ name: "crm/mail.due", data: { plan: "free" } })))
    await harness.settle()
    expect(await states("crm-mail")).toEqual({ completed: 6, waiting: 2 })
    await crm.send(Array.from({ length: 11 }, () => ({ name: "crm/report.wanted", data: { tenant: "acme" } })))
    await crm.send([1, 2].map(() => ({ name: "crm/order.placed", data: { order: "A1" } })))
    await crm.send([1, 2].map(() => ({ name: "crm/branch.pushed", data: { branch: "main" } })))
    await crm.send([1, 2].map(() => ({ name: "crm/import.wanted" })))
    await harness.settle()
    expect(await states("crm-report")).toEqual({ completed: 10, skipped: 1 })
    for (const id of ["crm-charge", "crm-deploy", "crm-import-all"]) expect(await states(id), id).toEqual({ completed: 1, skipped: 1 })
  })
})

describe("the examples of steps", () => {
  it("wait for events, signals and other functions, and end when they are told to", async () => {
    harness = await createHarness({ client: shop })
    await shop.send({ name: "shop/order.placed", data: { order: "A1", total: 120 } })
    await harness.settle()
    await shop.send({ name: "shop/order.paid", data: { order: "A1" } })
    await harness.settle()
    expect(await shop.sendSignal("approve A1", { by: "Ada" })).toMatchObject({ delivered: true })
    await harness.settle()
    expect(await output("shop-order")).toBe("approved")
    await shop.send({ name: "shop/order.placed", data: { order: "B2", total: 5 } })
    await harness.settle()
    await shop.send({ name: "shop/order.withdrawn", data: { order: "B2" } })
    await harness.settle()
    expect(await states("shop-order")).toEqual({ completed: 1, cancelled: 1 })
    await shop.send({ name: "shop/order.placed", data: { order: "C3", total: 5 } })
    await harness.advance("4d")
    expect(await output("shop-order")).toBe("never paid")
    await shop.send({ name: "shop/user.joined", data: { name: "Ada" } })
    await harness.advance("1d")
    expect(await output("shop-welcome")).toBe("Welcome, Ada")
  })

  it("undo what a cancelled run has done", async () => {
    harness = await createHarness({ client: shop })
    await shop.send({ name: "shop/trip.booked" })
    await harness.settle()
    const [trip] = await runs("shop-trip")
    await shop.runs.cancel(trip?.id ?? "")
    await harness.advance("1m")
    const logs = await Promise.all((await harness.runs({ limit: 100 })).map(async ({ id }) => (await harness.run(id)).logs))
    expect(logs.flat().map(({ message }) => message)).toContain("flight given back")
  })
})

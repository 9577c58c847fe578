import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Demo, settled, startDemo } from "./demo.ts"
import { looking } from "./looking.ts"

const at = looking()
const keys = {
  signingKeys: ["00112233445566778899aabbccddeeff"],
  eventKeys: ["event-key-0123456789"],
  adminKeys: ["admin-key-0123456789-0123456789ab"],
  readKeys: ["read-key-0123456789-0123456789abc"],
} as const
const [admin, read] = [keys.adminKeys[0], keys.readKeys[0]]

describe("a dashboard that asks who one is", () => {
  let demo: Demo
  let fanoutId: string
  beforeAll(async () => {
    demo = await startDemo(keys)
    fanoutId = await demo.digests(400)
    await settled(demo, fanoutId)
  }, 60_000)
  afterAll(() => demo.close())

  const logIn = async (key: string, path: string): Promise<void> => {
    await at.page.goto(demo.url + path)
    await at.page.getByLabel("Key of this server").fill(key)
    await at.page.getByRole("button", { name: "Log in" }).click()
  }

  it("asks for a key first, and then shows the page that was wanted", async () => {
    await logIn("no key of this server at all, no", `/fan-outs/${fanoutId}`)
    await at.see("This is no key of this server.")
    await at.page.getByLabel("Key of this server").fill(admin)
    await at.page.getByRole("button", { name: "Log in" }).click()
    await at.page.waitForURL(new RegExp(`/fan-outs/${fanoutId}`))
    await at.page.getByRole("button", { name: /^Retry \d+ failed$/ }).waitFor()
  })

  it("shows whoever may only look everything but payloads and what changes something", { timeout: 60_000 }, async () => {
    await logIn(read, `/fan-outs/${fanoutId}`)
    await at.see("100 % · 400 of 400")
    await at.see("MailError")
    expect(await at.page.getByRole("button", { name: /Retry/ }).count()).toBe(0)
    const failed = (await demo.get<{ items: { id: string }[] }>("runs?state=failed&limit=1")).items[0]?.id ?? ""
    for (const path of [
      "/",
      "/runs?state=failed",
      `/runs/${failed}`,
      "/functions/shop-send-digest",
      "/schedules",
      "/failures",
      "/events",
      "/nodes",
    ]) {
      await at.page.goto(demo.url + path)
      await at.page.locator("h1").waitFor()
      await at.page.locator(".loading").first().waitFor({ state: "detached" })
      expect(await at.page.getByRole("button", { name: /^(Retry|Run|Pause|Cancel|Change|Send|Resume)/ }).count(), path).toBe(0)
    }
    await at.page.goto(`${demo.url}/runs/${failed}`)
    await at.see("MailError: upstream answered 503 for")
    await at.see("Not for those who may only look.")
    expect(await at.page.getByText('"user"').count()).toBe(0)
    await at.page.goto(`${demo.url}/settings`)
    await at.see("Your key may look and change nothing, and sees no payloads.")
    expect(await at.page.getByRole("region", { name: "Keys" }).count()).toBe(0)
    expect(await at.violations()).toEqual([])
  })

  it("keeps the place when a login ends, and goes on after the next one", { timeout: 60_000 }, async () => {
    await logIn(admin, "/runs?state=failed")
    await at.page.locator(".run-rows .run-row").first().waitFor()
    await at.page.context().clearCookies()
    await demo.digests(2)
    await at.see("Your login has ended.")
    expect(await at.violations()).toEqual([])
    await at.page.getByLabel("Key of this server").fill("wrong")
    await at.page.getByRole("button", { name: "Log in" }).click()
    await at.see("this is no key of this server")
    expect(await at.page.locator(".run-rows .run-row").count()).toBeGreaterThan(1)
    await at.page.getByLabel("Key of this server").fill(admin)
    await at.page.getByRole("button", { name: "Log in" }).click()
    await at.page.getByRole("dialog").waitFor({ state: "detached" })
    expect(at.page.url()).toMatch(/\/runs\?state=failed$/)
    await at.page.goto(`${demo.url}/settings`)
    await at.see("this one signs")
    expect(await at.page.getByRole("region", { name: "Keys" }).locator("tbody tr").count()).toBe(4)
    for (const key of Object.values(keys).flat()) expect(await at.page.content()).not.toContain(key.slice(0, 12))
    expect(await at.violations()).toEqual([])
    await at.page.getByRole("button", { name: "Log out" }).click()
    await at.see("Your login has ended.")
  })

  it("has one stream for all pages of a browser, and asks only when something changes", { timeout: 60_000 }, async () => {
    const asked: string[] = []
    const streams = { open: 0, most: 0 }
    const context = at.page.context()
    context.on("request", (request) => {
      const path = new URL(request.url()).pathname
      if (!path.startsWith("/api/v1/")) return
      if (path !== "/api/v1/stream") asked.push(path)
      else streams.most = Math.max(streams.most, ++streams.open)
    })
    const gone = (request: { url(): string }): number => (request.url().endsWith("/api/v1/stream") ? --streams.open : 0)
    context.on("requestfinished", gone)
    context.on("requestfailed", gone)
    await logIn(admin, `/fan-outs/${fanoutId}`)
    const second = await context.newPage()
    await second.goto(`${demo.url}/fan-outs`)
    await second.getByText("shop/digest.due").first().waitFor()
    await at.page.waitForTimeout(6_000)
    asked.length = 0
    await at.page.waitForTimeout(3_000)
    // Without a stream two pages would have asked a dozen times.
    expect(asked.length).toBeLessThan(6)
    expect(streams).toEqual({ open: 1, most: 1 })
    const id = await demo.digests(120)
    await second.locator(`a[title="${id}"]`).waitFor({ timeout: 4_000 })
    await second.getByText("120 / 120").first().waitFor({ timeout: 4_000 })
    // The one that holds the stream goes: the other one takes it over.
    await at.page.close()
    const next = await demo.digests(130)
    await second.locator(`a[title="${next}"]`).waitFor({ timeout: 6_000 })
  })
})

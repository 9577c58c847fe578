import { readFileSync } from "node:fs"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { FailureTimes } from "../../src/protocol/views.ts"
import { type Demo, fill, hostile, settled, startDemo } from "./demo.ts"
import { looking } from "./looking.ts"

const at = looking()

describe("the dashboard repairs", () => {
  let demo: Demo
  beforeAll(async () => {
    demo = await startDemo()
    await fill(demo, 200)
  }, 60_000)
  afterAll(() => demo.close())
  const newest = async (query: string): Promise<string> =>
    (await demo.get<{ items: { id: string }[] }>(`${query}&limit=1`)).items[0]?.id ?? ""

  it("shows a fan-out to its end, and repairs it", { timeout: 60_000 }, async () => {
    demo.failing = true
    const id = await demo.digests(2_000)
    await at.page.goto(`${demo.url}/fan-outs/${id}`)
    await at.see("100 % · 2,000 of 2,000")
    await at.see("60 failed")
    await at.see("MailError")
    await at.page.getByRole("img", { name: "When they failed, from the first start to the last end" }).first().waitFor()
    const { causes } = await demo.get<FailureTimes>(`fanouts/${id}/failures/times`)
    expect(causes.flatMap(({ counts }) => counts).reduce((sum, n) => sum + n)).toBe(60)
    // The eighth digest fails: its cell opens its run.
    await at.page.locator(".cell-map").focus()
    await at.page.keyboard.press("Home")
    for (let i = 0; i < 7; i++) await at.page.keyboard.press("ArrowRight")
    await at.see("Run 8 of 2,000: failed")
    await at.page.keyboard.press("Enter")
    await at.page.waitForURL(/\/runs\/run_/)
    await at.see("MailError: upstream answered 503 for 7")
    await at.page.goBack()

    demo.failing = false
    await at.page.getByRole("button", { name: "Retry", exact: true }).last().click()
    await at.page.getByRole("dialog").getByRole("button", { name: "Retry 10" }).click()
    await at.see("50 failed")
    await at.page.getByRole("button", { name: "Retry 50 failed" }).click()
    await at.page.getByRole("dialog").getByRole("button", { name: "Retry 50" }).click()
    await at.see("50 runs set going again.")
    await settled(demo, id)
    await at.see("0 failed")
    await at.see("None has failed.")
  })

  it("cancels the rest of a fan-out after it was told how many that are", { timeout: 60_000 }, async () => {
    const { fanoutId: id } = await demo.client.send(Array.from({ length: 30 }, (_, i) => ({ name: "shop/cart.left", data: { cart: i } })))
    await at.page.goto(`${demo.url}/fan-outs/${id}`)
    await at.see("sleeping")
    await at.page.getByRole("button", { name: "Pause", exact: true }).click()
    await at.see("Paused:")
    await at.page.getByRole("button", { name: "Resume", exact: true }).click()
    await at.see("It goes on; what has failed stays failed.")
    await at.page.keyboard.press("c")
    await at.page.getByRole("dialog").getByText("Cancel the rest, about 30 runs?").waitFor()
    await at.page.getByRole("button", { name: "Cancel 30" }).click()
    await at.see("30 runs cancelled.")
    await at.see("30 cancelled")
  })

  it("pauses a schedule with a note, lets it go on, runs it now, and backfills it", { timeout: 60_000 }, async () => {
    await at.page.goto(`${demo.url}/schedules`)
    await at.page.getByRole("button", { name: "Pause shop-nightly-digest" }).click()
    await at.page.getByLabel("Why, for whoever finds it paused").fill("mail is down")
    await at.page.getByRole("button", { name: "Pause", exact: true }).click()
    await at.see("shop-nightly-digest is paused.")
    await at.see("mail is down")
    await at.page.getByRole("link", { name: "shop-nightly-digest" }).click()
    await at.see("Next moments")
    await at.page.getByRole("button", { name: "Resume shop-nightly-digest" }).click()
    await at.see("shop-nightly-digest goes on.")
    await at.page.getByRole("button", { name: "Run now: shop-nightly-digest" }).click()
    await at.see("Started 1 run.")
    await at.page.getByRole("button", { name: "Backfill …" }).click()
    await at.page.getByLabel("From (UTC)").fill(new Date(Date.now() - 7 * 86_400_000).toISOString().slice(0, 16))
    await at.page.getByRole("button", { name: "Count the moments" }).click()
    await at.see(/[3-5] moments would start/)
    await at.page.getByRole("button", { name: /^Start [3-5] moments$/ }).click()
    await at.see(/[3-5] moments started/)
    await at.page.locator("td").getByText("backfilled").first().waitFor()
    expect(await at.page.locator("td .tick-backfilled").count()).toBeGreaterThanOrEqual(3)
    expect(await at.violations()).toEqual([])
    await at.page.locator("td .link-id").first().click()
    await at.page.waitForURL(/\/runs\/run_/)
  })

  it("tells a cron line in words, and times on the clocks that one chose", { timeout: 60_000 }, async () => {
    await demo.client.schedules.upsert({ id: "weekly", cron: "30 7 * * 1", timezone: "America/New_York", event: "shop/import.report" })
    await demo.client.schedules.upsert({ id: "daily", every: "3h", event: "shop/import.report" })
    await at.page.goto(demo.url)
    await at.page.getByRole("region", { name: "Next ticks" }).getByText("shop-daily").waitFor()
    const path = `${demo.url}/schedules/shop-weekly`
    const [moment] = (await demo.get<{ items: { at: number }[] }>("schedules/shop-weekly/next?n=1")).items
    const told = (timeZone: string): string =>
      new Intl.DateTimeFormat("en-US", { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone }).format(moment?.at)
    await at.page.goto(`${demo.url}/schedules`)
    await at.page.locator("td.wide-only .cron-words").getByText("At 07:30, only on Monday").waitFor()
    await at.page.getByRole("img", { name: /^Moments by the quarter of an hour; the most, \d+, from/ }).waitFor()
    await at.page.goto(path)
    const next = at.page.locator(".moment time").first()
    await expect.poll(() => next.innerText()).toContain(`${told("Europe/Paris")}:00`)
    for (const [label, zone] of [
      ["UTC", "UTC"],
      ["a schedule's own", "America/New_York"],
    ] as const) {
      await at.page.goto(`${demo.url}/settings`)
      await at.page.getByLabel(label).check()
      await at.page.getByLabel("when it was").check()
      expect(await at.violations()).toEqual([])
      await at.page.goto(path)
      await expect.poll(() => next.innerText()).toContain(`${told(zone)}:00`)
    }
    await at.page.goto(`${demo.url}/events`)
    await expect.poll(() => at.page.locator("td time").first().innerText()).toMatch(/\d\d:\d\d$/)
  })

  it("goes from a run to its neighbours of the fan-out, to what led to it and to what it started", { timeout: 60_000 }, async () => {
    const { id: fanoutId } =
      (await demo.get<{ items: { id: string; failed: number }[] }>("fanouts")).items.find(({ failed }) => failed > 1) ?? {}
    const failed = await newest(`runs?state=failed&fanout=${fanoutId}`)
    await at.page.goto(`${demo.url}/runs/${failed}`)
    await at.page.getByLabel("Previous failed run of the fan-out").waitFor()
    await at.page.keyboard.press("[")
    await at.page.waitForURL((url) => !url.href.endsWith(failed))
    await at.page.locator(".head .state-failed").waitFor()
    await at.page.keyboard.press("]")
    await at.page.waitForURL(new RegExp(failed))
    await at.see(/in line .* executed/)
    // An import announces itself with its second attempt.
    await expect.poll(() => newest("runs?function=announce")).toMatch(/^run_/)
    await at.page.goto(`${demo.url}/runs/${await newest("runs?function=announce")}`)
    const before = at.page.getByRole("region", { name: "What led to it" })
    await before.getByRole("link", { name: "shop-import-catalog" }).waitFor()
    expect(await at.violations()).toEqual([])
    await before.locator(".mono").click()
    await at.page.getByRole("region", { name: "Runs it started" }).getByText("shop-announce").waitFor()
  })

  it("retries a run where it stopped, searches and follows its logs, and gives out all of a large payload", {
    timeout: 60_000,
  }, async () => {
    demo.failing = true
    await settled(demo, await demo.digests(8))
    await at.page.goto(`${demo.url}/runs/${await newest("runs?state=failed&function=send-digest")}`)
    await at.page.getByLabel("Search the logs").fill("nothing of this")
    await at.see("0 of 1 lines.")
    await at.page.getByLabel("Search the logs").fill("sending")
    await at.page.getByLabel("Follow").check()
    expect(await at.page.locator(".logs li").count()).toBe(1)
    demo.failing = false
    await at.page.getByRole("button", { name: "Retry", exact: true }).click()
    await at.page.locator(".head .state-completed").waitFor()
    const text = "x".repeat(200_000)
    await demo.client.send({ name: "shop/cart.left", data: { exact: 9_007_199_254_740_991, text } })
    await at.page.goto(`${demo.url}/runs/${await newest("runs?function=remind")}`)
    const [download] = await Promise.all([
      at.page.waitForEvent("download"),
      at.page.getByRole("button", { name: "Download all of it" }).click(),
    ])
    expect(JSON.parse(readFileSync(await download.path(), "utf8"))).toEqual({ exact: 9_007_199_254_740_991, text })
  })

  it("runs a run again with other data, and cancels one that waits", { timeout: 60_000 }, async () => {
    await at.page.goto(`${demo.url}/runs/${await newest("runs?function=import-catalog")}`)
    await at.page.getByRole("button", { name: "Run again …" }).click()
    await at.page.getByLabel("With other data").check()
    await at.page.getByLabel("Data of the event, a JSON object").fill('{"source":"by hand"}')
    await at.page.getByRole("dialog").getByRole("button", { name: "Run again" }).click()
    await at.see("Started a new run.")
    await at.see('"by hand"')
    await demo.client.send({ name: "shop/cart.left", data: { cart: "c_2" } })
    // Who asks is known last: a run must not be shown before what can be done to it works.
    await at.page.route("**/api/v1/session", async (route) => {
      await at.page.waitForResponse(/\/runs\/run_/)
      await route.continue()
    })
    await at.page.goto(`${demo.url}/runs/${await newest("runs?function=remind")}`)
    await at.see("Why it waits:")
    await at.page.keyboard.press("c")
    await at.page.getByRole("dialog").getByRole("button", { name: "Cancel it" }).click()
    await at.page.locator(".head .state-cancelled").waitFor()
  })

  it("does something to all runs of a filter after it has said how many they are", { timeout: 60_000 }, async () => {
    for (let i = 0; i < 12; i++) await demo.client.send({ name: "shop/cart.left", data: { cart: i } })
    await at.page.goto(`${demo.url}/runs?state=waiting&function=shop-remind`)
    await at.page.getByRole("button", { name: "Cancel all …" }).click()
    await at.page
      .getByRole("dialog")
      .getByRole("button", { name: /^Cancel 1[2-9]$/ })
      .click()
    await at.see(/1[2-9] runs cancelled\./)
    await at.see("No run of shop-remind is waiting.")
  })

  it("changes a limit while runs wait for it, and pauses its function", { timeout: 60_000 }, async () => {
    await demo.client.send(
      Array.from({ length: 12 }, (_, i) => ({ name: "shop/team.notice", data: { team: i % 2 === 0 ? "acme" : hostile } })),
    )
    await at.page.goto(`${demo.url}/functions/shop-post-to-team`)
    const acme = at.page.getByRole("row").filter({ hasText: "acme" })
    await acme.getByText("2 / 2").waitFor()
    await acme.getByRole("button", { name: /^Change/ }).click()
    await at.page.getByLabel(/^At most/).fill("3")
    expect(await at.violations()).toEqual([])
    await at.page.getByRole("button", { name: "Set", exact: true }).click()
    await acme.getByText("by hand, 2 in code").waitFor()
    await acme.getByText("3 / 3").waitFor()
    await acme.getByRole("button", { name: /^Change/ }).click()
    await at.page.getByRole("button", { name: "Reset to 2" }).click()
    await acme.getByText("by hand, 2 in code").waitFor({ state: "detached" })
    await at.page.getByRole("button", { name: "Pause …" }).click()
    await at.page.getByLabel("are recorded as skipped").check()
    await at.page.getByRole("button", { name: "Pause", exact: true }).click()
    await at.see("new runs are skipped until it is resumed")
    await demo.client.send({ name: "shop/team.notice", data: { team: "acme" } })
    await at.page.locator("td .state-skipped").first().waitFor()
    await at.page.getByRole("button", { name: "Resume" }).click()
    await at.see("shop-post-to-team goes on.")
    await at.page.goto(`${demo.url}/nodes`)
    await at.page.getByRole("row").filter({ hasText: "account:slack" }).waitFor()
    expect(await at.violations()).toEqual([])
  })

  it("retries one cause across functions, and says what was done", { timeout: 60_000 }, async () => {
    demo.failing = true
    await settled(demo, await demo.digests(400))
    demo.failing = false
    await at.page.goto(`${demo.url}/failures`)
    await at.page.getByRole("button", { name: "Retry TypeError of shop-send-digest" }).click()
    const dialog = at.page.getByRole("dialog")
    await dialog.getByText(/^\d+ failed runs$/).waitFor()
    expect(await at.violations()).toEqual([])
    await dialog.getByRole("button", { name: /^Retry \d+$/ }).click()
    await at.see(/\d+ runs set going again\./)
    await at.page.getByText("TypeError").waitFor({ state: "detached" })
    await at.page.getByRole("link", { name: "Operations" }).click()
    await at.page.getByRole("row").filter({ hasText: "TypeError" }).getByText("done").last().waitFor()
    demo.failing = true
  })

  it("sends a test event and shows what it started", async () => {
    await at.page.goto(`${demo.url}/events`)
    await at.page.getByRole("button", { name: "Send an event …" }).click()
    await at.page.getByLabel("Name").fill("shop/import.manual")
    await at.page.getByLabel("Data, a JSON object").fill("[1]")
    await at.see("It must be an object.")
    expect(await at.page.getByRole("button", { name: "Send", exact: true }).isDisabled()).toBe(true)
    await at.page.getByLabel("Data, a JSON object").fill('{"by":"hand"}')
    await at.page.getByRole("button", { name: "Send", exact: true }).click()
    await at.page.waitForURL(/\/events\/evt_/)
    await at.see('"hand"')
    expect(await at.page.locator("h1").innerText()).toBe("Events / shop/import.manual")
    await at.see("shop-import-catalog")
    await at.page.goto(`${demo.url}/events`)
    await at.page.getByRole("button", { name: "Send an event …" }).click()
    await at.page.getByLabel("Name").fill("shop/import.manual")
    await expect.poll(() => at.page.getByLabel("Data, a JSON object").inputValue()).toBe('{"by":"hand"}')
  })

  it("offers a field for each property that a schema names, and says beside it what is wrong", { timeout: 60_000 }, async () => {
    await at.page.goto(`${demo.url}/events`)
    await at.page.getByRole("button", { name: "Send an event …" }).click()
    await at.page.getByLabel("Name").fill("shop/order.placed")
    const dialog = at.page.getByRole("dialog")
    await dialog.getByLabel("email").fill("not an address")
    await dialog.getByLabel("items").fill("101")
    await dialog.getByLabel("address").fill('{"city":7}')
    await dialog.getByRole("button", { name: "Send", exact: true }).click()
    await dialog.getByText("It is needed.").waitFor()
    await dialog.getByLabel("plan").selectOption("pro")
    await dialog.getByRole("button", { name: "Send", exact: true }).click()
    await dialog.getByText('String does not match format "email".').waitFor()
    await dialog.getByText("101 is greater than 100.").waitFor()
    await dialog.getByText(/^city: Instance type "number" is invalid/).waitFor()
    expect(await at.violations()).toEqual([])
    await dialog.getByLabel("email").fill("ada@example.org")
    await dialog.getByLabel("items").fill("3")
    await dialog.getByLabel("gift").selectOption("true")
    await dialog.getByRole("button", { name: "As JSON" }).click()
    const json = dialog.getByLabel("Data, a JSON object")
    expect(JSON.parse(await json.inputValue())).toEqual({
      email: "ada@example.org",
      plan: "pro",
      items: 3,
      gift: true,
      address: { city: 7 },
    })
    await json.fill('{"email":"ada@example.org","plan":"pro","items":4}')
    await dialog.getByRole("button", { name: "Field by field" }).click()
    await dialog.getByRole("button", { name: "Send", exact: true }).click()
    await at.page.waitForURL(/\/events\/evt_/)
    await at.see('"ada@example.org"')
    await at.page.goto(`${demo.url}/events`)
    await at.page.getByRole("button", { name: "Send an event …" }).click()
    await at.page.getByLabel("Name").fill("shop/order.placed")
    await expect.poll(() => dialog.getByLabel("items").inputValue()).toBe("4")
  })
})

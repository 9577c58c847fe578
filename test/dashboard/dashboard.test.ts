import axe from "axe-core"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { openBrowser } from "./browser.ts"
import { builtDashboard } from "./built.ts"
import { type Demo, fill, hostile, settled, startDemo } from "./demo.ts"

let browser: Browser

beforeAll(async () => {
  await builtDashboard()
  browser = await openBrowser()
}, 120_000)
afterAll(() => browser.close())

let context: BrowserContext
let page: Page
/** What a page must not do: ask elsewhere, or complain. */
let trouble: string[]

beforeEach(async () => {
  context = await browser.newContext({ viewport: { width: 1280, height: 800 }, timezoneId: "Europe/Paris" })
  page = await context.newPage()
  page.setDefaultTimeout(15_000)
  trouble = []
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) trouble.push(message.text())
  })
  page.on("pageerror", (error) => trouble.push(error.message))
  page.on("request", (request) => {
    if (!request.url().startsWith("http://127.0.0.1:") && !request.url().startsWith("data:")) trouble.push(`asked ${request.url()}`)
  })
})
afterEach(async () => {
  await context.close()
  expect(trouble).toEqual([])
})

const see = (text: string | RegExp): Promise<void> => page.getByText(text).first().waitFor()
const heading = (): Promise<string> => page.locator("h1").innerText()

async function violations(): Promise<string[]> {
  await page.evaluate(axe.source)
  const { violations: found } = (await page.evaluate("axe.run()")) as axe.AxeResults
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`)
}

/** A page in both themes and two widths: nothing that axe finds wrong, nothing wider than the page. */
async function sound(url: string): Promise<string[]> {
  const wrong: string[] = []
  await page.setViewportSize({ width: 1280, height: 800 })
  await page.goto(url)
  await page.locator("h1").waitFor()
  await page.locator(".loading").first().waitFor({ state: "detached" })
  for (const [width, colorScheme] of [
    [1280, "light"],
    [390, "dark"],
  ] as const) {
    await page.setViewportSize({ width, height: 800 })
    await page.emulateMedia({ colorScheme })
    wrong.push(...(await violations()).map((each) => `${url} ${width} ${colorScheme} ${each}`))
    const over = await page.evaluate("document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth")
    if (Number(over) > 0) wrong.push(`${url} ${width}: ${String(over)} px too wide`)
  }
  return wrong
}

describe("the dashboard of an empty store", () => {
  let demo: Demo
  beforeAll(async () => {
    demo = await startDemo()
  })
  afterAll(() => demo.close())

  it("teaches on every page, and each is sound", { timeout: 120_000 }, async () => {
    const pages = { "/": "Nothing has run yet.", "/runs": "No runs yet.", "/fan-outs": "No fan-outs yet.", "/events": "No events yet." }
    for (const [path, text] of Object.entries(pages)) {
      expect(await sound(demo.url + path)).toEqual([])
      await see(text)
    }
    expect(await sound(`${demo.url}/failures`)).toEqual([])
    await see("No failures.")
  })

  it("starts the first run with one click", async () => {
    await page.goto(demo.url)
    await page.getByRole("button", { name: "Run now" }).click()
    await page.waitForURL(/\/runs\/run_/)
    await see("completed")
    await see('"dispatched"')
    await page.getByText("Sent the fan-out").waitFor()
  })
})

describe("the dashboard", () => {
  let demo: Demo
  let fanoutId: string
  beforeAll(async () => {
    demo = await startDemo()
    fanoutId = (await fill(demo, 1_000)).fanoutId
  }, 60_000)
  afterAll(() => demo.close())
  const newest = async (query: string): Promise<string> =>
    (await demo.get<{ items: { id: string }[] }>(`${query}&limit=1`)).items[0]?.id ?? ""

  it("is sound on every page, in both themes and two widths", { timeout: 300_000 }, async () => {
    const [failed, stepped, charged] = [
      await newest("runs?state=failed&function=send-digest"),
      await newest("runs?function=import-catalog"),
      await newest("runs?function=charge"),
    ]
    const pages = [
      "/",
      "/runs",
      "/runs?state=failed",
      `/runs/${failed}`,
      `/runs/${stepped}`,
      `/runs/${charged}`,
      "/fan-outs",
      `/fan-outs/${fanoutId}`,
      "/functions",
      "/functions/shop-send-digest",
      "/events",
      `/events/${await newest("events?")}`,
      "/schedules",
      "/schedules/shop-nightly-digest",
      "/functions/shop-post-to-team",
      "/functions/shop-rebuild-search",
      "/failures",
      "/operations",
      "/nodes",
      "/settings",
      "/runs/run_unknown",
      "/nowhere",
    ]
    for (const path of pages) expect(await sound(demo.url + path)).toEqual([])
  })

  it("shows a fan-out to its end, and repairs it", { timeout: 60_000 }, async () => {
    demo.failing = true
    const id = await demo.digests(2_000)
    await page.goto(`${demo.url}/fan-outs/${id}`)
    await see("100 % · 2,000 of 2,000")
    await see("60 failed")
    await see("MailError")
    // The eighth digest fails: its cell opens its run.
    await page.locator(".cell-map").focus()
    await page.keyboard.press("Home")
    for (let i = 0; i < 7; i++) await page.keyboard.press("ArrowRight")
    await see("Run 8 of 2,000: failed")
    await page.keyboard.press("Enter")
    await page.waitForURL(/\/runs\/run_/)
    await see("MailError: upstream answered 503 for 7")
    await page.goBack()

    demo.failing = false
    await page.getByRole("button", { name: "Retry", exact: true }).last().click()
    await page.getByRole("dialog").getByRole("button", { name: "Retry 10" }).click()
    await see("50 failed")
    await page.getByRole("button", { name: "Retry 50 failed" }).click()
    await page.getByRole("dialog").getByRole("button", { name: "Retry 50" }).click()
    await see("50 runs set going again.")
    await settled(demo, id)
    await see("0 failed")
    await see("None has failed.")
  })

  it("cancels the rest of a fan-out after it was told how many that are", { timeout: 60_000 }, async () => {
    const { fanoutId: id } = await demo.client.send(Array.from({ length: 30 }, (_, i) => ({ name: "shop/cart.left", data: { cart: i } })))
    await page.goto(`${demo.url}/fan-outs/${id}`)
    await see("sleeping")
    await page.keyboard.press("c")
    await page.getByRole("dialog").getByText("Cancel the rest, about 30 runs?").waitFor()
    await page.getByRole("button", { name: "Cancel 30" }).click()
    await see("30 runs cancelled.")
    await see("30 cancelled")
  })

  it("pauses a schedule with a note, lets it go on, runs it now, and backfills it", { timeout: 60_000 }, async () => {
    await page.goto(`${demo.url}/schedules`)
    await page.getByRole("button", { name: "Pause shop-nightly-digest" }).click()
    await page.getByLabel("Why, for whoever finds it paused").fill("mail is down")
    await page.getByRole("button", { name: "Pause", exact: true }).click()
    await see("shop-nightly-digest is paused.")
    await see("mail is down")
    await page.getByRole("link", { name: "shop-nightly-digest" }).click()
    await see("Next moments")
    await page.getByRole("button", { name: "Resume shop-nightly-digest" }).click()
    await see("shop-nightly-digest goes on.")
    await page.getByRole("button", { name: "Run now: shop-nightly-digest" }).click()
    await see("Started 1 run.")
    await page.getByRole("button", { name: "Backfill …" }).click()
    await page.getByLabel("From (UTC)").fill(new Date(Date.now() - 7 * 86_400_000).toISOString().slice(0, 16))
    await page.getByRole("button", { name: "Count the moments" }).click()
    await see(/[3-5] moments would start/)
    await page.getByRole("button", { name: /^Start [3-5] moments$/ }).click()
    await see(/[3-5] moments started/)
    await page.locator("td").getByText("backfilled").first().waitFor()
    expect(await page.locator("td .tick-backfilled").count()).toBeGreaterThanOrEqual(3)
    expect(await violations()).toEqual([])
    await page.locator("td .link-id").first().click()
    await page.waitForURL(/\/runs\/run_/)
  })

  it("runs a run again with other data, and cancels one that waits", { timeout: 60_000 }, async () => {
    await page.goto(`${demo.url}/runs/${await newest("runs?function=import-catalog")}`)
    await page.getByRole("button", { name: "Run again …" }).click()
    await page.getByLabel("With other data").check()
    await page.getByLabel("Data of the event, a JSON object").fill('{"source":"by hand"}')
    await page.getByRole("dialog").getByRole("button", { name: "Run again" }).click()
    await see("Started a new run.")
    await see('"by hand"')
    await demo.client.send({ name: "shop/cart.left", data: { cart: "c_2" } })
    await page.goto(`${demo.url}/runs/${await newest("runs?function=remind")}`)
    await see("Why it waits:")
    await page.keyboard.press("c")
    await page.getByRole("dialog").getByRole("button", { name: "Cancel it" }).click()
    await page.locator(".head .state-cancelled").waitFor()
  })

  it("does something to all runs of a filter after it has said how many they are", { timeout: 60_000 }, async () => {
    for (let i = 0; i < 12; i++) await demo.client.send({ name: "shop/cart.left", data: { cart: i } })
    await page.goto(`${demo.url}/runs?state=waiting&function=shop-remind`)
    await page.getByRole("button", { name: "Cancel all …" }).click()
    await page
      .getByRole("dialog")
      .getByRole("button", { name: /^Cancel 1[2-9]$/ })
      .click()
    await see(/1[2-9] runs cancelled\./)
    await see("No run is waiting of shop-remind.")
  })

  it("changes a limit while runs wait for it, and pauses its function", { timeout: 60_000 }, async () => {
    await demo.client.send(
      Array.from({ length: 12 }, (_, i) => ({ name: "shop/team.notice", data: { team: i % 2 === 0 ? "acme" : hostile } })),
    )
    await page.goto(`${demo.url}/functions/shop-post-to-team`)
    const acme = page.getByRole("row").filter({ hasText: "acme" })
    await acme.getByText("2 / 2").waitFor()
    await acme.getByRole("button", { name: /^Change/ }).click()
    await page.getByLabel(/^At most/).fill("3")
    expect(await violations()).toEqual([])
    await page.getByRole("button", { name: "Set", exact: true }).click()
    await acme.getByText("by hand, 2 in code").waitFor()
    await acme.getByText("3 / 3").waitFor()
    await acme.getByRole("button", { name: /^Change/ }).click()
    await page.getByRole("button", { name: "Reset to 2" }).click()
    await acme.getByText("by hand, 2 in code").waitFor({ state: "detached" })
    await page.getByRole("button", { name: "Pause …" }).click()
    await page.getByLabel("are recorded as skipped").check()
    await page.getByRole("button", { name: "Pause", exact: true }).click()
    await see("new runs are skipped until it is resumed")
    await demo.client.send({ name: "shop/team.notice", data: { team: "acme" } })
    await page.locator("td .state-skipped").first().waitFor()
    await page.getByRole("button", { name: "Resume" }).click()
    await see("shop-post-to-team goes on.")
    await page.goto(`${demo.url}/nodes`)
    await page.getByRole("row").filter({ hasText: "account:slack" }).waitFor()
    expect(await violations()).toEqual([])
  })

  it("retries one cause across functions, and says what was done", { timeout: 60_000 }, async () => {
    demo.failing = true
    await settled(demo, await demo.digests(400))
    demo.failing = false
    await page.goto(`${demo.url}/failures`)
    await page.getByRole("button", { name: "Retry TypeError of shop-send-digest" }).click()
    const dialog = page.getByRole("dialog")
    await dialog.getByText(/^\d+ failed runs$/).waitFor()
    expect(await violations()).toEqual([])
    await dialog.getByRole("button", { name: /^Retry \d+$/ }).click()
    await see(/\d+ runs set going again\./)
    await page.getByText("TypeError").waitFor({ state: "detached" })
    await page.getByRole("link", { name: "Operations" }).click()
    await page.getByRole("row").filter({ hasText: "TypeError" }).getByText("done").last().waitFor()
    demo.failing = true
  })

  it("keeps filters in the address, holds the list still, and counts what is new", { timeout: 60_000 }, async () => {
    demo.failing = true
    await page.goto(`${demo.url}/runs`)
    await page.getByLabel("State").selectOption("failed")
    await page.getByLabel("Function").selectOption("shop-send-digest")
    await page.waitForURL(/state=failed/)
    await see("MailError: upstream answered 503")
    await page.reload()
    expect(await page.getByLabel("State").inputValue()).toBe("failed")
    const first = await page.locator(".run-rows .link-id").first().getAttribute("title")
    await settled(demo, await demo.digests(80))
    await see(/new runs/)
    expect(await page.locator(".run-rows .link-id").first().getAttribute("title")).toBe(first)
    await page.getByRole("button", { name: "Show", exact: true }).click()
    await page.locator(`.run-rows .link-id[title="${await newest("runs?state=failed&function=send-digest")}"]`).waitFor()
  })

  it("has a few rows in the document, however many are listed", { timeout: 60_000 }, async () => {
    await settled(demo, await demo.digests(3_000))
    await page.goto(`${demo.url}/runs`)
    await page.locator(".run-rows .run-row").first().waitFor()
    for (let i = 0; i < 12; i++) {
      await page.evaluate("document.querySelector('main').scrollTo(0, 1e9)")
      await page.waitForTimeout(150)
    }
    const rows = Number(await page.locator(".run-list").getAttribute("aria-rowcount"))
    expect(rows === -1 || rows > 500).toBe(true)
    expect(await page.locator(".run-rows .run-row").count()).toBeLessThan(80)
    expect(await page.evaluate("document.querySelectorAll('*').length")).toBeLessThan(2_500)
  })

  it("is led by keys", async () => {
    await page.goto(demo.url)
    await see("Runs per minute")
    await page.keyboard.press("?")
    await page.getByRole("dialog").getByText("these keys").waitFor()
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await page.keyboard.press("r")
    await page.waitForURL(/\/runs$/)
    await page.locator(".run-rows .run-row").first().waitFor()
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.waitForURL(/\/runs\/run_/)
    await page.keyboard.press("\\")
    expect(await page.evaluate("document.documentElement.dataset.theme")).toBe("light")
    await page.keyboard.press(".")
    await see("Paused")
    await page.goto(`${demo.url}/runs`)
    await page.locator(".find").waitFor()
    await page.keyboard.press("/")
    await page.keyboard.type(fanoutId)
    await page.keyboard.press("Enter")
    await page.waitForURL(new RegExp(`/fan-outs/${fanoutId}`))
    await page.keyboard.press("Control+k")
    expect(await violations()).toEqual([])
    await page.keyboard.type("import")
    await page.getByRole("option", { name: "shop-import-catalog" }).waitFor()
    await page.keyboard.press("Enter")
    await page.waitForURL(/\/functions\/shop-import-catalog/)
  })

  it("sends a test event and shows what it started", async () => {
    await page.goto(`${demo.url}/events`)
    await page.getByRole("button", { name: "Send an event …" }).click()
    await page.getByLabel("Name").fill("shop/import.manual")
    await page.getByLabel("Data, a JSON object").fill("[1]")
    await see("It must be an object.")
    expect(await page.getByRole("button", { name: "Send", exact: true }).isDisabled()).toBe(true)
    await page.getByLabel("Data, a JSON object").fill('{"by":"hand"}')
    await page.getByRole("button", { name: "Send", exact: true }).click()
    await page.waitForURL(/\/events\/evt_/)
    await see('"hand"')
    expect(await heading()).toBe("Events / shop/import.manual")
    await see("shop-import-catalog")
  })

  it("shows hostile text as text, everywhere", async () => {
    const run = await newest("runs?function=hostile")
    for (const path of [`/runs/${run}`, "/runs?function=shop-hostile", "/failures", "/events", "/"]) {
      await page.goto(demo.url + path)
      await page.locator(".loading").first().waitFor({ state: "detached" })
      await page.waitForTimeout(300)
      expect(await page.evaluate("window.harmed")).toBe(undefined)
      expect(await page.locator("main img, main script").count()).toBe(0)
    }
    await page.goto(`${demo.url}/runs/${run}`)
    await see(hostile.slice(0, 60))
    await page.goto(`${demo.url}/runs?state=%3Cscript%3E&function=${encodeURIComponent(hostile)}`)
    await page.locator("[role=alert]").waitFor()
  })

  it("says that the server is gone, keeps what it shows, and comes back by itself", { timeout: 60_000 }, async () => {
    await page.goto(demo.url)
    await see("Runs per minute")
    await page.route("**/api/**", (route) => route.abort())
    await see("The server does not answer.")
    await see("Runs per minute")
    await page.unroute("**/api/**")
    await page.getByText("The server does not answer.").waitFor({ state: "detached" })
  })

  it("never takes a refusal for an empty answer", async () => {
    await page.route("**/api/v1/runs?*", (route) =>
      route.fulfill({
        status: 503,
        contentType: "application/problem+json",
        body: JSON.stringify({ detail: "the store is busy", code: "store_failed" }),
      }),
    )
    await page.goto(`${demo.url}/runs?state=failed`)
    await see("the store is busy")
    expect(await page.getByText(/No run/).count()).toBe(0)
    await page.unroute("**/api/v1/runs?*")
    await page.getByRole("button", { name: "Try again" }).click()
    await page.locator(".run-rows .run-row").first().waitFor()
  })

  it("lives below a path that a proxy takes off", async () => {
    await page.setExtraHTTPHeaders({ "x-forwarded-prefix": "/tools/jobs" })
    await page.route("**/tools/jobs/**", async (route) => {
      const url = route.request().url().replace("/tools/jobs", "")
      await route.fulfill({ response: await route.fetch({ url }) })
    })
    await page.goto(`${demo.url}/tools/jobs/fan-outs/${fanoutId}`)
    await see("1,000 of 1,000")
    await page.getByRole("link", { name: "Runs", exact: false }).first().click()
    await page.waitForURL(/\/tools\/jobs\/runs/)
    await page.locator(".run-rows .run-row").first().waitFor()
  })
})

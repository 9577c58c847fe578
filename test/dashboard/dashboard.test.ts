import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Demo, fill, harm, hostile, hostileName, polyglot, settled, startDemo } from "./demo.ts"
import { looking } from "./looking.ts"

const at = looking()

describe("the dashboard of an empty store", () => {
  let demo: Demo
  beforeAll(async () => {
    demo = await startDemo()
  })
  afterAll(() => demo.close())

  it("teaches on every page, and each is sound", { timeout: 120_000 }, async () => {
    const pages = { "/": "Nothing has run yet.", "/runs": "No runs yet.", "/fan-outs": "No fan-outs yet.", "/events": "No events yet." }
    for (const [path, text] of Object.entries(pages)) {
      expect(await at.sound(demo.url + path)).toEqual([])
      await at.see(text)
    }
    expect(await at.sound(`${demo.url}/failures`)).toEqual([])
    await at.see("No failures.")
  })

  it("starts the first run with one click", async () => {
    await at.page.goto(demo.url)
    await at.page.getByRole("button", { name: "Run now" }).click()
    await at.page.waitForURL(/\/runs\/run_/)
    await at.see("completed")
    await at.see('"dispatched"')
    await at.page.getByText("Sent the fan-out").waitFor()
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
    for (const path of pages) expect(await at.sound(demo.url + path)).toEqual([])
  })

  it("keeps filters in the address, holds the list still, and counts what is new", { timeout: 60_000 }, async () => {
    demo.failing = true
    await at.page.goto(`${demo.url}/runs`)
    await at.page.getByLabel("State").selectOption("failed")
    await at.page.getByLabel("Function").selectOption("shop-send-digest")
    await at.page.waitForURL(/state=failed/)
    await at.see("MailError: upstream answered 503")
    await at.page.reload()
    expect(await at.page.getByLabel("State").inputValue()).toBe("failed")
    const first = await at.page.locator(".run-rows .link-id").first().getAttribute("title")
    await settled(demo, await demo.digests(80))
    await at.see(/new runs/)
    expect(await at.page.locator(".run-rows .link-id").first().getAttribute("title")).toBe(first)
    await at.page.getByRole("button", { name: "Show", exact: true }).click()
    await at.page.locator(`.run-rows .link-id[title="${await newest("runs?state=failed&function=send-digest")}"]`).waitFor()
  })

  it("has a few rows in the document, however many are listed", { timeout: 60_000 }, async () => {
    await settled(demo, await demo.digests(3_000))
    await at.page.goto(`${demo.url}/runs`)
    await at.page.locator(".run-rows .run-row").first().waitFor()
    for (let i = 0; i < 12; i++) {
      await at.page.evaluate("document.querySelector('main').scrollTo(0, 1e9)")
      await at.page.waitForTimeout(150)
    }
    const rows = Number(await at.page.locator(".run-list").getAttribute("aria-rowcount"))
    expect(rows === -1 || rows > 500).toBe(true)
    expect(await at.page.locator(".run-rows .run-row").count()).toBeLessThan(80)
    expect(await at.page.evaluate("document.querySelectorAll('*').length")).toBeLessThan(2_500)
  })

  it("is led by keys", async () => {
    await at.page.goto(demo.url)
    await at.see("Runs per minute")
    await at.page.keyboard.press("?")
    await at.page.getByRole("dialog").getByText("these keys").waitFor()
    await at.page.keyboard.press("Escape")
    await at.page.keyboard.press("g")
    await at.page.keyboard.press("r")
    await at.page.waitForURL(/\/runs$/)
    await at.page.locator(".run-rows .run-row").first().waitFor()
    await at.page.keyboard.press("j")
    await at.page.keyboard.press("j")
    await at.page.keyboard.press("Enter")
    await at.page.waitForURL(/\/runs\/run_/)
    for (const [list, one] of [
      ["events", /\/events\/evt_/],
      ["functions", /\/functions\/shop-/],
      ["fan-outs", /\/fan-outs\/fan_/],
      ["schedules", /\/schedules\/shop-/],
    ] as const) {
      await at.page.goto(`${demo.url}/${list}`)
      await at.page.locator("tbody tr").first().waitFor()
      await at.page.keyboard.press("j")
      await at.page.locator("tr.marked").waitFor()
      await at.page.keyboard.press("Enter")
      await at.page.waitForURL(one)
      await at.page.getByRole("button", { name: /^Copy the (event|function|fan-out|schedule)'s id$/ }).waitFor()
    }
    await at.page.keyboard.press("\\")
    expect(await at.page.evaluate("document.documentElement.dataset.theme")).toBe("light")
    await at.page.keyboard.press(".")
    await at.see("Paused")
    await at.page.goto(`${demo.url}/runs`)
    await at.page.locator(".find").waitFor()
    await at.page.keyboard.press("/")
    await at.page.keyboard.type(fanoutId)
    await at.page.keyboard.press("Enter")
    await at.page.waitForURL(new RegExp(`/fan-outs/${fanoutId}`))
    await at.page.keyboard.press("Control+k")
    expect(await at.violations()).toEqual([])
    await at.page.keyboard.type("import")
    await at.page.getByRole("option", { name: "shop-import-catalog" }).waitFor()
    await at.page.keyboard.press("Enter")
    await at.page.waitForURL(/\/functions\/shop-import-catalog/)
  })

  it("shows the beginning of a payload of 30 MB, and stays quick", { timeout: 60_000 }, async () => {
    const id = await newest("runs?function=import-catalog")
    const [run, chars] = [await demo.get<object>(`runs/${id}`), 30_000_000]
    await at.page.route(`**/api/v1/runs/${id}?*`, (route) =>
      route.fulfill({ json: { ...run, data: `{"list":[${"7,".repeat(chars / 2 - 6)}7]}`, dataChars: chars } }),
    )
    await at.page.goto(`${demo.url}/runs/${id}`)
    await at.see("The first 65,536 of 30,000,000 characters.")
    expect(await at.page.evaluate("document.querySelectorAll('*').length")).toBeLessThan(2_500)
    await at.page.getByRole("button", { name: "Show 1,000 lines more" }).click()
    await at.page.locator(".json-line").nth(1_000).waitFor({ state: "attached" })
    await at.page.unrouteAll({ behavior: "ignoreErrors" })
  })

  it("shows hostile text as text, everywhere", { timeout: 120_000 }, async () => {
    const run = await newest("runs?function=hostile")
    const { fanoutId: harmful, scheduleId } = await harm(demo)
    await settled(demo, harmful)
    const command = { method: "POST", headers: { "content-type": "application/json" } }
    const { items } = await demo.get<{ items: { fingerprint: string; functionId: string }[] }>("failures")
    const fingerprint = items.find(({ functionId }) => functionId === "shop-hostile")?.fingerprint
    await fetch(`${demo.url}/api/v1/bulk`, {
      ...command,
      body: JSON.stringify({ kind: "retry", filter: { state: "failed", fingerprint } }),
    })
    const unharmed = async (path: string): Promise<void> => {
      await at.page.locator(".loading").first().waitFor({ state: "detached" })
      await at.page.waitForTimeout(150)
      expect(await at.page.evaluate("window.harmed"), path).toBe(undefined)
      expect(await at.page.locator("main img, main script, dialog img, dialog script").count(), path).toBe(0)
      expect(await at.page.evaluate("/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText + document.title)"), path).toBe(false)
    }
    const paths = {
      [`/runs/${run}`]: polyglot,
      [`/runs/${await newest("runs?function=post-to-team&state=cancelled")}`]: polyglot,
      "/runs?function=shop-hostile": "onerror",
      "/": "Why runs failed",
      "/failures": "onerror",
      "/operations": "onerror",
      "/functions": "shop-hostile",
      "/functions/shop-hostile": "onerror",
      "/functions/shop-post-to-team": "Newest runs",
      "/events": hostileName.slice(0, 60),
      [`/events/${await newest("events?")}`]: "What it started",
      "/fan-outs": hostileName.slice(0, 60),
      [`/fan-outs/${harmful}`]: "onerror",
      "/schedules": polyglot,
      [`/schedules/${encodeURIComponent(scheduleId)}`]: polyglot,
      "/nodes": "Limits",
      "/settings": "This server",
    }
    for (const [path, text] of Object.entries(paths)) {
      await at.page.goto(demo.url + path)
      await at.page.getByText(text.slice(0, 60)).first().waitFor({ state: "attached" })
      await unharmed(path)
    }
    // What is shown with its marks made visible is still meant exactly.
    await at.page.goto(`${demo.url}/schedules`)
    await at.page.getByRole("link", { name: /hostile\.<img.*\\u202e/ }).click()
    await at.page.getByRole("button", { name: /^Resume/ }).click()
    await at.see(/evil goes on\./)
    await at.page.keyboard.press("Control+k")
    await at.page.keyboard.type("jaVasCript")
    await at.page.getByRole("option").getByText(polyglot.slice(0, 30)).waitFor()
    await unharmed("the palette")
    await at.page.keyboard.press("Enter")
    await at.page.waitForURL(/\/schedules\/shop-jaVasCript/)
    await at.page.getByRole("button", { name: /^Pause/ }).click()
    await unharmed("a dialog")
    await at.page.goto(`${demo.url}/events`)
    await at.page.getByRole("button", { name: "Send an event …" }).click()
    await at.page.getByLabel("Name").fill(hostileName)
    await expect.poll(() => at.page.getByLabel("Data, a JSON object").inputValue()).toContain("{")
    await unharmed("the form for events")
    await at.page.goto(`${demo.url}/runs/${run}`)
    await at.see(hostile.slice(0, 60))
    await at.page.goto(`${demo.url}/runs?state=%3Cscript%3E&function=${encodeURIComponent(hostile)}`)
    await at.page.locator("[role=alert]").waitFor()
  })

  it("says that the server is gone, keeps what it shows, and comes back by itself", { timeout: 60_000 }, async () => {
    await at.page.goto(demo.url)
    await at.see("Runs per minute")
    await at.page.route("**/api/**", (route) => route.abort())
    await at.see("The server does not answer.")
    await at.see("Runs per minute")
    await at.page.unroute("**/api/**")
    await at.page.getByText("The server does not answer.").waitFor({ state: "detached" })
  })

  it("never takes a refusal for an empty answer", async () => {
    await at.page.route("**/api/v1/runs?*", (route) =>
      route.fulfill({
        status: 503,
        contentType: "application/problem+json",
        body: JSON.stringify({ detail: "the store is busy", code: "store_failed" }),
      }),
    )
    await at.page.goto(`${demo.url}/runs?state=failed`)
    await at.see("the store is busy")
    expect(await at.page.getByText(/No run/).count()).toBe(0)
    await at.page.unroute("**/api/v1/runs?*")
    await at.page.getByRole("button", { name: "Try again" }).click()
    await at.page.locator(".run-rows .run-row").first().waitFor()
  })

  it("lives below a path that a proxy takes off", async () => {
    await at.page.setExtraHTTPHeaders({ "x-forwarded-prefix": "/tools/jobs" })
    await at.page.route("**/tools/jobs/**", async (route) => {
      const url = route.request().url().replace("/tools/jobs", "")
      // A stream has no end that could be waited for: the page asks by itself then.
      if (url.endsWith("/stream")) return route.abort()
      await route.fulfill({ response: await route.fetch({ url }) })
    })
    await at.page.goto(`${demo.url}/tools/jobs/fan-outs/${fanoutId}`)
    await at.see("1,000 of 1,000")
    await at.page.getByRole("link", { name: "Runs", exact: false }).first().click()
    await at.page.waitForURL(/\/tools\/jobs\/runs/)
    await at.page.locator(".run-rows .run-row").first().waitFor()
    await at.page.unrouteAll({ behavior: "ignoreErrors" })
  })
})

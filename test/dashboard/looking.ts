import axe from "axe-core"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest"
import { openBrowser } from "./browser.ts"
import { builtDashboard } from "./built.ts"

/** A page of a browser, a new one for each test. */
export interface Looking {
  readonly page: Page
  readonly browser: Browser
  /** Waits until a text is shown. */
  see(text: string | RegExp): Promise<void>
  /** What axe finds wrong. */
  violations(): Promise<string[]>
  /** A page in both themes and two widths: what axe finds wrong, and what is wider than the page. */
  sound(url: string): Promise<string[]>
}

/** One browser for all tests of a file. A page that asks elsewhere or complains on the console fails its test. */
export function looking(): Looking {
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let trouble: string[]
  beforeAll(async () => {
    await builtDashboard()
    browser = await openBrowser()
  }, 120_000)
  afterAll(() => browser.close())
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
  return {
    get page() {
      return page
    },
    get browser() {
      return browser
    },
    see: (text) => page.getByText(text).first().waitFor(),
    violations: () => violationsOf(page),
    sound: (url) => soundnessOf(page, url),
  }
}

/** @param rules of axe; without them all that are on */
async function violationsOf(page: Page, rules?: readonly string[]): Promise<string[]> {
  await page.evaluate(axe.source)
  const options = rules === undefined ? {} : { runOnly: rules }
  const { violations } = (await page.evaluate(`axe.run(${JSON.stringify(options)})`)) as axe.AxeResults
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`)
}

async function soundnessOf(page: Page, url: string): Promise<string[]> {
  const wrong: string[] = []
  await page.setViewportSize({ width: 1280, height: 800 })
  await page.goto(url)
  await page.locator("h1").waitFor()
  await page.locator(".loading").first().waitFor({ state: "detached" })
  // What a theme changes is colours.
  for (const [width, colorScheme, rules] of [
    [1280, "light", undefined],
    [1280, "dark", ["color-contrast"]],
    [390, "dark", undefined],
    [390, "light", ["color-contrast"]],
  ] as const) {
    await page.setViewportSize({ width, height: 800 })
    await page.emulateMedia({ colorScheme })
    wrong.push(...(await violationsOf(page, rules)).map((each) => `${url} ${width} ${colorScheme} ${each}`))
    const over = await page.evaluate("document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth")
    if (Number(over) > 0) wrong.push(`${url} ${width}: ${String(over)} px too wide`)
  }
  return wrong
}

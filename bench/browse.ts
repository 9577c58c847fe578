import { performance } from "node:perf_hooks"
import { setTimeout as delay } from "node:timers/promises"
import { Fanfare } from "fanfare"
import { createServer } from "fanfare/server"
import type { Page } from "playwright-core"
import { openBrowser } from "../test/dashboard/browser.ts"

const looks = 5
const interactiveMostMs = 1_000
const frameMostMs = 50
/** Of the time of one thread, for so many runs a second that end on the page. */
const busyMost = 0.1
const updates = 5_000

/** Pages of a server in a browser: until what they show is there, and how a long list scrolls. Gives what is over its budget. */
export async function browse(url: string, paths: Readonly<Record<string, string>>): Promise<string[]> {
  const problems: string[] = []
  const browser = await openBrowser()
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, bypassCSP: true })
  for (const [name, path] of Object.entries(paths)) {
    const times: number[] = []
    for (let i = 0; i < looks; i++) times.push(await shownAfter(page, url + path))
    const median = times.toSorted((a, b) => a - b)[Math.floor(looks / 2)] ?? 0
    const most = Math.max(...times)
    const slow = median > interactiveMostMs
    if (slow) problems.push(`${path}: ${median.toFixed(0)} ms until it was shown`)
    console.log(
      `${slow ? "✗" : "✓"} ${name.padEnd(12)} shown after ${median.toFixed(0).padStart(5)} ms, most ${most.toFixed(0).padStart(5)} ms`,
    )
  }
  const { frames, p95, most, rows } = await scrolled(page, `${url}/runs`)
  if (p95 > frameMostMs) problems.push(`scrolling: p95 ${p95.toFixed(0)} ms a frame`)
  console.log(
    `${p95 > frameMostMs ? "✗" : "✓"} scrolling    ${rows.toLocaleString("en-US")} rows: ${frames} frames, p95 ${p95.toFixed(0)} ms, most ${most.toFixed(0)} ms`,
  )
  await browser.close()
  return problems
}

/** From the click to what the page has to show; its code is loaded anew each time. */
async function shownAfter(page: Page, url: string): Promise<number> {
  const began = performance.now()
  await page.goto(url, { waitUntil: "commit" })
  await page.waitForFunction(
    `document.querySelector("h1") && document.querySelector(".content")?.children.length > 0 && !document.querySelector(".loading")`,
  )
  return performance.now() - began
}

interface Scrolled {
  readonly frames: number
  readonly p95: number
  readonly most: number
  readonly rows: number
}

async function scrolled(page: Page, url: string): Promise<Scrolled> {
  await page.goto(url)
  await page.locator(".run-rows .run-row").first().waitFor()
  return (await page.evaluate(`new Promise((resolve) => {
    const main = document.querySelector("main")
    const took = []
    let last = performance.now()
    const end = last + 8000
    const step = (now) => {
      took.push(now - last)
      last = now
      main.scrollBy(0, 400)
      if (now < end) requestAnimationFrame(step)
      else {
        const sorted = took.slice(2).toSorted((a, b) => a - b)
        resolve({ frames: sorted.length, p95: sorted[Math.floor(sorted.length * 0.95)], most: sorted.at(-1), rows: Math.round(main.scrollTop / 36) })
      }
    }
    requestAnimationFrame(step)
  })`)) as Scrolled
}

/** How busy the browser is while thousands of runs a second end on the page it shows. */
export async function followed(db: string): Promise<string[]> {
  const client = new Fanfare({ id: "shop" })
  client.createFunction({ id: "digest", triggers: [{ event: "shop/digest.due" }] }, () => null)
  const server = await createServer({ client, db, http: { port: 0 }, logs: "none" })
  await server.start()
  const browser = await openBrowser()
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, bypassCSP: true })
  const { fanoutId } = await client.send(Array.from({ length: 60_000 }, (_, i) => ({ name: "shop/digest.due", data: { i } })))
  await page.goto(`${server.url}/fan-outs/${fanoutId}`)
  await page.locator(".progress-now").waitFor()
  await delay(500)
  const cdp = await page.context().newCDPSession(page)
  await cdp.send("Performance.enable")
  const busy = async (): Promise<number> =>
    (await cdp.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration")?.value ?? 0
  const ended = async (): Promise<number> => {
    const { completed } = (await (await fetch(`${server.url}/api/v1/fanouts/${fanoutId}`)).json()) as { completed: number }
    return completed
  }
  const [busyBefore, endedBefore, began] = [await busy(), await ended(), performance.now()]
  await delay(5_000)
  const seconds = (performance.now() - began) / 1e3
  const [share, rate] = [((await busy()) - busyBefore) / seconds, ((await ended()) - endedBefore) / seconds]
  await browser.close()
  await server.stop()
  const over = share / rate > busyMost / updates
  const percent = (part: number): string => `${(part * 100).toFixed(1)} %`
  console.log(
    `${over ? "✗" : "✓"} following    ${Math.round(rate).toLocaleString("en-US")} runs/s that end on the page: its thread is busy ${percent(share)} of the time (at most ${percent(busyMost)} for each ${updates})`,
  )
  return over ? [`following: busy ${percent(share)} at ${Math.round(rate)} runs/s`] : []
}

import { performance } from "node:perf_hooks"
import { setTimeout as delay } from "node:timers/promises"
import { Fanfare } from "fanfare"
import { createServer } from "fanfare/server"
import type { Page } from "playwright-core"
import { openBrowser } from "../test/dashboard/browser.ts"

const looks = 5
const interactiveMostMs = 1_000
const frameMostMs = 50
const rowsScrolled = 100_000
/** More than a screen in each frame. */
const pixelsEachFrame = 1_500
const scrollMostMs = 90_000
/** Of the time of the page's thread, while 5,000 runs a second end on it: a node has 200 under way, each for 40 ms. */
const busyMost = 0.1
const runMs = 40
const runsFollowed = 100_000
const followedMs = 10_000

/** Pages of a server in a browser: until what they show is there, and how a long list scrolls. Gives what is over its budget. */
export async function browse(url: string, paths: Readonly<Record<string, string>>, runs: number): Promise<string[]> {
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
  const { frames, p95, most, over, blank, rows, seconds } = await scrolled(page, `${url}/runs`)
  const jerky = over > 0 || blank > 0 || rows < Math.min(rowsScrolled, runs)
  if (jerky) problems.push(`scrolling: ${over} frames over ${frameMostMs} ms, ${blank} without rows`)
  console.log(
    `${jerky ? "✗" : "✓"} scrolling    ${rows.toLocaleString("en-US")} rows in ${seconds.toFixed(0)} s: ${frames} frames, p95 ${p95.toFixed(0)} ms, most ${most.toFixed(0)} ms, ${over} over ${frameMostMs} ms, ${blank} without rows`,
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
  /** Frames that took longer than they may. */
  readonly over: number
  /** Frames in whose middle there was no row. */
  readonly blank: number
  readonly rows: number
  readonly seconds: number
}

/** Through all rows of a list, page by page as they are loaded. */
async function scrolled(page: Page, url: string): Promise<Scrolled> {
  await page.goto(url)
  await page.locator(".run-rows .run-row").first().waitFor()
  return (await page.evaluate(`new Promise((resolve) => {
    const main = document.querySelector("main")
    const list = document.querySelector(".run-rows")
    const tall = list.firstElementChild.offsetHeight
    const took = []
    let blank = 0
    const began = performance.now()
    let last = began
    const step = (now) => {
      took.push(now - last)
      last = now
      const middle = main.scrollTop + main.clientHeight / 2 - list.offsetTop
      if (![...list.children].some((row) => Math.abs(new DOMMatrix(row.style.transform).f + tall / 2 - middle) <= tall / 2)) blank++
      const before = main.scrollTop
      main.scrollBy(0, ${pixelsEachFrame})
      const rows = Math.round(main.scrollTop / tall)
      if (rows < ${rowsScrolled} && now - began < ${scrollMostMs} && (main.scrollTop > before || took.length < 100)) requestAnimationFrame(step)
      else {
        const sorted = took.slice(2).toSorted((a, b) => a - b)
        const over = sorted.filter((ms) => ms > ${frameMostMs}).length
        resolve({ frames: sorted.length, p95: sorted[Math.floor(sorted.length * 0.95)], most: sorted.at(-1), over, blank, rows, seconds: (now - began) / 1e3 })
      }
    }
    requestAnimationFrame(step)
  })`)) as Scrolled
}

/** How busy the browser is while thousands of runs a second end on the page it shows. */
export async function followed(db: string): Promise<string[]> {
  const client = new Fanfare({ id: "shop" })
  client.createFunction({ id: "digest", triggers: [{ event: "shop/digest.due" }] }, () => delay(runMs))
  const server = await createServer({ client, db, http: { port: 0 }, logs: "none" })
  await server.start()
  await client.functions.pause("digest")
  const { fanoutId } = await client.send(Array.from({ length: runsFollowed }, (_, i) => ({ name: "shop/digest.due", data: { i } })))
  const browser = await openBrowser()
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, bypassCSP: true })
  await page.goto(`${server.url}/fan-outs/${fanoutId}`)
  await page.locator(".cell-map canvas").waitFor()
  const cdp = await page.context().newCDPSession(page)
  await cdp.send("Performance.enable")
  const whole = await browser.newBrowserCDPSession()
  const thread = async (): Promise<number> =>
    (await cdp.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration")?.value ?? 0
  const processes = async (): Promise<number> =>
    (await whole.send("SystemInfo.getProcessInfo")).processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0)
  const ended = async (): Promise<number> => (await client.fanouts.get(fanoutId ?? "")).completed
  await client.functions.resume("digest")
  while ((await ended()) === 0) await delay(20)
  const [before, endedBefore, began] = [[await thread(), await processes()] as const, await ended(), performance.now()]
  await delay(followedMs)
  const seconds = (performance.now() - began) / 1e3
  const rate = ((await ended()) - endedBefore) / seconds
  const [share, all] = [((await thread()) - before[0]) / seconds, ((await processes()) - before[1]) / seconds]
  await browser.close()
  await server.stop()
  const over = share > busyMost
  const percent = (part: number): string => `${(part * 100).toFixed(1)} %`
  console.log(
    `${over ? "✗" : "✓"} following    ${Math.round(rate).toLocaleString("en-US")} runs/s that end on the page: its thread is busy ${percent(share)} of the time (at most ${percent(busyMost)}), all of the browser ${percent(all)} of a core`,
  )
  return over ? [`following: busy ${percent(share)} at ${Math.round(rate)} runs/s`] : []
}

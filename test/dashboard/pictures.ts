import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { setTimeout as delay } from "node:timers/promises"
import type { Browser } from "playwright-core"
import { openBrowser } from "./browser.ts"
import { builtDashboard } from "./built.ts"
import { type Demo, fill, startDemo } from "./demo.ts"

// npm run pictures: takes the pictures of the dashboard that are in docs/: each page in both themes, and as a telephone shows it.
const folder = fileURLToPath(new URL("../../docs/pictures", import.meta.url))
const kilobytesMost = 1_500
/** Those that the README shows are PNG, which is shown everywhere. */
const plain: Readonly<Record<string, string>> = { overview: "light", "fan-out": "dark", run: "light", failures: "dark" }

/** A shop that has been at work for a while. */
async function work(demo: Demo): Promise<string> {
  const { fanoutId } = await fill(demo, 4_000)
  const { schedules } = demo.client
  await schedules.upsert({ id: "import-feed", cron: "*/30 * * * *", event: "shop/import.feed", data: { source: "s3://feed" } })
  await schedules.upsert({ id: "weekly-report", cron: "0 7 * * 1", timezone: "Europe/Berlin", event: "shop/import.report" })
  const now = Date.now()
  await schedules.backfill("import-feed", new Date(now - 12 * 3_600_000), new Date(now))
  await schedules.backfill("nightly-digest", new Date(now - 21 * 86_400_000), new Date(now - 60_000))
  await schedules.pause("weekly-report", { note: "the report is being rewritten" })
  const teams = ["acme", "initech", "globex"]
  await demo.client.send(
    Array.from({ length: 60 }, (_, i) => ({ name: "shop/team.notice", data: { team: teams[i % 3], urgent: i % 9 === 0 } })),
  )
  const failed = { method: "POST", headers: { "content-type": "application/json" } }
  await fetch(`${demo.url}/api/v1/bulk`, { ...failed, body: '{"kind":"retry","filter":{"state":"failed","functionId":"hostile"}}' })
  await delay(5_000)
  return fanoutId
}

async function pagesOf(demo: Demo, fanoutId: string): Promise<readonly (readonly [name: string, path: string])[]> {
  const newest = async (query: string): Promise<string> => (await demo.get<{ items: { id: string }[] }>(query)).items[0]?.id ?? ""
  return [
    ["overview", "/"],
    ["runs", "/runs"],
    ["run", `/runs/${await newest("runs?function=import-catalog&limit=1")}`],
    ["fan-outs", "/fan-outs"],
    ["fan-out", `/fan-outs/${fanoutId}`],
    ["functions", "/functions"],
    ["function", "/functions/shop-post-to-team"],
    ["events", "/events"],
    ["event", `/events/${await newest("events?limit=1")}`],
    ["schedules", "/schedules"],
    ["schedule", `/schedules/${encodeURIComponent("shop-import-feed")}`],
    ["failures", "/failures"],
    ["operations", "/operations"],
    ["nodes", "/nodes"],
    ["settings", "/settings"],
  ]
}

/** The browser makes a picture smaller than PNG does. */
async function webpOf(browser: Browser, png: Buffer): Promise<Buffer> {
  const page = await browser.newPage()
  const url = await page.evaluate(`new Promise((resolve) => {
    const image = new Image()
    image.onload = () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height })
      canvas.getContext("2d").drawImage(image, 0, 0)
      resolve(canvas.toDataURL("image/webp", 0.75))
    }
    image.src = "data:image/png;base64,${png.toString("base64")}"
  })`)
  await page.close()
  return Buffer.from(String(url).split(",")[1] ?? "", "base64")
}

const sizes = [
  ["", { width: 1000, height: 620 }],
  ["-narrow", { width: 390, height: 700 }],
] as const

await builtDashboard()
mkdirSync(folder, { recursive: true })
for (const name of readdirSync(folder)) rmSync(`${folder}/${name}`)
const demo = await startDemo()
const pages = await pagesOf(demo, await work(demo))
const browser = await openBrowser()
for (const [name, path] of pages) {
  for (const colorScheme of ["light", "dark"] as const) {
    for (const [size, viewport] of sizes) {
      // A telephone shows the same in both.
      if (size !== "" && colorScheme === "dark") continue
      const page = await browser.newPage({ colorScheme, viewport })
      await page.goto(demo.url + path)
      await delay(1_200)
      const png = await page.screenshot()
      await page.close()
      writeFileSync(`${folder}/${name}-${colorScheme}${size}.webp`, await webpOf(browser, png))
      if (size === "" && plain[name] === colorScheme) writeFileSync(`${folder}/${name}.png`, png)
    }
  }
}
await browser.close()
await demo.close()
const names = readdirSync(folder)
const kilobytes = Math.round(names.reduce((sum, name) => sum + statSync(`${folder}/${name}`).size, 0) / 1e3)
console.log(
  `${kilobytes > kilobytesMost ? "✗" : "✓"} ${names.length} pictures in docs/pictures, ${kilobytes} kB (at most ${kilobytesMost})`,
)

import { mkdirSync, statSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { setTimeout as delay } from "node:timers/promises"
import { openBrowser } from "./browser.ts"
import { builtDashboard } from "./built.ts"
import { fill, startDemo } from "./demo.ts"

// npm run pictures: takes the pictures of the dashboard that are in docs/.
const folder = fileURLToPath(new URL("../../docs/pictures", import.meta.url))
const kilobytesMost = 80

await builtDashboard()
mkdirSync(folder, { recursive: true })
const demo = await startDemo()
const { fanoutId } = await fill(demo, 4_000)
await delay(4_000)
const stepped = (await demo.get<{ items: { id: string }[] }>("runs?function=import-catalog&limit=1")).items[0]?.id ?? ""
const browser = await openBrowser()
const pictures = [
  ["overview", "/", "light"],
  ["fan-out", `/fan-outs/${fanoutId}`, "dark"],
  ["run", `/runs/${stepped}`, "light"],
  ["failures", "/failures", "dark"],
] as const
for (const [name, path, colorScheme] of pictures) {
  const page = await browser.newPage({ colorScheme, viewport: { width: 1000, height: 620 } })
  await page.goto(demo.url + path)
  await delay(1_500)
  const file = `${folder}/${name}.png`
  await page.screenshot({ path: file })
  const kilobytes = Math.round(statSync(file).size / 1e3)
  console.log(`${kilobytes > kilobytesMost ? "✗" : "✓"} docs/pictures/${name}.png  ${kilobytes} kB (at most ${kilobytesMost})`)
  await page.close()
}
await browser.close()
await demo.close()

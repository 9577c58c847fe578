import { execFileSync } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

// npm run bench:peers                       the short form, about five minutes
// npm run bench:peers -- --long             the long form, about an hour
//   --json                                  the figures as one JSON object on standard output
//   --only bullmq --only pg-boss            Fanfare and these only
//   --save                                  writes bench/peers/figures.json and docs/peers.md
//   --page                                  only writes docs/peers.md from bench/peers/figures.json
// What is not there is installed first: the packages of this folder by npm, Redis by apt-get.
const { values } = parseArgs({
  options: {
    long: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    save: { type: "boolean", default: false },
    page: { type: "boolean", default: false },
  },
})
const say = (line: string): void => console.error(line)
const here = fileURLToPath(new URL(".", import.meta.url))
const saved = new URL("./figures.json", import.meta.url)
const pageFile = new URL("../../docs/peers.md", import.meta.url)

const { page } = await import("./page.ts")
if (values.page) {
  writeFileSync(pageFile, page(JSON.parse(readFileSync(saved, "utf8"))))
} else {
  if (!existsSync(`${here}node_modules`)) {
    say("installing the peers …")
    execFileSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: here, stdio: ["ignore", "ignore", "inherit"] })
  }
  const { ensureRedis } = await import("./places.ts")
  ensureRedis(say)
  const { compare } = await import("./compare.ts")
  const { long, short } = await import("./plan.ts")
  const figures = await compare(values.long ? long : short, values.long ? "long" : "short", values.only, say)
  if (values.json) console.log(JSON.stringify(figures))
  if (values.save) {
    writeFileSync(saved, `${JSON.stringify(figures, null, 1)}\n`)
    writeFileSync(pageFile, page(figures))
  }
  if (!values.json && !values.save) console.log(page(figures))
}
process.exit(0)

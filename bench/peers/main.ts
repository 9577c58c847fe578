import { execFileSync } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

// npm run bench:peers                       the short form, about five minutes
// npm run bench:peers -- --long             the long form, about an hour
//   --json                                  the figures as one JSON object on standard output
//   --only bullmq --only pg-boss            Fanfare and these only
//   --row recovery --row latency            these rows only
//   --rounds 3                              each measurement so often
//   --save                                  writes bench/peers/figures.json and docs/peers.md; with --row the other rows stay as they were
//   --page                                  only writes docs/peers.md from bench/peers/figures.json
// What is not there is installed first: the packages of this folder by npm, Redis by apt-get.
const { values } = parseArgs({
  options: {
    long: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    row: { type: "string", multiple: true, default: [] },
    rounds: { type: "string" },
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
  const { beside, compare } = await import("./compare.ts")
  const { long, short } = await import("./plan.ts")
  const form = values.long ? "long" : "short"
  const plan = values.long ? long : short
  const rounds = values.rounds === undefined ? plan.rounds : Number(values.rounds)
  const figures = await compare({ plan: { ...plan, rounds }, form, only: values.only, row: values.row, say })
  if (values.json) console.log(JSON.stringify(figures))
  if (values.save) {
    const kept = values.row.length === 0 ? figures : beside(figures, JSON.parse(readFileSync(saved, "utf8")))
    writeFileSync(saved, `${JSON.stringify(kept, null, 1)}\n`)
    writeFileSync(pageFile, page(kept))
  }
  if (!values.json && !values.save) console.log(page(figures))
}
process.exit(0)

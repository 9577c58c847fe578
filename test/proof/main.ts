import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Check, checks, type Gate } from "./gates.ts"
import { type Figures, page } from "./page.ts"

// npm run proof                 every gate, briefly: less than ten minutes on two idle cores
// npm run proof -- --long       as thoroughly as for a release: hours
//   --only kills --only soak    these checks
//   --json                      the figures as one JSON object on standard output
//   --save                      writes test/proof/figures.json, and docs/figures.md from it; with --only the others stay as they were
//   --page                      only writes docs/figures.md from test/proof/figures.json
const { values } = parseArgs({
  options: {
    long: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    json: { type: "boolean", default: false },
    save: { type: "boolean", default: false },
    page: { type: "boolean", default: false },
  },
})
const root = fileURLToPath(new URL("../..", import.meta.url))
const saved = new URL("./figures.json", import.meta.url)
const pageFile = new URL("../../docs/figures.md", import.meta.url)

if (values.page) writeFileSync(pageFile, page(JSON.parse(readFileSync(saved, "utf8")) as Figures))
else process.exitCode = await prove()

async function prove(): Promise<number> {
  const { only } = values
  const chosen = checks(values.long).filter(({ name }) => only.length === 0 || only.some((part) => name.includes(part)))
  const done: Figures["checks"][number][] = []
  for (const check of chosen) {
    console.error(`${check.name}: ${check.command}`)
    const [began, load] = [performance.now(), loadavg()[0] ?? 0]
    const { figures, error } = await run(check)
    const gates = error === null ? check.judge(figures as never) : [{ name: check.name, measured: error, bound: "a result", holds: false }]
    for (const gate of gates) console.error(line(gate))
    const { name, command } = check
    const loads = `${load.toFixed(1)} to ${(loadavg()[0] ?? 0).toFixed(1)}`
    const seconds = Math.round((performance.now() - began) / 1_000)
    done.push({ name, command, measuredAt: new Date().toISOString(), seconds, loads, gates, figures })
  }
  const others = values.save && only.length > 0 && existsSync(saved) ? (JSON.parse(readFileSync(saved, "utf8")) as Figures).checks : []
  const order = checks(values.long).map(({ name }) => name)
  const figures: Figures = {
    machine: `${cpus().length} cores of ${cpus()[0]?.model ?? "?"}, Node ${process.version}`,
    checks: [...done, ...others.filter(({ name }) => done.every((each) => each.name !== name))].toSorted(
      (a, b) => order.indexOf(a.name) - order.indexOf(b.name),
    ),
  }
  if (values.json) console.log(JSON.stringify(figures))
  if (values.save) {
    writeFileSync(saved, `${JSON.stringify(figures, null, 1)}\n`)
    writeFileSync(pageFile, page(figures))
  }
  const broken = done.flatMap(({ gates }) => gates).filter(({ holds }) => !holds)
  console.error(broken.length === 0 ? "all gates hold" : `${broken.length} gates do not hold: ${broken.map(({ name }) => name).join(", ")}`)
  return broken.length === 0 ? 0 : 1
}

/** The JSON that a command prints last, also when it ends with an error: that is for the gates to judge. */
async function run({ command, minutes }: Check): Promise<{ figures: unknown; error: string | null }> {
  const [, ...args] = command.split(" ")
  const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] })
  let out = ""
  let err = ""
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on("data", (chunk: Buffer) => (err = (err + chunk.toString()).slice(-2_000)))
  const timer = setTimeout(() => child.kill("SIGKILL"), Math.max(minutes, 1) * 5 * 60_000)
  await once(child, "close")
  clearTimeout(timer)
  const last = out.trim().split("\n").at(-1) ?? ""
  try {
    return { figures: JSON.parse(last), error: null }
  } catch {
    return { figures: null, error: `the command gave no figures: ${err.trim().split("\n").at(-1) ?? last}` }
  }
}

function line({ name, measured, bound, holds }: Gate): string {
  return `  ${holds ? "✓" : "✗"} ${name}: ${measured} (bound: ${bound})`
}

import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { performance } from "node:perf_hooks"
import { fileURLToPath } from "node:url"

// npm run package: what a newcomer gets. Packs the package, installs the tarball into an empty project, and runs the two functions of
// the design there, letter for letter, with `npx fanfare dev app.ts`.
const root = fileURLToPath(new URL("..", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "fanfare-package-"))
const project = join(folder, "project")
const problems: string[] = []
const check = (holds: boolean, what: string): void => {
  console.log(`${holds ? "✓" : "✗"} ${what}`)
  if (!holds) problems.push(what)
}
const npm = (cwd: string, ...args: string[]): string =>
  execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
const nodeBin = dirname(process.execPath)
const env = { ...process.env, PATH: `${nodeBin}:${process.env["PATH"] ?? ""}`, NO_COLOR: "1" }

/** The design's two functions; the list comes from where its author has it. */
const app = `
import { Fanfare } from "fanfare"
export const fanfare = new Fanfare({ id: "notifications" })

export const digest = fanfare.createFunction(
  { id: "slack-notification-cron", triggers: [{ cron: "0 9,12 * * MON,FRI" }] },
  async () => {
    const due = await getNotificationsToRun()
    await fanfare.send(due.map((notification) => ({ name: "app/notification.dispatched", data: { notification } })))
    return \`\${due.length} notifications dispatched\`
  },
)

export const post = fanfare.createFunction(
  { id: "send-slack-notification", triggers: [{ event: "app/notification.dispatched" }], retries: 4, concurrency: { limit: 50 } },
  async ({ event, step, logger, attempt }) => { /* its own retries, logs, budget */ },
)

async function getNotificationsToRun() { return Array.from({ length: 250 }, (_, id) => ({ id })) }
`

try {
  const [{ filename }] = JSON.parse(npm(root, "pack", "--json", "--pack-destination", folder)) as [{ filename: string }]
  mkdirSync(project)
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "newcomer", private: true, type: "module" }))
  npm(project, "install", join(folder, filename))
  const modules = readdirSync(join(project, "node_modules"), { recursive: true, encoding: "utf8" })
  const packages = modules.filter((path) => /^(@[^/]+\/)?[^@/][^/]*\/package\.json$/.test(path))
  const bytes = modules.reduce((sum, path) => {
    const stat = statSync(join(project, "node_modules", path))
    return sum + (stat.isFile() ? stat.size : 0)
  }, 0)
  const scripted = packages.filter((path) => {
    const { scripts = {} } = JSON.parse(readFileSync(join(project, "node_modules", path), "utf8")) as { scripts?: Record<string, string> }
    return ["preinstall", "install", "postinstall"].some((name) => name in scripts)
  })
  check(packages.length <= 12, `${packages.length} packages (at most 12)`)
  check(bytes <= 10e6, `${(bytes / 1e6).toFixed(1)} MB (at most 10)`)
  check(scripted.length === 0, "no install scripts")

  const times = Array.from({ length: 7 }, () => {
    const began = performance.now()
    execFileSync(process.execPath, [join(project, "node_modules/fanfare/dist/cli/main.js"), "--version"])
    return performance.now() - began
  }).toSorted((a, b) => a - b)
  check((times[3] ?? 999) < 120, `--version in ${Math.round(times[3] ?? 0)} ms (median of 7; less than 120)`)

  writeFileSync(join(project, "app.ts"), app)
  const dev = spawn("npx", ["fanfare", "dev", "app.ts", "--port", "0"], { cwd: project, env })
  let said = ""
  dev.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString()
  })
  for (let i = 0; i < 200 && !/API\s+(http:\S+?)\/api/.test(said); i++) await new Promise((resolve) => setTimeout(resolve, 50))
  const url = /API\s+(http:\S+?)\/api/.exec(said)?.[1] ?? ""
  check(url !== "", "npx fanfare dev app.ts is ready")
  const out = execFileSync("npx", ["fanfare", "trigger", "slack-notification-cron", "--watch"], {
    cwd: project,
    env: { ...env, FANFARE_URL: url },
    encoding: "utf8",
  })
  check(out.startsWith("▶ run_"), "npx fanfare trigger slack-notification-cron --watch")
  const runs = JSON.parse(
    execFileSync("npx", ["fanfare", "runs", "--json", "--function", "send-slack-notification", "--state", "completed", "--limit", "500"], {
      cwd: project,
      env: { ...env, FANFARE_URL: url },
      encoding: "utf8",
    }),
  ) as { items: unknown[] }
  check(runs.items.length === 250, `${runs.items.length} of 250 notifications sent`)
  dev.kill("SIGTERM")
  await once(dev, "exit")
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${problems.length === 0 ? "the package is as promised" : `${problems.length} problems`}`)
process.exit(problems.length === 0 ? 0 : 1)

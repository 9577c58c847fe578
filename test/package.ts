import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { performance } from "node:perf_hooks"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

// npm run package                         what a newcomer gets. Packs the package, looks at its types, installs the tarball into an empty
//   project, and runs the two functions of the design there, letter for letter, with `npx fanfare dev app.ts`; then `npx fanfare init`.
// npm run package -- --nodes 22,24,26     the same on each of these, which npm brings
const { values } = parseArgs({ options: { nodes: { type: "string" } } })
const root = fileURLToPath(new URL("..", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "fanfare-package-"))
const problems: string[] = []
const check = (holds: boolean, what: string): void => {
  console.log(`${holds ? "✓" : "✗"} ${what}`)
  if (!holds) problems.push(what)
}
type Environment = Record<string, string | undefined>
const npm = (cwd: string, args: readonly string[], env: Environment = process.env): string =>
  execFileSync("npm", args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })

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
  const [{ filename }] = JSON.parse(npm(root, ["pack", "--json", "--pack-destination", folder])) as [{ filename: string }]
  const tarball = join(folder, filename)
  checkTypes(tarball)
  checkInstalled(install("project", tarball, "newcomer", process.env))
  for (const version of (values.nodes ?? "").split(",")) {
    const env = version === "" ? onNode(dirname(process.execPath)) : onNode(fetchNode(version))
    console.log(`on Node ${execFileSync("node", ["--version"], { env, encoding: "utf8" }).trim()}:`)
    await runDesign(tarball, `design${version}`, env)
    await runInit(tarball, `init${version}`, env)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${problems.length === 0 ? "the package is as promised" : `${problems.length} problems`}`)
process.exit(problems.length === 0 ? 0 : 1)

function onNode(bin: string): Environment {
  return { ...process.env, PATH: `${bin}:${process.env["PATH"] ?? ""}`, NO_COLOR: "1" }
}

/** The folder of a Node of that version, which comes as a package. */
function fetchNode(version: string): string {
  const place = join(folder, `node${version}`)
  mkdirSync(place)
  writeFileSync(join(place, "package.json"), JSON.stringify({ name: "other-node", private: true, allowScripts: { node: true } }))
  npm(place, ["install", "--no-audit", "--no-fund", `node@${version}`])
  return join(place, "node_modules/node/bin")
}

function install(name: string, tarball: string, own: string, env: Environment): string {
  const project = join(folder, name)
  mkdirSync(project)
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: own, private: true, type: "module" }))
  npm(project, ["install", tarball], env)
  return project
}

/** Whether TypeScript finds the types of every entry, and they say what the JavaScript beside them is. The package is ESM only, by intent. */
function checkTypes(tarball: string): void {
  let said = ""
  try {
    execFileSync("npm", ["run", "--silent", "attw", "--", tarball], { cwd: root, stdio: "pipe" })
  } catch (error) {
    said = String((error as { stdout?: Buffer }).stdout ?? error)
  }
  check(said === "", `the types are right for ES modules and bundlers (attw)${said === "" ? "" : `:\n${said}`}`)
}

function checkInstalled(project: string): void {
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
}

async function runDesign(tarball: string, name: string, env: Environment): Promise<void> {
  const project = install(name, tarball, "newcomer", env)
  writeFileSync(join(project, "app.ts"), app)
  const dev = spawn("npx", ["fanfare", "dev", "app.ts", "--port", "0"], { cwd: project, env })
  let said = ""
  dev.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString()
  })
  for (let i = 0; i < 400 && !/API\s+(http:\S+?)\/api/.test(said); i++) await new Promise((resolve) => setTimeout(resolve, 50))
  const url = /API\s+(http:\S+?)\/api/.exec(said)?.[1] ?? ""
  check(url !== "", "npx fanfare dev app.ts is ready")
  const here = { cwd: project, env: { ...env, FANFARE_URL: url }, encoding: "utf8" } as const
  const out = execFileSync("npx", ["fanfare", "trigger", "slack-notification-cron", "--watch"], here)
  check(out.startsWith("▶ run_"), "npx fanfare trigger slack-notification-cron --watch")
  const filter = ["--function", "send-slack-notification", "--state", "completed", "--limit", "500"]
  const runs = JSON.parse(execFileSync("npx", ["fanfare", "runs", "--json", ...filter], here)) as { items: unknown[] }
  check(runs.items.length === 250, `${runs.items.length} of 250 notifications sent`)
  dev.kill("SIGTERM")
  await once(dev, "exit")
}

/** What `init` makes fits the package that it is made for: its types; and its server starts, answers, and stops when it is told to. */
async function runInit(tarball: string, name: string, env: Environment): Promise<void> {
  const project = install(name, tarball, "beginner", env)
  execFileSync("npx", ["fanfare", "init"], { cwd: project, env, stdio: "pipe" })
  npm(project, ["install", "--no-audit", "--no-fund"], env)
  execFileSync("npm", ["run", "types"], { cwd: project, env, stdio: "pipe" })
  check(true, "npx fanfare init: its types fit")
  const port = 20_000 + Math.floor(Math.random() * 20_000)
  const keys = { FANFARE_SIGNING_KEY: "00112233445566778899aabbccddeeff", FANFARE_EVENT_KEY: "event-key-0123456789" }
  const server = spawn("npm", ["start"], { cwd: project, env: { ...env, ...keys, PORT: String(port) }, stdio: "ignore", detached: true })
  const ended = once(server, "exit")
  let healthy = false
  for (let i = 0; i < 400 && !healthy; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    healthy = await fetch(`http://127.0.0.1:${port}/api/health`).then(
      (answer) => answer.ok,
      () => false,
    )
  }
  // npm does not hand on a signal by itself: the whole group gets it, as from a terminal.
  process.kill(-(server.pid ?? 0), "SIGTERM")
  await ended
  check(healthy && existsSync(join(project, ".fanfare/fanfare.db")), "npm start: its server answers, and keeps its store")
  const script = `import("./server.ts").then(() => process.kill(process.pid, "SIGTERM"))`
  const told = spawn("node", ["--max-old-space-size=512", "--input-type=module", "-e", script], {
    cwd: project,
    env: { ...env, PORT: "0" },
    stdio: "ignore",
  })
  const [code] = (await once(told, "exit")) as [number | null]
  check(code === 0, "the same from node --eval, and it ends well on SIGTERM")
}

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join, relative, resolve } from "node:path"
import { FanfareError } from "../core/errors.ts"
import { version } from "../server/version.ts"
import type { Globals } from "./globals.ts"
import { print, printJson } from "./output.ts"

/** What is made in a project. A file that is there already is never touched; package.json only gets what it lacks. */
export async function init(folder: string, { json }: Globals): Promise<void> {
  const root = resolve(folder)
  const name = nameOf(root)
  const manifestPath = join(root, "package.json")
  const manifest = existsSync(manifestPath) ? readManifest(manifestPath) : null
  mkdirSync(root, { recursive: true })
  const made: string[] = []
  const kept: string[] = []
  for (const [file, text] of Object.entries(files(name))) {
    const path = join(root, file)
    // "wx" refuses a file that somebody else makes in the meantime too.
    if (existsSync(path)) kept.push(file)
    else {
      writeFileSync(path, text, { flag: "wx" })
      made.push(file)
    }
  }
  const { changed, added } = completePackage(manifestPath, manifest, name)
  const done = { folder: root, made: changed === "made" ? [...made, "package.json"] : made, kept, added }
  if (json) return printJson(done)
  for (const file of done.made) print(`made   ${file}`)
  for (const file of kept) print(`left   ${file}, which was there`)
  if (changed === "completed") print(`added  to package.json: ${added.join(", ")}`)
  if (changed === "left") print("left   package.json, which has all of it")
  const here = relative(process.cwd(), root)
  print(
    `\nNext:\n${here === "" ? "" : `  cd ${here}\n`}  npm install\n  npm run dev\n  npx fanfare trigger nightly --watch     (in a second terminal)`,
  )
}

type Section = Record<string, string>

interface Manifest {
  name?: string
  private?: boolean
  type?: string
  scripts?: Section
  dependencies?: Section
  devDependencies?: Section
}

/** Adds scripts and dependencies that are not there; one of the same name is the user's, whatever it says. */
function completePackage(path: string, own: Manifest | null, name: string): { changed: "made" | "completed" | "left"; added: string[] } {
  const manifest: Manifest = own ?? { name, private: true, type: "module" }
  const added: string[] = []
  const complete = (section: "scripts" | "dependencies" | "devDependencies", wanted: Section): void => {
    const there = manifest[section] ?? {}
    const missing = Object.entries(wanted).filter(([key]) => !(key in there) && manifest.dependencies?.[key] === undefined)
    if (missing.length === 0) return
    manifest[section] = { ...there, ...Object.fromEntries(missing) }
    added.push(...missing.map(([key]) => (section === "scripts" ? `script ${key}` : key)))
  }
  complete("scripts", { dev: "fanfare dev app.ts", start: "node server.ts", types: "tsc" })
  complete("dependencies", { fanfare: `^${version}` })
  complete("devDependencies", { "@types/node": "^22.0.0", typescript: ">=5.8.0" })
  if (added.length === 0) return { changed: "left", added }
  writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`)
  return own === null ? { changed: "made", added: [] } : { changed: "completed", added }
}

function readManifest(path: string): Manifest {
  try {
    const manifest: unknown = JSON.parse(readFileSync(path, "utf8"))
    if (typeof manifest === "object" && manifest !== null && !Array.isArray(manifest)) return manifest
  } catch {
    // Told below.
  }
  throw new FanfareError("invalid_option", `${path} is not the JSON of a package`, {
    field: "folder",
    hint: "Put it right first: nothing was made.",
  })
}

/** A name that npm takes, from that of the folder. */
function nameOf(root: string): string {
  const name = basename(root)
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
  return name === "" ? "my-app" : name
}

function files(name: string): Record<string, string> {
  return {
    "app.ts": `import { Fanfare } from "fanfare"

export const fanfare = new Fanfare({ id: "${name}" })

// One trigger …
export const nightly = fanfare.createFunction({ id: "nightly", triggers: [{ cron: "0 9 * * MON-FRI" }] }, async () => {
  const users = Array.from({ length: 100 }, (_, i) => \`user-\${i}\`)
  await fanfare.send(users.map((user) => ({ name: "digest/due", data: { user } })))
  return \`\${users.length} digests\`
})

// … and as many runs as there are users, each with its own retries and log.
export const digest = fanfare.createFunction(
  { id: "send-digest", triggers: [{ event: "digest/due" }], retries: 4 },
  async ({ event, step, logger }) => {
    const text = await step.run("render", () => \`Hello \${event.data.user}\`)
    logger.info("sending", { text })
  },
)
`,
    "server.ts": `import { createServer } from "fanfare/server"
import { fanfare } from "./app.ts"

// For production: the functions run in this process. FANFARE_DB or DATABASE_URL says where everything is kept.
const { PORT = "8288", FANFARE_SIGNING_KEY, FANFARE_EVENT_KEY } = process.env
// Others reach it only when it has keys; without them it listens on 127.0.0.1.
const keys =
  FANFARE_SIGNING_KEY && FANFARE_EVENT_KEY
    ? { host: "0.0.0.0", signingKeys: [FANFARE_SIGNING_KEY], eventKeys: [FANFARE_EVENT_KEY] }
    : {}
const server = await createServer({ client: fanfare, http: { port: Number(PORT), ...keys } })
await server.start()
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => server.stop())
`,
    "tsconfig.json": `{
  "compilerOptions": {
    "target": "es2024",
    "module": "nodenext",
    "strict": true,
    "noEmit": true,
    "allowImportingTsExtensions": true,
    "erasableSyntaxOnly": true,
    "verbatimModuleSyntax": true,
    "skipLibCheck": true,
    "types": ["node"]
  },
  "include": ["*.ts"]
}
`,
    ".gitignore": "node_modules\n.fanfare\n",
  }
}

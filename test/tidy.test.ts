import { readdirSync, readFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const src = fileURLToPath(new URL("../src", import.meta.url))

interface Source {
  /** Path below src, with slashes. */
  readonly path: string
  readonly text: string
  readonly imports: readonly { readonly from: string; readonly line: number }[]
}

const files = sourcesIn(src)
const dashboard = fileURLToPath(new URL("../dashboard/src", import.meta.url))
const pages = sourcesIn(dashboard)

/** Paths below the folder, with their text and what they import. */
function sourcesIn(folder: string): readonly Source[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => /\.tsx?$/.test(path) && !path.endsWith(".test.ts"))
    .map((path) => {
      const text = readFileSync(join(folder, path), "utf8")
      return { path: path.replaceAll("\\", "/"), text, imports: importsOf(text) }
    })
}

function importsOf(text: string): Source["imports"] {
  return [
    ...text.matchAll(/(?:^|\n)(?:import|export)\s[^"'\n]*?(?:\{[^}]*\}\s*)?(?:from\s*)?["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g),
  ].map((match) => ({
    from: match[1] ?? match[2] ?? "",
    line: text.slice(0, match.index).split("\n").length + (match[0].startsWith("\n") ? 1 : 0),
  }))
}

/** The file that a relative import means, below src. */
function target(file: Source, from: string): string {
  return relative(src, join(src, dirname(file.path), from)).replaceAll("\\", "/")
}

function folderOf(path: string): string {
  return path.includes("/") ? (path.split("/")[0] ?? "") : "entry"
}

/** The house plan: what each folder may import. Entries (`src/*.ts`) put together what is below them. */
const layers: Readonly<Record<string, readonly string[]>> = {
  core: [],
  protocol: ["core"],
  store: ["core"],
  otel: ["core"],
  sdk: ["core", "protocol", "otel"],
  transport: ["core", "protocol", "otel"],
  engine: ["core", "store", "otel", "transport"],
  server: ["core", "protocol", "otel", "engine"],
  testing: ["core", "protocol", "store", "sdk", "transport", "engine", "server"],
  cli: ["core", "protocol", "store", "otel", "sdk", "transport", "engine", "server", "entry"],
  entry: ["core", "protocol", "store", "sdk", "transport", "engine", "server", "testing", "cli"],
}

/** Doors in the walls, each for one reason. */
const doors: Readonly<Record<string, readonly string[]>> = {
  // The local transport is the one that calls user code.
  "transport/local.ts": ["sdk/runner.ts"],
  // Where an engine is put together for a user's own process.
  "server/create.ts": [
    "store/open.ts",
    "store/open-postgres.ts",
    "store/open-sqlite.ts",
    "store/place.ts",
    "transport/local.ts",
    "transport/transport.ts",
  ],
  // Where the way to apps over HTTP is put together.
  "server/front.ts": [
    "transport/address.ts",
    "transport/http-client.ts",
    "transport/http.ts",
    "transport/transport.ts",
    "transport/workers.ts",
  ],
  "server/apps.ts": ["transport/http-client.ts", "transport/workers.ts"],
  // Where what workers say over their connections comes in.
  "server/worker-connections.ts": ["transport/workers.ts"],
  "server/connect.ts": ["transport/workers.ts"],
  // The read side of the store.
  "server/sdk-runs.ts": ["store/store.ts"],
  "server/api.ts": ["store/store.ts", "transport/workers.ts"],
  "server/look.ts": ["store/store.ts"],
  "server/stream.ts": ["store/store.ts"],
  "server/metrics.ts": ["store/store.ts"],
}

/** Time and chance come in through these; the rest asks the ports. */
const ports: Readonly<Record<string, string>> = {
  "engine/system.ts": "the machine's clock and chance",
  "store/thread.ts": "the store's clock, in its own thread",
  "sdk/encryption.ts": "bytes that nobody can guess, which a seed would give away",
  "server/console.ts": "times of lines for people",
  "server/sessions.ts": "names of logins, of which several servers make some at the same time",
  "sdk/serve-clock.ts": "the clock of the platform where functions are served",
  "testing/harness.ts": "real turns of the event loop, while virtual time waits for a handler",
}
const isPort = (path: string): boolean => path in ports || path.startsWith("cli/")

describe("the house", () => {
  it("is imported downwards only", () => {
    const wrong = files.flatMap((file) =>
      file.imports
        .filter(({ from }) => from.startsWith(".") && from.endsWith(".ts"))
        .filter(({ from }) => {
          const to = target(file, from)
          const here = folderOf(file.path)
          const there = folderOf(to)
          return here !== there && !(layers[here] ?? []).includes(there) && !(doors[file.path] ?? []).includes(to)
        })
        .map(({ from, line }) => `${file.path}:${line} imports ${from}`),
    )
    expect(wrong).toEqual([])
  })

  it("has no folder that the plan does not know, and none for odds and ends", () => {
    expect([...new Set(files.map(({ path }) => folderOf(path)))].filter((folder) => !(folder in layers))).toEqual([])
    expect(files.map(({ path }) => path).filter((path) => /(^|\/)(utils?|helpers?|common|misc|types|shared)(\.ts|\/)/.test(path))).toEqual(
      [],
    )
  })

  it("has no import cycle, types included", () => {
    const byPath = new Map(files.map((file) => [file.path, file]))
    const cycles = new Set<string>()
    const done = new Set<string>()
    const walk = (path: string, above: readonly string[]): void => {
      if (above.includes(path)) cycles.add([...above.slice(above.indexOf(path)), path].join(" → "))
      if (done.has(path) || above.includes(path)) return
      const file = byPath.get(path)
      for (const { from } of file?.imports ?? []) if (file !== undefined && from.startsWith(".")) walk(target(file, from), [...above, path])
      done.add(path)
    }
    for (const { path } of files) walk(path, [])
    expect([...cycles]).toEqual([])
  })

  it("keeps Node out of what must load elsewhere: core, protocol, sdk, and all that the main entry reaches", () => {
    const reached = new Set<string>()
    const walk = (path: string): void => {
      if (reached.has(path)) return
      reached.add(path)
      const file = files.find((each) => each.path === path)
      for (const { from } of file?.imports ?? []) if (file !== undefined && from.startsWith(".")) walk(target(file, from))
    }
    walk("index.ts")
    const wrong = files
      .filter(({ path }) => reached.has(path) || ["core", "protocol", "sdk"].includes(folderOf(path)))
      .flatMap(({ path, imports }) =>
        imports.filter(({ from }) => isBuiltin(from)).map(({ from, line }) => `${path}:${line} imports ${from}`),
      )
    expect(wrong).toEqual([])
    expect(reached.size).toBeGreaterThan(10)
  })
})

describe("the dashboard", () => {
  it("knows of the house only what the API says: the protocol", () => {
    const outside = pages.flatMap(({ path, imports }) =>
      imports
        .map(({ from }) => ({
          from,
          to: from.startsWith(".") ? relative(dashboard, join(dashboard, dirname(path), from)).replaceAll("\\", "/") : from,
        }))
        .filter(({ to }) => to.startsWith("..") && !/^\.\.\/\.\.\/src\/protocol\/\w+\.ts$/.test(to))
        .map(({ from }) => `${path} imports ${from}`),
    )
    expect(outside).toEqual([])
    expect(pages.length).toBeGreaterThan(30)
  })

  it("asks one place what time it is, puts no text in as markup, and loads nothing from elsewhere", () => {
    const banned = /\bDate\.now\b|\bnew Date\(\)|dangerouslySetInnerHTML|\.innerHTML\b|\beval\(|https?:\/\/(?!www\.w3\.org)/
    const wrong = pages
      .filter(({ path }) => path !== "clock.ts")
      .flatMap(({ path, text }) => text.split("\n").flatMap((line, i) => (banned.test(line) ? [`${path}:${i + 1} ${line.trim()}`] : [])))
    expect(wrong).toEqual([])
  })

  it("takes no place of a folder from another: parts know no page, pages know no page", () => {
    const wrong = pages.flatMap(({ path, imports }) =>
      imports.filter(({ from }) => from.includes("/pages/") && path !== "routes.tsx").map(({ from }) => `${path} imports ${from}`),
    )
    expect(wrong).toEqual([])
  })
})

describe("every file", () => {
  it("has at most 400 lines", () => {
    const lines = (text: string): number => text.split("\n").length - (text.endsWith("\n") ? 1 : 0)
    expect([...files, ...pages].filter(({ text }) => lines(text) > 400).map(({ path, text }) => `${path}:${lines(text)}`)).toEqual([])
  })

  it("asks the ports for time and chance", () => {
    const banned =
      /\bDate\.now\b|\bnew Date\b(?!\s*\(\s*[^\s)])|\bperformance\.now\b|\bhrtime\b|\bMath\.random\b|\bset(?:Timeout|Interval|Immediate)\b|\brandomUUID\b|\bgetRandomValues\b/
    const wrong = files
      .filter(({ path }) => !isPort(path))
      .flatMap(({ path, text }) => text.split("\n").flatMap((line, i) => (banned.test(line) ? [`${path}:${i + 1} ${line.trim()}`] : [])))
    expect(wrong).toEqual([])
  })

  it("has no loose type", () => {
    const loose = /\bas any\b|:\s*any\b|<any>|@ts-ignore|@ts-expect-error|@ts-nocheck/
    const wrong = [...files, ...pages].flatMap(({ path, text }) =>
      text.split("\n").flatMap((line, i) => (loose.test(line) ? [`${path}:${i + 1}`] : [])),
    )
    expect(wrong).toEqual([])
  })

  it("imports its neighbours by their full name", () => {
    const wrong = [...files, ...pages].flatMap(({ path, imports }) =>
      imports
        .filter(({ from }) => from.startsWith(".") && !/\.(tsx?|css)$/.test(from) && !from.endsWith(".json"))
        .map(({ from, line }) => `${path}:${line} ${from}`),
    )
    expect(wrong).toEqual([])
  })

  it("writes SQL only in the store", () => {
    const sql = /`\s*(?:select|insert into|update|delete from|create table)\s/i
    const wrong = files
      .filter(({ path }) => !path.startsWith("store/"))
      .flatMap(({ path, text }) => {
        const at = text.search(sql)
        return at < 0 ? [] : [`${path}:${text.slice(0, at).split("\n").length}`]
      })
    expect(wrong).toEqual([])
  })

  it("that has a door or a port is still there", () => {
    const paths = new Set(files.map(({ path }) => path))
    const named = [...Object.keys(ports), ...Object.keys(doors), ...Object.values(doors).flat()]
    expect(named.filter((path) => !paths.has(path))).toEqual([])
  })
})

import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { codes } from "../src/core/errors.ts"
import { paths } from "../src/protocol/api.ts"
import { type Block, blocksOf, deadLinks, isPart, nameOf, pages, root, writeBlocks } from "./docs/blocks.ts"
import { commandsOf, program } from "./docs/cli.ts"
import { given } from "./docs/given.ts"
import { madePages, metricsOf } from "./docs/pages.ts"

const all = pages()
const blocks = all.flatMap(blocksOf)
const typescript = blocks.filter(({ language, flags }) => language === "ts" && !flags.includes("fragment"))
const run = promisify(execFile)
let folder = ""
let files = new Map<string, Block>()

beforeAll(() => {
  mkdirSync(join(root, ".fanfare"), { recursive: true })
  folder = mkdtempSync(join(root, ".fanfare", "docs-"))
  files = writeBlocks(typescript, folder)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Types as a user's project has them: strict, without this project's own stricter rules. */
async function typeErrors(of: readonly string[], more: readonly string[]): Promise<string> {
  const config = join(folder, more.length > 0 ? "parts.json" : "programs.json")
  const adapters = ["fastify", "hono", "koa", "lambda", "next", "node", "workers"].map((name) => [
    `fanfare/${name}`,
    [join(root, `src/sdk/adapters/${name}.ts`)],
  ])
  const compilerOptions = {
    noPropertyAccessFromIndexSignature: false,
    noUncheckedIndexedAccess: false,
    noUnusedLocals: false,
    noUnusedParameters: false,
    noImplicitReturns: false,
    declaration: false,
    allowImportingTsExtensions: true,
    types: ["node"],
    paths: {
      fanfare: [join(root, "src/index.ts")],
      ...Object.fromEntries(adapters),
      "fanfare/express": [join(root, "src/sdk/adapters/node.ts")],
      "fanfare/serve": [join(root, "src/sdk/serve.ts")],
      "fanfare/*": [join(root, "src/*.ts")],
      "#house/*.js": [join(root, "src/*.ts")],
    },
  }
  writeFileSync(config, JSON.stringify({ extends: join(root, "tsconfig.json"), compilerOptions, files: [...of, ...more], include: [] }))
  const tsc = join(root, "node_modules/typescript/bin/tsc")
  const { stdout } = await run(process.execPath, [tsc, "-p", config], { cwd: folder }).catch((error: { stdout: string }) => error)
  // Errors of this project's own source are another test's.
  const errors = stdout.split(/^(?=\S)/m).filter((error) => !error.startsWith(".."))
  return errors
    .join("")
    .replaceAll(/^(\S+\.ts)\((\d+),/gm, (_, file: string, line: string) => `${nameOf(join(folder, file), folder, files)} line ${line} (`)
}

describe("the pages", () => {
  it("lead somewhere with every link, also to headings", () => {
    expect(deadLinks(all, (path) => existsSync(join(root, path)))).toEqual([])
    const index = readFileSync(join(root, "docs/README.md"), "utf8")
    const shelves = all.filter(({ path }) => /^docs\/(start|learn|recipes|deploy|operate|migrate|reference|test)\//.test(path))
    expect(shelves.filter(({ path }) => !index.includes(`(${path.slice("docs/".length)})`)).map(({ path }) => path)).toEqual([])
    expect(shelves.length).toBeGreaterThan(30)
  })

  it("are short", () => {
    const long = all.filter(({ path, text }) => /^docs\/[a-z]+\//.test(path) && text.split("\n").length > 200)
    expect(long.map(({ path }) => path)).toEqual([])
    expect((all[0]?.text.split("\n").length ?? 0) - 1).toBeLessThanOrEqual(250)
  })

  it("that are made from the source are as the source is: npm run docs", async () => {
    for (const [path, text] of await madePages()) expect(readFileSync(join(root, "docs", path), "utf8"), path).toBe(text)
  })

  it("have every code of an error with its status and exit code, every path of the API and every variable of the environment", () => {
    const page = (path: string): string => readFileSync(join(root, "docs/reference", path), "utf8")
    const errors = page("errors.md")
    const missing = Object.entries(codes).filter(([code, { http, exit }]) => !errors.includes(`| \`${code}\` | ${http} | ${exit} |`))
    expect(missing.map(([code]) => code)).toEqual([])
    const api = page("http-api.md")
    expect(Object.values(paths).filter((path) => !api.includes(`${path}\``))).toEqual([])
    const metrics = new Set(metricsOf().map(({ name }) => name))
    const named = all.flatMap(({ text }) => text.match(/\bfanfare_[a-z]+_[a-z_]+\b/g) ?? [])
    expect(named.filter((name) => !metrics.has(name.replace(/_(bucket|sum|count)$/, "")))).toEqual([])
    const environment = page("environment.md")
    expect(variables().filter((name) => !environment.includes(`\`${name}\``))).toEqual([])
  })
})

/** Variables of Fanfare's own that the source names. */
function variables(): string[] {
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"))
  const names = sources.flatMap(
    (path) => readFileSync(join(root, "src", path), "utf8").match(/\bFANFARE_[A-Z_]+\b|\bDATABASE_URL\b/g) ?? [],
  )
  return [...new Set(names)]
}

describe("the code in the pages", () => {
  it("has types that fit", { timeout: 60_000 }, async () => {
    const file = join(folder, "given.ts")
    writeFileSync(file, given)
    const programs = [...files].filter(([, block]) => !isPart(block)).map(([file]) => file)
    const parts = [...files].filter(([, block]) => isPart(block)).map(([file]) => file)
    expect(await Promise.all([typeErrors(programs, []), typeErrors(parts, [file])])).toEqual(["", ""])
    expect(programs.length).toBeGreaterThan(40)
  })

  it("runs, and prints what the page says", { timeout: 60_000 }, async () => {
    const runnable = [...files].filter(([, { flags }]) => flags.includes("run"))
    const { stdout } = await run(process.execPath, [join(root, "test/docs/run-blocks.ts"), ...runnable.map(([file]) => file)], {
      cwd: folder,
    })
    const results = JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "[]") as { file: string; output: string; error: string | null }[]
    const seen = results.map(({ file, output, error }) => ({ block: nameOf(file, folder, files), output, error }))
    expect(seen).toEqual(
      runnable.map(([file, { output }], i) => ({ block: nameOf(file, folder, files), output: output ?? seen[i]?.output, error: null })),
    )
    expect(runnable.length).toBeGreaterThan(12)
  })

  it("names commands and options that there are", async () => {
    const commands = new Map(commandsOf(await program()).map(({ path, command }) => [path, command]))
    const groups = new Map(
      [...commands].flatMap(([path, command]) => (path.includes(" ") ? [[path.split(" ")[0] ?? "", command] as const] : [])),
    )
    const wrong = linesOfCommands(blocks).filter(({ words }) => {
      const named = commands.get(words.slice(0, 2).join(" ")) ?? commands.get(words[0] ?? "")
      const known = named !== undefined || groups.has(words[0] ?? "") || (words[0] ?? "").startsWith("-")
      const options =
        named === undefined
          ? [...commands].filter(([path]) => path.startsWith(`${words[0]} `)).flatMap(([, command]) => command.options)
          : named.options
      const flags = new Set(["--json", "--url", "--help", "--version", ...options.flatMap(({ long, short }) => [long ?? "", short ?? ""])])
      return !known || words.some((word) => /^--?[a-z][\w-]*$/.test(word) && !flags.has(word))
    })
    expect(wrong.map(({ at, line }) => `${at} ${line}`)).toEqual([])
  })
})

/** Lines of blocks that call the command line, by their words: quoted ones are one word. */
function linesOfCommands(of: readonly Block[]): { at: string; line: string; words: string[] }[] {
  return of
    .filter(({ language }) => language === "" || language === "sh")
    .flatMap((block) => block.text.split("\n").map((line) => ({ at: `${block.page}:${block.line}`, line })))
    .flatMap(({ at, line }) => {
      const command = /^(?:[A-Z_]+=\S+ )*(?:npx )?fanfare +([a-z-].*?)(?: *(?:#|\||&&|;).*)?$/.exec(line)?.[1]
      return command === undefined ? [] : [{ at, line, words: command.replaceAll(/'[^']*'|"[^"]*"/g, "TEXT").split(/\s+/) }]
    })
}

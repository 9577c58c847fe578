import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, describe, expect, it } from "vitest"

const source = (path: string): string => new URL(`../../src/${path}`, import.meta.url).href
const folder = mkdtempSync(join(tmpdir(), "fanfare-files-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

// What `fanfare dev` does with files before anything runs, in one process for all cases: Node itself has to import them.
const script = `
  import { findFiles } from ${JSON.stringify(source("cli/dev/files.ts"))}
  import { explainImport } from ${JSON.stringify(source("cli/dev/import-error.ts"))}
  const said = []
  for (const { at, file } of JSON.parse(process.argv[1])) {
    process.chdir(at)
    try {
      const { files } = await findFiles(file, false)
      for (const each of files) await import(each).catch((error) => { throw explainImport(error, each) })
      said.push({})
    } catch ({ code, message, hint }) { said.push({ code, message, hint }) }
  }
  console.log(JSON.stringify(said))
`

const app = `import { Fanfare } from ${JSON.stringify(source("index.ts"))}\n`
const made = `export const fanfare = new Fanfare({ id: "shop" })\n`
const named = "app.ts"
const trigger = `fanfare.createFunction({ id: "a", triggers: [{ evnt: "x" }] }, () => {})\n`
const cases: readonly (readonly [what: string, files: Readonly<Record<string, string>>, file: string | undefined, said: RegExp])[] = [
  ["a syntax error", { "app.ts": `${app}export const f = new Fanfare({ id: "shop" }\n` }, named, /^app.ts:2: SyntaxError: Expected ','/],
  ["what is more than types", { "app.ts": `${app}enum Color { Red }\n${made}` }, named, /^app.ts:2: .*enum.*\n.*write a const object/],
  ["a missing ending", { "app.ts": `${app}import "./other"\n${made}`, "other.ts": "" }, named, /other.*\n.*write "….ts" at its end/],
  ["a missing package", { "app.ts": `${app}import "nowhere-to-be"\n${made}` }, named, /app.ts.*\nInstall it: npm install nowhere-to-be/],
  ["a wrong trigger", { "app.ts": app + made + trigger }, named, /^app.ts:3: function "a": .*"evnt"/],
  ["CommonJS", { "app.ts": app + made, "package.json": '{"type":"commonjs"}' }, named, /^app.ts:1: .*\n.*npm pkg set type=module/],
  ["a folder", {}, ".", /is a folder\nName the file in it/],
  ["no such file", {}, named, /^there is no file/],
  [
    "a config with a typing error",
    { "fanfare.config.mjs": 'export default { functons: "a.ts" }' },
    undefined,
    /"functons"; known are functions/,
  ],
  ["a config without functions", { "fanfare.config.mjs": "export default {}" }, undefined, /functions must name at least one file/],
  ["a config without a default", { "fanfare.config.mjs": "export const x = 1" }, undefined, /it has no default export/],
  ["a config that breaks", { "fanfare.config.mjs": "export default {" }, undefined, /^fanfare.config.mjs: SyntaxError/],
]

describe("the user's files", () => {
  it("are refused with the line of what is wrong, and what to do about it", async () => {
    const asked = cases.map(([, files, file], i) => {
      const at = join(folder, String(i))
      mkdirSync(at)
      for (const [name, text] of Object.entries(files)) writeFileSync(join(at, name), text)
      return { at, file }
    })
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script, JSON.stringify(asked)])
    const said = JSON.parse(stdout) as { code?: string; message?: string; hint?: string }[]
    expect(said.map(({ message, hint }, i) => [cases[i]?.[0], `${message}\n${hint ?? ""}`])).toEqual(
      cases.map(([what, , , expected]) => [what, expect.stringMatching(expected)]),
    )
  })
})

import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "vitest"

const cli = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "fanfare-setup-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function fanfare(cwd: string, ...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
    cwd,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  })
  return { code: status, out: stdout, err: stderr }
}
const read = (...path: string[]): string => readFileSync(join(folder, ...path), "utf8")

describe("fanfare init", () => {
  it("begins a project that says how to go on", () => {
    const { code, out } = fanfare(folder, "init", "New Shop!")
    expect(code).toBe(0)
    expect(out).toContain("made   app.ts")
    expect(out).toContain("npm install")
    expect(JSON.parse(read("New Shop!", "package.json"))).toMatchObject({
      name: "new-shop",
      type: "module",
      scripts: { dev: "fanfare dev app.ts", start: "node server.ts" },
      dependencies: { fanfare: expect.stringMatching(/^\^\d/) },
    })
    expect(read("New Shop!", "app.ts")).toContain('new Fanfare({ id: "new-shop" })')
  })

  it("leaves alone what is there, to the byte, and adds to package.json only what it lacks", () => {
    mkdirSync(join(folder, "old"))
    const own = '{ "name": "old", "scripts": { "dev": "my own" }, "dependencies": { "typescript": "5.9.0" }, "custom": [1] }'
    writeFileSync(join(folder, "old", "package.json"), own)
    writeFileSync(join(folder, "old", "app.ts"), "// mine\n")
    const first = JSON.parse(fanfare(join(folder, "old"), "init", "--json").out) as Record<string, string[]>
    expect(first["kept"]).toEqual(["app.ts"])
    expect(first["added"]).toEqual(["script start", "script types", "fanfare", "@types/node"])
    expect(read("old", "app.ts")).toBe("// mine\n")
    const manifest = JSON.parse(read("old", "package.json")) as Record<string, unknown>
    expect(manifest).toMatchObject({ name: "old", custom: [1], scripts: { dev: "my own" }, dependencies: { typescript: "5.9.0" } })
    expect(manifest).not.toHaveProperty("type")
    const before = ["package.json", "app.ts", "server.ts", "tsconfig.json", ".gitignore"].map((file) => read("old", file))
    const again = fanfare(join(folder, "old"), "init")
    expect(again.out).toContain("left   package.json, which has all of it")
    expect(["package.json", "app.ts", "server.ts", "tsconfig.json", ".gitignore"].map((file) => read("old", file))).toEqual(before)
  })

  it("makes nothing beside a package.json that it cannot read", () => {
    mkdirSync(join(folder, "broken"))
    writeFileSync(join(folder, "broken", "package.json"), "{ not json")
    const { code, err } = fanfare(join(folder, "broken"), "init")
    expect(code).toBe(2)
    expect(err).toContain("is not the JSON of a package")
    expect(read("broken", "package.json")).toBe("{ not json")
    expect(readdirSync(join(folder, "broken"))).toEqual(["package.json"])
  })
})

describe("fanfare completion", () => {
  it("completes commands and options in bash", () => {
    writeFileSync(join(folder, "fanfare.bash"), fanfare(folder, "completion", "bash").out)
    const complete = (...words: string[]): string[] => {
      const list = ["fanfare", ...words].map((word) => `"${word}"`).join(" ")
      const script = `source ./fanfare.bash; COMP_WORDS=(${list}); COMP_CWORD=${words.length}; _fanfare; echo "\${COMPREPLY[@]}"`
      return execFileSync("bash", ["-c", script], { cwd: folder, encoding: "utf8" }).trim().split(" ")
    }
    expect(complete("se")).toEqual(["send"])
    expect(complete("runs", "re")).toEqual(["replay", "retry"])
    expect(complete("runs", "list", "--state", "failed", "--fu")).toEqual(["--function"])
    expect(complete("fanouts", "--json", "c")).toEqual(["cancel"])
  })

  it("has a script for zsh and for fish too, with what each command is for, and for no other shell", () => {
    expect(fanfare(folder, "completion", "zsh").out).toMatch(/^#compdef fanfare\n[\s\S]*'why:why a run is not running'/)
    expect(fanfare(folder, "completion", "fish").out).toContain("-f -a why -d 'why a run is not running'")
    expect(fanfare(folder, "completion", "tcsh")).toMatchObject({ code: 2, err: expect.stringContaining("bash, zsh, fish") })
  })
})

import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const cli = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const entry = new URL("../../src/index.ts", import.meta.url).href
const folder = mkdtempSync(join(tmpdir(), "fanfare-schedules-"))
let dev: ChildProcess
let said = ""
let url = ""

const app = `
import { Fanfare } from ${JSON.stringify(entry)}
export const fanfare = new Fanfare({ id: "shop" })
fanfare.createFunction({ id: "nightly", triggers: [{ cron: "30 2 * * *", timezone: "Europe/Paris", overlap: "skip" }] }, () => "done")
fanfare.createFunction({ id: "digest", triggers: [{ event: "shop/digest.due" }] }, ({ event }) => event.data)
fanfare.createFunction({ id: "subscribe", triggers: [] }, async ({ event }) => {
  const made = await fanfare.schedules.upsert({ id: "user-7", every: "1h", event: "shop/digest.due", data: { user: 7 }, tag: "users" })
  return made.id
})
`

async function fanfare(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, FANFARE_URL: url, NO_COLOR: "1" }
    execFile(process.execPath, [cli, ...args], { cwd: folder, env }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
    )
  })
}

beforeAll(async () => {
  writeFileSync(join(folder, "app.ts"), app)
  dev = spawn(process.execPath, [cli, "dev", "app.ts", "--port", "0"], { cwd: folder, env: { ...process.env, NO_COLOR: "1" } })
  dev.stderr?.on("data", (chunk: Buffer) => {
    said += chunk.toString()
  })
  for (let i = 0; i < 600 && !said.includes("stop: Ctrl-C"); i++) await new Promise((resolve) => setTimeout(resolve, 50))
  url = /API\s+(http:\S+?)\/api/.exec(said)?.[1] ?? ""
}, 40_000)
afterAll(async () => {
  dev.kill("SIGTERM")
  await once(dev, "exit")
  rmSync(folder, { recursive: true, force: true })
})

describe("fanfare schedules", { timeout: 60_000 }, () => {
  it("lists and shows those of cron triggers and those that code makes at run time", async () => {
    expect(await fanfare("trigger", "subscribe", "--watch")).toMatchObject({ code: 0 })
    const list = await fanfare("schedules", "list")
    expect(list.out).toMatch(/shop-nightly\s+30 2 \* \* \*\s+Europe\/Paris\s+function shop-nightly/)
    expect(list.out).toMatch(/shop-user-7\s+every 1 h 0 min\s+event shop\/digest.due/)
    const tagged = await fanfare("schedules", "--tag", "users", "--json")
    expect(JSON.parse(tagged.out)).toMatchObject({ items: [{ id: "shop-user-7", tag: "users", data: '{"user":7}' }], next: null })
    expect((await fanfare("schedules", "show", "nightly")).out).toMatch(/overlap {2}skip {3}missed latest/)
    expect(await fanfare("schedules", "show", "weekly")).toMatchObject({ code: 5, err: expect.stringContaining('no schedule "weekly"') })
  })

  it("previews a schedule, and a cron line without a server", async () => {
    const next = await fanfare("schedules", "next", "nightly", "-n", "3", "--json")
    expect((JSON.parse(next.out) as { items: unknown[] }).items).toHaveLength(3)
    const line = await fanfare("schedules", "next", "30 2 29 3 *", "--tz", "Europe/Paris", "-n", "30", "--url", "http://127.0.0.1:1")
    expect(line).toMatchObject({ code: 0, out: expect.stringContaining("the clocks go forward") })
    expect(await fanfare("schedules", "next", "30 2 31 2 *")).toMatchObject({ code: 2, err: expect.stringContaining("never fires") })
    expect(await fanfare("schedules", "next", "nightly", "-n", "0")).toMatchObject({ code: 2 })
  })

  it("pauses with a note, resumes, runs and backfills", async () => {
    expect((await fanfare("schedules", "pause", "nightly", "--note", "mail moves")).out).toMatch(/paused since .*: mail moves/)
    expect((await fanfare("schedules", "list")).out).toContain("mail moves")
    expect((await fanfare("schedules", "resume", "nightly")).out).toMatch(/shop-nightly {2}next \d{4}/)
    expect(await fanfare("schedules", "run", "nightly")).toMatchObject({ code: 0, out: expect.stringMatching(/^▶ run_/) })
    const range = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-08T00:00:00Z"]
    expect((await fanfare("schedules", "backfill", "nightly", ...range)).out).toContain("7 moments started, 0 were in the ledger before")
    expect((await fanfare("schedules", "backfill", "nightly", ...range, "--json")).out).toContain('{"started":0,"known":7}')
    expect((await fanfare("schedules", "show", "nightly")).out).toMatch(/2026-01-07T01:30:00Z\s+backfilled\s+run_/)
    const wrong = await fanfare("schedules", "backfill", "nightly", "--from", "2026-01-02", "--to", "2026-01-01")
    expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("from lies after to") })
    expect(await fanfare("schedules", "backfill", "nightly")).toMatchObject({ code: 2 })
  })

  it("says when nothing answers", async () => {
    expect(await fanfare("schedules", "list", "--url", "http://127.0.0.1:1")).toMatchObject({ code: 3 })
  })
})

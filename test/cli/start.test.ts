import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, describe, expect, it } from "vitest"
import { settingsOf } from "../../src/cli/start-settings.ts"
import { Fanfare } from "../../src/index.ts"
import { serve } from "../../src/sdk/adapters/node.ts"
import { program } from "../docs/cli.ts"

const cli = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "fanfare-start-"))
const signingKey = "00112233445566778899aabbccddeeff"
const eventKey = "event-key-0123456789"
const keys = { FANFARE_SIGNING_KEY: signingKey, FANFARE_EVENT_KEY: eventKey }
const children: ChildProcess[] = []
const servers: Server[] = []
let stores = 0
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null) continue
    child.kill("SIGTERM")
    await once(child, "exit")
  }
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const clean = { PATH: process.env["PATH"], NO_COLOR: "1" }

/** A server of the command line; resolves with its URL when it says that it is ready. */
async function run(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ url: string; said: () => string; child: ChildProcess }> {
  const child = spawn(process.execPath, [cli, ...args, "--port", "0", "--json"], { cwd: folder, env: { ...clean, ...env } })
  children.push(child)
  let said = ""
  let out = ""
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()))
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()))
  for (let i = 0; i < 400; i++) {
    const line = out.split("\n").find((each) => each.includes('"event":"ready"'))
    if (line !== undefined) return { url: (JSON.parse(line) as { url: string }).url, said: () => said + out, child }
    if (child.exitCode !== null) break
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`it did not start: ${said}`)
}

function command(args: readonly string[], env: Record<string, string>): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { cwd: folder, env: { ...clean, ...env } }, (error, out, err) =>
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err }),
    )
  })
}

async function app(options: { url?: string; signingKey?: string }): Promise<string> {
  const client = new Fanfare({ id: "shop" })
  client.createFunction({ id: "greet", triggers: [{ event: "shop/greet" }] }, ({ event, step }) =>
    step.run("greet", () => `hello ${String(event.data["name"])}`),
  )
  const server = createServer(serve({ client, ...options }))
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/fanfare`
}

describe("fanfare start", () => {
  it("with keys serves everybody who has them: an app registers, an event runs, and only the key's owner sees it", {
    timeout: 60_000,
  }, async () => {
    const self = await app({ signingKey })
    const db = join(folder, `${++stores}.db`)
    const { url, child } = await run(["start", "--db", db, "--allow", "loopback", "-u", self], keys)
    const seen = { ...keys, FANFARE_URL: url }
    const apps = async (): Promise<string> => (await command(["apps", "--json"], seen)).out
    for (let i = 0; i < 20 && !(await apps()).includes("shop-greet"); i++) await new Promise((resolve) => setTimeout(resolve, 100))
    expect(JSON.parse(await apps())).toMatchObject({ items: [{ id: "shop", url: self, functionIds: ["shop-greet"] }] })
    expect((await command(["send", "shop/greet", "--data", '{"name":"Ada"}', "--watch"], seen)).code).toBe(0)
    const runs = await command(["runs", "--json"], seen)
    expect(JSON.parse(runs.out)).toMatchObject({ items: [{ functionId: "shop-greet", state: "completed" }] })
    const stranger = await command(["runs"], { FANFARE_URL: url })
    expect(stranger).toMatchObject({ code: 3, err: expect.stringContaining("a key of this server") as string })
    child.kill("SIGTERM")
    const [code] = (await once(child, "exit")) as [number]
    expect(code).toBe(0)
  })

  it("without keys serves this machine only and says so, or does not start where that would not be safe", { timeout: 60_000 }, async () => {
    const { url } = await run(["start", "--db", join(folder, `${++stores}.db`)])
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:/)
    expect(await (await fetch(`${url}/ready`)).json()).toEqual({ status: 200, message: "OK" })
    for (const [args, env, field] of [
      [[], { NODE_ENV: "production" }, "no keys"],
      [["--host", "0.0.0.0"], {}, "without keys"],
      [[], { FANFARE_SIGNING_KEY: signingKey }, "event key"],
      [[], { FANFARE_SIGNING_KEY: "secret", FANFARE_EVENT_KEY: eventKey }, "hexadecimal"],
    ] as const) {
      const { code, err } = await command(["start", "--port", "0", "--db", join(folder, `${++stores}.db`), ...args], env)
      expect([code, err]).toEqual([2, expect.stringContaining(field)])
      expect(err).not.toContain("secret")
    }
  })
})

describe("the settings of fanfare start", () => {
  const env = { FANFARE_PORT: "9000", FANFARE_HOST: "10.0.0.1", FANFARE_CONCURRENCY: "7", FANFARE_ALLOW: "loopback, 10.0.0.0/8", ...keys }
  it("come from flags, then the environment, then the config file", () => {
    const config = { port: 9100, concurrency: 9, retentionDays: 5, logs: "json", apps: ["https://a.example"], eventsPerSecond: 50 } as const
    const { server, urls } = settingsOf({ port: 8000 }, { ...env, FANFARE_SDK_URL: "https://b.example" }, config)
    expect(server).toMatchObject({
      concurrency: 7,
      retentionDays: 5,
      logs: "json",
      http: { port: 8000, host: "10.0.0.1", allow: ["loopback", "10.0.0.0/8"], signingKeys: [signingKey], eventsPerSecond: 50 },
    })
    expect(urls).toEqual(["https://b.example"])
    expect(settingsOf({}, {}, config)).toMatchObject({ open: true, host: "127.0.0.1", urls: config.apps, server: { http: { port: 9100 } } })
  })

  it("have a variable for each flag", async () => {
    const source = readFileSync(fileURLToPath(new URL("../../src/cli/start-settings.ts", import.meta.url)), "utf8")
    const flags = ((await program()).commands.find((each) => each.name() === "start")?.options ?? [])
      .map(({ long }) => long?.slice(2) ?? "")
      .filter((name) => !["config", "json", "url"].includes(name))
    expect(flags.length).toBeGreaterThan(8)
    expect(flags.filter((name) => !source.includes(`FANFARE_${name.toUpperCase().replaceAll("-", "_")}`))).toEqual([])
  })

  it("name what is wrong", () => {
    for (const [given, field] of [
      [{ FANFARE_PORT: "x" }, "FANFARE_PORT"],
      [{ FANFARE_LOGS: "loud" }, "logs"],
      [{ FANFARE_CONCURRENCY: "1.5" }, "FANFARE_CONCURRENCY"],
    ] as const) {
      expect(() => settingsOf({}, given, {})).toThrow(expect.objectContaining({ code: "invalid_option", field }))
    }
  })

  it("have it run the functions of a config file, too", { timeout: 60_000 }, async () => {
    const place = mkdtempSync(join(folder, "config-"))
    const source = fileURLToPath(new URL("../../src/", import.meta.url))
    writeFileSync(
      join(place, "jobs.ts"),
      `import { Fanfare } from ${JSON.stringify(`${source}index.ts`)}
export const shop = new Fanfare({ id: "shop" })
shop.createFunction({ id: "greet", triggers: [{ event: "shop/greet" }] }, () => "hello")`,
    )
    const config = join(place, "fanfare.config.ts")
    writeFileSync(config, `export default { functions: "jobs.ts", db: ${JSON.stringify(join(place, "s.db"))} }`)
    const { url } = await run(["start", "--config", config])
    expect((await command(["send", "shop/greet", "--watch"], { FANFARE_URL: url })).code).toBe(0)
    writeFileSync(config, `export default { prot: 1 }`)
    expect(await command(["start", "--config", config], {})).toMatchObject({
      code: 2,
      err: expect.stringContaining('unknown field "prot"') as string,
    })
    expect((await command(["start", "--config", join(place, "none.ts")], {})).code).toBe(5)
  })
})

describe("fanfare dev -u", () => {
  it("calls the app at the URL, and notices when it changes and when it is gone", { timeout: 60_000 }, async () => {
    const server = await run(["dev", "-u", "http://127.0.0.1:1/api/fanfare", "--db", join(folder, `${++stores}.db`)])
    const self = await app({ url: server.url })
    const env = { FANFARE_URL: server.url }
    expect((await command(["apps", "--sync", self], env)).out).toContain("shop")
    expect((await command(["send", "shop/greet", "--data", '{"name":"Ada"}', "--watch"], env)).code).toBe(0)
    const gone = await command(["apps", "--sync", "http://127.0.0.1:1/"], env)
    expect(gone).toMatchObject({ code: 3, err: expect.stringContaining("ECONNREFUSED") as string })
    expect(server.said()).toContain("127.0.0.1:1")
  })
})

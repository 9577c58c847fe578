import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const cli = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const entry = new URL("../../src/index.ts", import.meta.url).href
const folder = mkdtempSync(join(tmpdir(), "fanfare-cli-"))
const file = join(folder, "app.ts")
let dev: ChildProcess
let url = ""
let said = ""

// The two functions of the README's shape, with a small list.
const app = (retries: number): string => `
import { Fanfare } from ${JSON.stringify(entry)}
export const fanfare = new Fanfare({ id: "notifications" })
async function getNotificationsToRun() { return Array.from({ length: 300 }, (_, i) => ({ i })) }
export const digest = fanfare.createFunction(
  { id: "slack-notification-cron", triggers: [{ cron: "0 9,12 * * MON,FRI" }] },
  async () => {
    const due = await getNotificationsToRun()
    await fanfare.send(due.map((notification) => ({ name: "app/notification.dispatched", data: { notification } })))
    return \`\${due.length} notifications dispatched\`
  },
)
export const post = fanfare.createFunction(
  { id: "send-slack-notification", triggers: [{ event: "app/notification.dispatched" }], retries: ${retries}, concurrency: { limit: 50 } },
  async ({ event, step, logger, attempt }) => { logger.info("posting", { attempt }); return step.run("post", () => event.data.notification) },
)
fanfare.createFunction({ id: "deadly", triggers: [{ event: "app/deadly" }], retries: 0 }, () => process.exit(7))
fanfare.createFunction({ id: "picky", triggers: [{ event: "app/picky" }], retries: 0 }, async ({ event }) => {
  const { existsSync } = await import("node:fs")
  if (event.data.i % 3 === 0 && !existsSync("fixed")) throw new Error("the deploy is bad: " + event.data.i)
})
fanfare.createFunction({ id: "patient", triggers: [{ event: "app/patient" }] }, async ({ step }) => step.waitForSignal("ok", { signal: "go on", timeout: "1d" }))
fanfare.createFunction({ id: "broken", triggers: [{ event: "app/broken" }], retries: 0 }, () => { throw new RangeError("always") })
`

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

function fanfare(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [cli, ...args],
      { env: { ...process.env, FANFARE_URL: url, NO_COLOR: "1" }, cwd: folder },
      (error, out, err) => {
        resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err })
      },
    )
  })
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${what} did not happen; said so far:\n${said}`)
}

beforeAll(async () => {
  writeFileSync(file, app(4))
  dev = spawn(process.execPath, [cli, "dev", "app.ts", "--port", "0"], { cwd: folder, env: { ...process.env, NO_COLOR: "1" } })
  dev.stderr?.on("data", (chunk: Buffer) => {
    said += chunk.toString()
  })
  // Its last line: all that it shows at the start is there.
  await until(() => said.includes("stop: Ctrl-C"), "dev to start")
  url = /API\s+(http:\S+?)\/api/.exec(said)?.[1] ?? ""
})
afterAll(async () => {
  if (dev.exitCode === null) {
    dev.kill("SIGTERM")
    await once(dev, "exit")
  }
  rmSync(folder, { recursive: true, force: true })
})

describe("fanfare dev", () => {
  it("shows functions and next moments, and a cron function triggered by hand fans out to the end", async () => {
    expect(said).toMatch(/slack-notification-cron\s+cron 0 9,12 \* \* MON,FRI {2}UTC {3}next \d{4}-\d\d-\d\dT(09|12):00Z/)
    const { code, out, err } = await fanfare("trigger", "slack-notification-cron", "--watch")
    expect({ code, err }).toMatchObject({ code: 0 })
    expect(out).toMatch(/^▶ run_\S+ {2}slack-notification-cron/)
    expect(err).toContain("100.0%  300/300  300 ok")
  })

  it("keeps the engine up while code is reloaded, and a broken file changes nothing", async () => {
    const status = async () => (await (await fetch(`${url}/api/v1/status`)).json()) as { nodeId: string }
    const { nodeId } = await status()
    writeFileSync(file, app(2))
    await until(() => said.includes("~ send-slack-notification"), "a reload")
    writeFileSync(file, `${app(3)}\nthrow new Error("not today")`)
    await until(() => said.includes("the version before keeps running"), "the refusal")
    await until(() => said.includes(`app.ts:${app(3).split("\n").length + 1}: not today`), "the line of the refusal")
    expect((await status()).nodeId).toBe(nodeId)
    const { out } = await fanfare("functions", "--json")
    const functions = JSON.parse(out) as { items: { localId: string; retries: number }[] }
    expect(functions.items.find(({ localId }) => localId === "send-slack-notification")?.retries).toBe(2)
    writeFileSync(file, app(2))
  })

  it("goes on when user code ends its own process: the run ends as failed, and others run", { timeout: 30_000 }, async () => {
    await fanfare("send", "app/deadly")
    const list = async (id: string): Promise<{ state: string; error: { name: string } | null }[]> =>
      (
        JSON.parse((await fanfare("runs", "list", "--json", "--function", id)).out) as {
          items: { state: string; error: { name: string } | null }[]
        }
      ).items
    await until(async () => (await list("deadly"))[0]?.state === "failed", "the deadly run to fail")
    expect((await list("deadly"))[0]?.error?.name).toBe("AttemptLost")
    expect((await fanfare("trigger", "slack-notification-cron", "--watch")).code).toBe(0)
  })
})

describe("commands", () => {
  it("send one event, a file of them, and refuse what is wrong before anything is written", async () => {
    const one = await fanfare("send", "app/notification.dispatched", "--data", '{"notification":{"i":1}}', "--id", "once", "--json")
    const again = await fanfare("send", "app/notification.dispatched", "--data", '{"notification":{"i":1}}', "--id", "once", "--json")
    expect(JSON.parse(again.out)).toEqual(JSON.parse(one.out))
    const clash = await fanfare("send", "app/notification.dispatched", "--data", '{"notification":{"i":2}}', "--id", "once")
    expect([clash.code, clash.err]).toEqual([1, expect.stringContaining('"once" was sent within the last 24 h')])
    const lines = join(folder, "lines.jsonl")
    writeFileSync(lines, Array.from({ length: 40 }, (_, i) => JSON.stringify({ notification: { i } })).join("\n"))
    const many = await fanfare("send", "app/notification.dispatched", "--file", lines, "--watch")
    expect([many.code, many.err]).toEqual([0, expect.stringContaining("40/40")])
    expect(await fanfare("send", "x", "--data", "{")).toMatchObject({ code: 2, err: expect.stringContaining("--data is not JSON") })
    expect(await fanfare("send", "x", "--data", "[1]")).toMatchObject({
      code: 2,
      err: expect.stringContaining("events[0].data must be an object"),
    })
    expect(await fanfare("send", "x", "--file", "nowhere.jsonl")).toMatchObject({ code: 2 })
  })

  it("send tells which run it started, waits for it, and says when nobody hears the name", async () => {
    const watched = await fanfare("send", "app/notification.dispatched", "--data", '{"notification":{"i":9}}', "--watch")
    expect(watched).toMatchObject({ code: 0, out: expect.stringMatching(/^✓ evt_\S+ {2}app\/notification.dispatched {2}run_/) })
    expect(watched.err).toMatch(/^run_\S+ {2}notifications-send-slack-notification {2}completed\n$/)
    expect(await fanfare("send", "app/broken", "--watch")).toMatchObject({
      code: 1,
      err: expect.stringContaining("failed: RangeError: always"),
    })
    const unheard = await fanfare("send", "app/notification.despatched")
    expect(unheard).toMatchObject({ code: 0, err: expect.stringContaining("no function has app/notification.despatched as a trigger") })
    expect(unheard.err).toContain("app/notification.dispatched")
  })

  it("show runs, follow them, and say by their exit code how it went", async () => {
    const list = JSON.parse((await fanfare("runs", "--json", "--state", "completed", "--limit", "2")).out) as {
      items: { id: string }[]
      next: string
    }
    expect(list.items).toHaveLength(2)
    expect(list.next).not.toBeNull()
    const shown = await fanfare("runs", "show", list.items[0]?.id ?? "")
    expect(shown.out).toMatch(/✓ run_/)
    const { out } = await fanfare("trigger", "broken", "--json")
    const { runId } = JSON.parse(out) as { runId: string }
    const watched = await fanfare("runs", "watch", runId)
    expect([watched.code, watched.out]).toEqual([1, expect.stringContaining("RangeError: always")])
    expect((await fanfare("trigger", "broken", "--watch")).code).toBe(1)
  })

  it("pause a function, change a limit, and say meanwhile why a run waits", { timeout: 90_000 }, async () => {
    const id = "notifications-send-slack-notification"
    const waiting = async (): Promise<string | undefined> => {
      const { out } = await fanfare("runs", "list", "--json", "--function", "send-slack-notification", "--limit", "1")
      const { items } = JSON.parse(out) as { items: { state: string; reason: string | null }[] }
      return items[0]?.reason ?? items[0]?.state
    }
    expect(await fanfare("functions", "pause", "send-slack-notification")).toMatchObject({
      code: 0,
      out: expect.stringContaining(`${id} is paused`),
    })
    await fanfare("send", "app/notification.dispatched", "--data", '{"notification":{"i":7}}')
    expect(await waiting()).toBe("its function is paused")
    expect((await fanfare("functions")).out).toContain("paused: new runs are kept in line")
    expect(await fanfare("limits", "set", `fn:${id}`, "0")).toMatchObject({ code: 0, out: expect.stringContaining("at most 0") })
    expect(await fanfare("functions", "resume", "send-slack-notification")).toMatchObject({ code: 0 })
    expect(await waiting()).toBe(`the limit fn:${id} is full: 0 of 0 places taken, set by hand`)
    expect((await fanfare("limits")).out).toMatch(/fn:\S+ +0 +0 \(set by hand, its runs say 50\) +1/)
    expect(await fanfare("limits", "reset", `fn:${id}`)).toMatchObject({ code: 0 })
    await until(async () => (await waiting()) === "completed", "the run to go on")
    expect(await fanfare("limits", "set", `fn:${id}`, "many")).toMatchObject({ code: 2 })
    expect(await fanfare("limits", "set", `fn:${id}`, "-1")).toMatchObject({ code: 2 })
    expect(await fanfare("functions", "pause", "nothing")).toMatchObject({ code: 5 })
    expect(await fanfare("functions", "pause", "broken", "--new-runs", "drop")).toMatchObject({
      code: 2,
      err: expect.stringContaining("newRuns"),
    })
  })

  it("let a fan-out loose with a canary, and repair it", async () => {
    const lines = join(folder, "picky.jsonl")
    writeFileSync(lines, Array.from({ length: 40 }, (_, i) => JSON.stringify({ i })).join("\n"))
    const planned = await fanfare("send", "app/picky", "--file", lines, "--dry-run")
    expect(planned).toMatchObject({
      code: 0,
      out: expect.stringMatching(/40 events would start 40 runs; nothing was sent\n {2}40 of notifications-picky/),
    })
    const sent = await fanfare("send", "app/picky", "--file", lines, "--canary", "6", "--watch")
    expect(sent).toMatchObject({ code: 1, err: expect.stringMatching(/paused: canary: 2 of the first 6 runs failed/) })
    const id = /fan_\w+/.exec(sent.out)?.[0] ?? ""
    expect(await fanfare("fanouts")).toMatchObject({ code: 0, out: expect.stringMatching(new RegExp(`paused +${id}`)) })
    const shown = JSON.parse((await fanfare("fanouts", "show", id, "--json")).out)
    expect(shown).toMatchObject({ state: "paused", completed: 4, failed: 2, queued: 34, failures: [{ count: 2 }] })
    expect((await fanfare("fanouts", "show", id)).out).toMatch(/Error: the deploy is bad: #.*\n/)
    writeFileSync(join(folder, "fixed"), "")
    const one = await fanfare("fanouts", "retry", id, "--run", shown.failures[0].runId, "--data", '{"i":3,"edited":true}')
    expect(one).toMatchObject({ code: 0, out: expect.stringContaining("1 runs set going again") })
    expect(await fanfare("fanouts", "retry", id)).toMatchObject({ code: 0, out: expect.stringContaining("1 runs set going again") })
    expect(await fanfare("fanouts", "watch", id)).toMatchObject({ code: 0 })
    expect(JSON.parse((await fanfare("fanouts", "show", id, "--json")).out)).toMatchObject({ state: "ended", completed: 40, failed: 0 })
    expect(await fanfare("fanouts", "resume", id)).toMatchObject({ code: 0 })
    expect(await fanfare("fanouts", "cancel", id)).toMatchObject({ code: 0, out: expect.stringContaining("0 runs cancelled") })
    expect(await fanfare("send", "app/picky", "--file", lines, "--rate", "0")).toMatchObject({
      code: 2,
      err: expect.stringContaining("rate is 0"),
    })
    expect(await fanfare("fanouts", "retry", id, "--data", "{}")).toMatchObject({ code: 2 })
  })

  it("say why a run waits, cancel and replay one, and do many only when told to", async () => {
    const { runId } = JSON.parse((await fanfare("trigger", "patient", "--json")).out) as { runId: string }
    await until(async () => (await fanfare("runs", "why", runId)).out.includes("waiting for the signal go on, until"), "the run to wait")
    const cancelled = await fanfare("runs", "cancel", runId, "--reason", "not needed")
    expect(cancelled).toMatchObject({ code: 0, out: expect.stringContaining("cancelled") })
    expect(await fanfare("runs", "why", runId)).toMatchObject({
      out: expect.stringContaining("has ended: cancelled  (RunCancelled: the run was cancelled: not needed)"),
    })
    expect(await fanfare("runs", "cancel", runId)).toMatchObject({ code: 1, out: expect.stringContaining("had ended") })
    expect(await fanfare("runs", "retry", runId)).toMatchObject({ code: 0, out: expect.stringContaining("set going again") })
    expect(await fanfare("runs", "retry", runId)).toMatchObject({ code: 2, err: expect.stringContaining("under way") })
    expect((await fanfare("runs", "cancel", runId)).code).toBe(0)
    const replay = JSON.parse((await fanfare("runs", "replay", runId, "--json")).out) as { runId: string }
    await until(async () => (await fanfare("runs", "why", replay.runId)).out.includes("the signal go on"), "the replay to wait")
    const sent = await fetch(`${url}/api/v1/signals`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"signal":"go on"}',
    })
    expect(await sent.json()).toEqual({ delivered: true, runId: replay.runId })
    expect((await fanfare("runs", "watch", replay.runId)).code).toBe(0)
    const counted = await fanfare("runs", "replay", "--function", "patient", "--since", "1h")
    expect(counted).toMatchObject({
      code: 0,
      out: expect.stringContaining("2 runs are meant. Nothing was done; to replay them, add --yes."),
    })
    expect((await fanfare("runs", "replay", "--function", "patient", "--yes")).out).toContain("2 runs replayed")
    expect((await fanfare("runs", "cancel", "--function", "patient", "--yes", "--json")).out).toContain('"state":"done"')
    expect(await fanfare("runs", "cancel", "--yes")).toMatchObject({ code: 2, err: expect.stringContaining("--function") })
    expect(await fanfare("runs", "replay", runId, "--from-step", "nope")).toMatchObject({
      code: 5,
      err: expect.stringContaining("It has: "),
    })
  })

  it("fail with the code that fits, and a sentence that helps", async () => {
    expect(await fanfare("runs", "show", "run_nowhere")).toMatchObject({
      code: 5,
      err: expect.stringContaining("there is no run run_nowhere"),
    })
    expect(await fanfare("trigger", "slack")).toMatchObject({ code: 5, err: expect.stringContaining("slack-notification-cron") })
    expect(await fanfare("runs", "list", "--state", "done")).toMatchObject({
      code: 2,
      err: expect.stringContaining("states are scheduled, ready"),
    })
    expect(await fanfare("rnus")).toMatchObject({ code: 2, err: expect.stringContaining("Did you mean runs?") })
    expect(await fanfare("functions", "--url", "http://127.0.0.1:9")).toMatchObject({
      code: 3,
      err: expect.stringContaining("nothing answers"),
    })
    expect(await fanfare("dev", "missing.ts")).toMatchObject({ code: 5 })
    expect(await fanfare("dev", "app.ts", "--port", "0")).toMatchObject({ code: 3, err: expect.stringContaining("in use by process") })
    expect(await fanfare("dev", "app.ts", "--port", "99999")).toMatchObject({ code: 2 })
  })

  it("know their version and help", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
    expect((await fanfare("--version")).out.trim()).toBe(version)
    const help = await fanfare("--help")
    for (const command of ["dev", "send", "trigger", "runs", "functions", "Exit codes"]) expect(help.out).toContain(command)
    for (const command of ["dev", "send", "trigger", "functions"]) {
      const one = await fanfare(command, "--help")
      expect(one).toMatchObject({ code: 0, out: expect.stringMatching(/Example[s]?: fanfare/) })
    }
  })
})

describe("the HTTP API", () => {
  const post = (path: string, body: string, type = "application/json"): Promise<Response> =>
    fetch(url + path, { method: "POST", headers: { "content-type": type }, body })

  it("answers with problems that name field and bound", async () => {
    const problem = async (response: Promise<Response>): Promise<unknown> => ({
      http: (await response).status,
      ...((await (await response).json()) as object),
    })
    expect(await problem(post("/api/v1/events", "{"))).toMatchObject({ http: 400, code: "not_json", field: "body" })
    expect(await problem(post("/api/v1/events", "[{}]"))).toMatchObject({ http: 400, code: "invalid_event", field: "events[0].name" })
    expect(await problem(post("/api/v1/events", '{"name":"x"}', "text/plain"))).toMatchObject({ http: 400, field: "content-type" })
    const large = JSON.stringify({ name: "x", data: { text: "x".repeat(600_000) } })
    expect(await problem(post("/api/v1/events", large))).toMatchObject({
      http: 413,
      code: "too_large",
      field: "events[0].data",
      bound: 524_288,
    })
    const many = JSON.stringify(Array.from({ length: 100_001 }, () => ({ name: "x" })))
    expect(await problem(post("/api/v1/events", many))).toMatchObject({ http: 413, code: "too_many", bound: 100_000 })
    expect(await problem(fetch(`${url}/api/v1/runs?limit=0`))).toMatchObject({ http: 400, field: "limit", bound: 500 })
    const part = (over: object) =>
      problem(post("/api/v1/sources/x", JSON.stringify({ from: 0, events: [], cursor: null, last: false, ...over })))
    expect(await part({ from: -1 })).toMatchObject({ http: 400, field: "from" })
    expect(await part({ events: [{ name: "" }] })).toMatchObject({ http: 400, field: "events[0].name" })
    expect(await problem(fetch(`${url}/api/nowhere`))).toMatchObject({ http: 404 })
    expect(await problem(fetch(`${url}/api/v1/fanouts/fan_x`))).toMatchObject({ http: 404 })
  })

  it("is found below the path at which a proxy has it, by the command line and by clients", async () => {
    const asked: string[] = []
    const proxy = createServer((incoming, answer) => {
      asked.push(incoming.url ?? "")
      answer.setHeader("content-type", "application/json")
      answer.end('{"items":[],"next":null}')
    })
    proxy.listen(0, "127.0.0.1")
    await once(proxy, "listening")
    const base = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/jobs/`
    expect((await fanfare("runs", "--url", base)).out).toBe("no runs\n")
    const { Fanfare } = await import("../../src/index.ts")
    await new Fanfare({ id: "elsewhere", url: base }).runs.list()
    proxy.close()
    expect(asked).toEqual(["/jobs/api/v1/runs?limit=20", "/jobs/api/v1/runs"])
  })

  it("is healthy, and takes sends of another process's client", async () => {
    expect(await (await fetch(`${url}/api/health`)).json()).toMatchObject({ status: "ok" })
    const { Fanfare } = await import("../../src/index.ts")
    const remote = new Fanfare({ id: "elsewhere", url })
    const { ids, fanoutId } = await remote.send([{ name: "app/nobody" }, { name: "app/nobody" }])
    expect([ids.length, fanoutId?.slice(0, 4)]).toEqual([2, "fan_"])
    const paced = await remote.send([{ name: "app/nobody" }, { name: "app/nobody" }], { canary: 1, rate: 10 })
    expect(await remote.fanouts.wait(paced.fanoutId ?? "")).toMatchObject({ state: "ended", total: 0, events: 2 })
    expect(await remote.fanouts.plan([{ name: "app/nobody" }])).toMatchObject({ events: 1, runs: 0 })
    await expect(remote.fanouts.resume(fanoutId ?? "")).rejects.toMatchObject({ code: "invalid_option" })
    const asked: (string | null)[] = []
    const pages = (broken: boolean) => (cursor: string | null) => {
      asked.push(cursor)
      const from = Number(cursor ?? 0)
      if (broken && from > 0) throw new Error("the source broke")
      return {
        items: Array.from({ length: 2_500 }, (_, i) => ({ name: "app/nobody", data: { i: from + i } })),
        next: from < 5_000 ? String(from + 2_500) : null,
      }
    }
    await expect(remote.fanOut({ id: "x y/z", source: pages(true) })).rejects.toThrow("the source broke")
    expect(await remote.fanOut({ id: "x y/z", source: pages(false) })).toMatchObject({
      items: 7_500,
      events: 7_500,
      runs: 0,
      cancelled: false,
    })
    expect(await remote.fanOut({ id: "x y/z", source: pages(true) })).toMatchObject({ items: 7_500 })
    expect(asked).toEqual([null, "2500", "2500", "5000"])
    expect(await remote.fanOut({ id: "none", source: [] })).toMatchObject({ items: 0 })
    await expect(remote.send({ name: "" })).rejects.toMatchObject({ code: "invalid_event", field: "events[0].name" })
    await expect(new Fanfare({ id: "nobody", url: "http://127.0.0.1:9" }).send({ name: "x" })).rejects.toMatchObject({
      code: "not_connected",
    })
  })
})

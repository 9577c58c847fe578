import { execFile } from "node:child_process"
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { createServer } from "../../src/server.ts"
import { systemClock } from "../../src/engine/system.ts"
import type { Db } from "../../src/store/db.ts"
import { examine } from "../../src/store/doctor.ts"
import { migrate } from "../../src/store/migrate.ts"
import { move } from "../../src/store/move.ts"
import { connect, parsePlace } from "../../src/store/place.ts"
import { startPostgres, type TestServer } from "./postgres.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-maintenance-"))
const run = promisify(execFile)
const ports = { ...systemClock, newId: randomUUID }
let server: TestServer
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** The CLI as users have it, but from the sources; gives what it printed and its exit code. */
async function cli(...args: string[]): Promise<{ out: string; error: string; code: number }> {
  const main = new URL("../../src/cli/main.ts", import.meta.url).pathname
  try {
    const { stdout, stderr } = await run(process.execPath, ["--disable-warning=ExperimentalWarning", main, ...args])
    return { out: stdout, error: stderr, code: 0 }
  } catch (thrown) {
    const { stdout, stderr, code } = thrown as { stdout: string; stderr: string; code: number }
    return { out: stdout, error: stderr, code }
  }
}

function createApp(): { app: Fanfare; done: number[] } {
  const done: number[] = []
  const app = new Fanfare({ id: "m" })
  app.createFunction({ id: "plain", triggers: [{ event: "m/plain" }] }, ({ event }) => void done.push(Number(event.data["i"])))
  app.createFunction({ id: "narrow", triggers: [{ event: "m/narrow" }], concurrency: { limit: 2 } }, async ({ step, event }) => {
    await step.run("first", () => event.data["i"])
    await step.sleep("a while", 4_000)
    done.push(1_000 + Number(event.data["i"]))
  })
  app.createFunction({ id: "daily", triggers: [{ cron: "0 9 * * *" }] }, () => null)
  return { app, done }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  expect.unreachable("it did not come about")
}

describe("fanfare migrate", () => {
  it("says what is to come, shows it, does it once, and then has nothing to do", async () => {
    const db = await server.database()
    expect(await cli("migrate", "--status", "--db", db)).toMatchObject({ code: 1, out: expect.stringContaining("schema 1  to come") })
    expect((await cli("migrate", "--dry-run", "--db", db)).out).toContain("create table event")
    expect((await cli("migrate", "--status", "--db", db)).code).toBe(1)
    expect((await cli("migrate", "--db", db)).out).toContain("schema 2 is in place")
    expect(await cli("migrate", "--status", "--db", db)).toMatchObject({ code: 0, out: expect.stringContaining("✓ schema 1") })
    expect((await cli("migrate", "--db", db)).out).toContain("nothing to do")
  })

  it("is safe when many begin at once", async () => {
    const db = await server.database()
    const results = await Promise.all(Array.from({ length: 4 }, () => cli("migrate", "--db", db, "--schema", "together")))
    expect(results.map(({ code, error }) => [code, error])).toEqual(Array.from({ length: 4 }, () => [0, ""]))
  })

  it("says what is wrong with a place", async () => {
    expect(await cli("migrate", "--db", "mysql://host/db")).toMatchObject({
      code: 2,
      error: expect.stringContaining("mysql is not a kind of store"),
    })
    expect(await cli("migrate", "--status", "--db", join(folder, "missing.db"))).toMatchObject({ code: 5 })
  })
})

describe("fanfare doctor", () => {
  it("finds a sound store sound, on both databases", async () => {
    const db = await server.database()
    await cli("migrate", "--db", db)
    const file = join(folder, "sound.db")
    await cli("migrate", "--db", file)
    for (const place of [db, file]) {
      const { out, code } = await cli("doctor", "--db", place, "--json")
      const { findings } = JSON.parse(out) as { findings: { name: string; state: string }[] }
      expect(code).toBe(0)
      expect(findings.filter(({ state, name }) => state !== "ok" && name !== "nodes")).toEqual([])
      expect(findings.length).toBeGreaterThan(7)
    }
  })

  it("says how to reach a server that it cannot reach", async () => {
    const place = parsePlace("postgres://u:p@127.0.0.1:1/d")
    expect(await examine(place, ports, false)).toMatchObject([
      { name: "connection", state: "bad", fix: expect.stringContaining("Check host and port") },
    ])
    expect(await cli("doctor", "--db", "postgres://u:p@127.0.0.1:1/d")).toMatchObject({ code: 1 })
  })

  it("finds what nothing leads to, long transactions and lax durability, and puts right what it can", async () => {
    const url = await server.database()
    const place = parsePlace(url)
    const { db, close } = await connect(place, ports, true)
    await migrate(db)
    await db.execute("insert into event (id, name, data, ts, received_at) values ('evt_1', 'e', '{}', 1, 1)")
    await db.execute("insert into run (id, function_id, event_id, created_at, rank) values ('run_1', 'f', 'evt_1', 1, 1)")
    await db.execute("insert into slot (limit_key, run_id) values ('k', 'run_9')")
    await db.execute(
      `insert into fanout (id, name, events, taken, total, completed, failed, cancelled, created_at, grown_at, sealed_at, ended_before, base_ended, base_failed, joins)
         values ('fan_1', 'e', 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0)`,
    )
    await db.execute(
      "insert into run (id, function_id, event_id, fanout_id, created_at, rank) values ('run_2', 'f', 'evt_1', 'fan_1', 1, 1)",
    )
    await db.execute(
      "insert into result (run_id, state, attempt, fingerprint, started_at, ended_at) values ('run_2', 'failed', 1, 'Error: no', 1, 2)",
    )
    await db.execute(
      "insert into failure_group (fanout_id, fingerprint, failures, first_at, last_at, run_id) values ('fan_1', 'Error: no', 5, 1, 2, 'run_2')",
    )
    await db.execute("insert into log (run_id, line, fence, at, level, message) values ('run_9', 0, 1, 1, 'info', 'hello')")
    await db.execute("alter database " + new URL(url).pathname.slice(1) + " set synchronous_commit = off")
    await close()
    const found = await examine(place, ports, false)
    const bad = found.filter(({ state }) => state === "bad").map(({ detail }) => detail)
    expect(bad).toEqual([
      expect.stringContaining("synchronous_commit is off"),
      expect.stringContaining("1 runs that stand nowhere"),
      expect.stringContaining("1 places in limits"),
      expect.stringContaining("1 steps, attempts and logs"),
      expect.stringContaining("1 fan-outs whose counts are not the truth"),
      expect.stringContaining("1 groups of failures"),
    ])
    await examine(place, ports, true)
    const again = await examine(place, ports, false)
    const mended = await connect(place, ports, true)
    expect(await mended.db.query("select completed, failed, cancelled from fanout")).toMatchObject([
      { completed: 0, failed: 1, cancelled: 0 },
    ])
    expect(await mended.db.query("select failures from failure_group")).toMatchObject([{ failures: 1 }])
    await mended.close()
    expect(again.filter(({ name }) => name === "orphans")).toMatchObject([{ state: "ok" }])
    expect(again.filter(({ name }) => name === "parked functions")).toMatchObject([{ detail: expect.stringContaining("f") }])
  })
})

describe("fanfare move", () => {
  const file = join(folder, "move.db")

  it("carries a live installation over: what waits goes on there, what is done stays done", { timeout: 60_000 }, async () => {
    const { app, done } = createApp()
    const first = await createServer({ client: app, db: file, logs: "none" })
    await first.start()
    await app.send(Array.from({ length: 300 }, (_, i) => ({ name: "m/plain", data: { i } })))
    await app.send(Array.from({ length: 6 }, (_, i) => ({ name: "m/narrow", data: { i }, id: `narrow ${i}` })))
    await until(() => done.length === 300)
    const url = await server.database()
    expect(await cli("move", "--from", `sqlite:${file}`, "--to", url)).toMatchObject({
      code: 3,
      error: expect.stringContaining("in use by process"),
    })
    await first.stop()
    expect(done.filter((i) => i >= 1_000).length).toBeLessThan(6)
    const moved = await cli("move", "--from", `sqlite:${file}`, "--to", url, "--json")
    expect(moved.code).toBe(0)
    expect(JSON.parse(moved.out)).toMatchObject({ tables: { run: 306, event: 306, event_key: 6, function: 3, schedule: 1 } })

    const second = await createServer({ client: app, db: url, logs: "none", http: { port: 0 } })
    await second.start()
    await until(() => done.filter((i) => i >= 1_000).length === 6)
    // The ids that senders gave are remembered too.
    await app.send({ name: "m/narrow", data: { i: 0 }, id: "narrow 0" })
    const runs = (await (await fetch(`${second.url}/api/v1/runs?limit=500`)).json()) as { items: { state: string }[] }
    expect(runs.items).toHaveLength(306)
    await second.stop()
    expect(done.toSorted((a, b) => a - b)).toEqual([
      ...Array.from({ length: 300 }, (_, i) => i),
      ...Array.from({ length: 6 }, (_, i) => 1_000 + i),
    ])
    expect(await examine(parsePlace(url), ports, false)).toContainEqual(expect.objectContaining({ name: "orphans", state: "ok" }))

    const back = await createServer({ client: createApp().app, db: file, logs: "none" })
    await expect(back.start()).rejects.toMatchObject({ code: "store_unfit", message: expect.stringContaining("was moved to postgres") })
    expect(await cli("move", "--from", `sqlite:${file}`, "--to", url)).toMatchObject({ code: 3 })
  })

  it("goes on where it was broken off, and lets no engine in meanwhile", { timeout: 60_000 }, async () => {
    const { app, done } = createApp()
    const from = join(folder, "resume.db")
    const engine = await createServer({ client: app, db: from, logs: "none" })
    await engine.start()
    await app.send(Array.from({ length: 5_000 }, (_, i) => ({ name: "m/plain", data: { i } })))
    await until(() => done.length === 5_000)
    await engine.stop()
    const url = await server.database()
    const source = await connect(parsePlace(from), ports, true)
    const target = await connect(parsePlace(url), ports, true)
    const broken = failing(target.db, 4)
    await expect(move(source.db, broken, "there", () => undefined)).rejects.toThrow("broken off")
    const [half] = await target.db.query<{ n: number }>("select (select count(*) from event) + (select count(*) from run) as n")
    expect(half?.n).toBeGreaterThan(0)
    expect(half?.n).toBeLessThan(10_000)
    const early = await createServer({ client: createApp().app, db: url, logs: "none" })
    await expect(early.start()).rejects.toMatchObject({
      code: "store_unfit",
      message: expect.stringContaining("being moved into this one"),
    })
    expect((await move(source.db, target.db, "there", () => undefined)).tables).toMatchObject({ event: 5_000, run: 5_000, result: 5_000 })
    await source.close()
    await target.close()
  })
})

/** A database that fails at the `n`-th statement that copies rows. */
function failing(db: Db, n: number): Db {
  let copies = 0
  return {
    ...db,
    dialect: db.dialect,
    query: (sql, params) => db.query(sql, params),
    tx: (work) => db.tx(work),
    now: () => db.now(),
    close: () => db.close(),
    execute: async (sql, params) => {
      if (sql.includes("on conflict do nothing") && ++copies === n) throw new Error("broken off")
      return db.execute(sql, params)
    },
  }
}

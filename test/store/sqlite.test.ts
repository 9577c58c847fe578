import { execFileSync } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, describe, expect, it } from "vitest"
import { systemClock } from "../../src/engine/system.ts"
import type { Db } from "../../src/store/db.ts"
import { migrate } from "../../src/store/migrate.ts"
import { sqlite } from "../../src/store/open-sqlite.ts"
import { openSqlite } from "../../src/store/sqlite.ts"
import { openReader, openStore } from "../../src/store/store.ts"
import { VirtualClock } from "../../src/testing/clock.ts"
import { flowConformance } from "./conformance-flow.ts"
import { storeConformance } from "./conformance.ts"
import type { StoreUnderTest } from "./opened.ts"
import { fanoutConformance } from "./fanout-conformance.ts"
import { lookConformance } from "./look-conformance.ts"
import { exercise, exerciseReader } from "./statements.ts"
import { waitsConformance } from "./waits.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-store-"))
let files = 0
const file = (): string => join(folder, `${files++}.db`)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const inMemory = async (): Promise<StoreUnderTest> => {
  const clock = new VirtualClock(Date.now())
  const opened = await sqlite(":memory:").open(clock)
  return { opened, clock, close: () => opened.store.close() }
}

waitsConformance("SQLite in memory", async () => {
  const clock = new VirtualClock(Date.now())
  const opened = await sqlite(":memory:").open(clock)
  return { opened, clock, close: () => opened.store.close() }
})

const inThreads = async (): Promise<StoreUnderTest> => {
  const opened = await sqlite(file()).open(systemClock)
  const close = async (): Promise<void> => {
    await opened.reader.close()
    await opened.store.close()
  }
  return { opened, clock: null, close }
}

for (const conformance of [storeConformance, fanoutConformance, lookConformance, flowConformance]) {
  conformance("SQLite in memory", inMemory)
  conformance("an SQLite file, in its threads", inThreads)
}

describe("an SQLite file", () => {
  it("is opened by a process whatever flags it was started with", () => {
    const [store, clock] = ["store/open-sqlite.ts", "engine/system.ts"].map((path) => new URL(`../../src/${path}`, import.meta.url).href)
    const script = `
      const { sqlite } = await import("${store}")
      const { systemClock } = await import("${clock}")
      const opened = await sqlite(process.argv[1]).open(systemClock)
      await opened.reader.close()
      await opened.store.close()`
    for (const flags of [[], ["--expose-gc", "--max-old-space-size=512"], ["--expose-gc", "--input-type=module"]]) {
      execFileSync(process.execPath, [...flags, "--eval", script, file()], { stdio: "pipe" })
    }
  })

  it("is readable by its owner only, in WAL, with FULL sync", async () => {
    const path = file()
    const opened = await sqlite(path).open(systemClock)
    await opened.store.pulse({ id: "node_a", host: "h", pid: 1, functionIds: [] }, true)
    for (const suffix of ["", "-wal", "-lock"]) expect(statSync(path + suffix).mode & 0o777, suffix).toBe(0o600)
    await opened.reader.close()
    await opened.store.close()
    const again = openSqlite({ file: path, clock: systemClock })
    expect(await again.query("pragma synchronous")).toMatchObject([{ synchronous: 2 }])
    expect(await again.query("pragma journal_mode")).toMatchObject([{ journal_mode: "wal" }])
    await again.close()
  })

  it("refuses a second engine, naming the process that has it, and lets one in after that has left", async () => {
    const path = file()
    const first = await sqlite(path).open(systemClock)
    await first.store.pulse({ id: "node_a", host: "somewhere", pid: 4711, functionIds: [] }, true)
    await expect(sqlite(path).open(systemClock)).rejects.toMatchObject({
      code: "store_in_use",
      message: expect.stringMatching(/in use by process 4711 on somewhere/),
    })
    await first.reader.close()
    await first.store.close()
    const second = await sqlite(path).open(systemClock)
    await second.reader.close()
    await second.store.close()
  })

  it("refuses what is not a database, a newer schema, and a foreign one, and leaves them as they are", async () => {
    const text = file()
    writeFileSync(text, "this is not a database, but long enough to be looked at as one. ".repeat(20))
    await expect(sqlite(text).open(systemClock)).rejects.toMatchObject({ code: "store_unfit" })

    const newer = file()
    const database = new DatabaseSync(newer)
    database.exec("create table migration (version bigint primary key not null, checksum text not null, applied_at bigint not null)")
    database.exec("insert into migration values (99, 'x', 0)")
    database.close()
    await expect(sqlite(newer).open(systemClock)).rejects.toMatchObject({
      code: "store_unfit",
      message: expect.stringContaining("newer than this program"),
    })

    const foreign = file()
    const other = new DatabaseSync(foreign)
    other.exec("create table migration (version bigint primary key not null, checksum text not null, applied_at bigint not null)")
    other.exec("insert into migration values (1, 'something else', 0)")
    other.close()
    await expect(sqlite(foreign).open(systemClock)).rejects.toMatchObject({
      code: "store_unfit",
      message: expect.stringContaining("different program"),
    })
  })

  it("says so when its folder cannot be written", async () => {
    const locked = join(folder, "file-not-folder")
    writeFileSync(locked, "")
    chmodSync(locked, 0o600)
    await expect(sqlite(join(locked, "jobs.db")).open(systemClock)).rejects.toMatchObject({ code: "store_failed", field: "db" })
  })

  it("is migrated once, and left alone after that", async () => {
    const db = openSqlite({ file: file(), clock: systemClock })
    await migrate(db)
    await migrate(db)
    expect(await db.query("select version from migration order by version")).toEqual([{ version: 1 }, { version: 2 }])
    await db.close()
  })

  it("says which SQLite it needs on a Node that has an older one", () => {
    // No such Node is at hand: the check is asked what it would say to that version.
    const script = `
      import { DatabaseSync } from "node:sqlite"
      const prepare = DatabaseSync.prototype.prepare
      DatabaseSync.prototype.prepare = function (sql) {
        return sql.includes("sqlite_version") ? { get: () => ({ version: "3.51.2" }) } : prepare.call(this, sql)
      }
      const { openSqlite } = await import(${JSON.stringify(new URL("../../src/store/sqlite.ts", import.meta.url).href)})
      try { openSqlite({ file: ":memory:", clock: { now: () => 0 } }) } catch (error) { console.log(error.code, error.message, error.hint) }`
    const said = execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" })
    expect(said).toMatch(
      /^store_unfit this Node has SQLite 3\.51\.2; Fanfare needs 3\.51\.3 or newer Older ones can corrupt a WAL file\. Use Node/,
    )
  })

  it("that is full refuses what is new with a clear error, and keeps what it has", async () => {
    const db = openSqlite({ file: ":memory:", clock: systemClock })
    const store = await openStore(db, systemClock)
    const pages = (await db.query<{ page_count: number }>("pragma page_count"))[0]?.page_count ?? 0
    await db.query(`pragma max_page_count = ${pages + 20}`)
    const events = (from: number) => ({
      changes: Array.from({ length: 50 }, (_, i) => ({
        kind: "event.add" as const,
        event: {
          id: `evt_${from + i}`,
          key: null,
          name: "a",
          data: JSON.stringify("x".repeat(500)),
          ts: 0,
          receivedAt: 0,
          fanoutId: null,
          sourceRunId: null,
        },
      })),
      guard: null,
      registry: null,
    })
    let accepted = 0
    await expect(async () => {
      for (;;) {
        await store.turn({ units: [events(accepted)], claim: null })
        accepted += 50
      }
    }).rejects.toMatchObject({ code: "store_failed", message: expect.stringContaining("full") })
    expect(await db.query("select count(*) as n from event")).toMatchObject([{ n: accepted }])
    await db.query(`pragma max_page_count = ${pages + 1_000}`)
    await store.turn({ units: [events(accepted)], claim: null })
    expect(await db.query("select count(*) as n from event")).toMatchObject([{ n: accepted + 50 }])
    await db.close()
  })
})

describe("the cost of a query", () => {
  /** Only what a statement was given, and walks that are short by nature, may be scanned. */
  const small = /^SCAN (json_each|\(|j$|f$|k$|c$|h$|p$|CONSTANT|node$|l$|lease$|function$|app$)/

  it("follows what it finds, not what is stored: every statement of the engine and of people's lists goes by an index", async () => {
    const texts = new Set<string>()
    const db = openSqlite({ file: ":memory:", clock: systemClock })
    const recorded = recording(db, texts)
    const store = await openStore(recorded, systemClock)
    texts.clear()
    await exercise(store, openReader(recorded))
    await exerciseReader(openReader(recorded))
    expect(texts.size).toBeGreaterThan(40)
    const scans: string[] = []
    for (const text of texts) {
      for (const { detail } of await db.query<{ detail: string }>(
        `explain query plan ${text}`,
        Array.from({ length: paramsOf(text) }, () => null),
      )) {
        if (detail.startsWith("SCAN") && !small.test(detail)) scans.push(`${detail} in ${text.replaceAll(/\s+/g, " ").slice(0, 150)}`)
      }
    }
    // Lists walk a page of the newest runs, and pruning a batch of the oldest ones: both end at their limit. The list of ready runs (s)
    // looks through the backlog, never the history; what is counted is counted up to 10,000. Fan-outs that were not announced yet (e),
    // runs to be cancelled (d), names that are waited for and operations under way are few, and looked at up to a limit.
    expect(
      scans.filter(
        (scan) =>
          !/^SCAN (r|x|e|operation|fanout|f|event_key|n|s|picked|limiter|ready|held|timer|t|watched|doomed|d|recall) /.test(`${scan} `),
      ),
    ).toEqual([])
    await db.close()
  })
})

function paramsOf(text: string): number {
  return Math.max(0, ...Array.from(text.matchAll(/\$(\d+)/g), (match) => Number(match[1])))
}

function recording(db: Db, texts: Set<string>): Db {
  return {
    ...db,
    query: (sql, params) => {
      texts.add(sql)
      return db.query(sql, params)
    },
    execute: (sql, params) => {
      texts.add(sql)
      return db.execute(sql, params)
    },
    each: (sql, rows) => {
      texts.add(sql)
      return db.each?.(sql, rows) ?? Promise.resolve([])
    },
    tx: (work) => db.tx((tx) => work(recording(tx, texts))),
  }
}

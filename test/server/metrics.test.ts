import { mkdtempSync, rmSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { createServer } from "../../src/server.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-metrics-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const line = /^(?:# (?:HELP|TYPE) [a-z_]+ .+|[a-z_]+(?:\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? -?[\d.e+-]+)$/

describe("metrics", () => {
  it("tell what waits and how late, what ended and how, what is measured of the node, and that no run is lost", async () => {
    const app = new Fanfare({ id: "shop" })
    app.createFunction({ id: "fine", triggers: [{ event: "shop/go" }] }, () => null)
    app.createFunction(
      { id: "fails", triggers: [{ event: "shop/go" }], retries: 1, backoff: { type: "fixed", base: "1s" } },
      ({ attempt }) => {
        throw new Error(`no ${attempt}`)
      },
    )
    app.createFunction({ id: "paused", triggers: [{ event: "shop/go" }] }, () => null)
    const db = join(folder, "metrics.db")
    const server = await createServer({ client: app, db, http: { port: 0 }, logs: "none" })
    await server.start()
    const scrape = async (): Promise<{ text: string; value: (series: string) => number | undefined }> => {
      const answer = await fetch(`${server.url}/metrics`)
      expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8")
      const text = await answer.text()
      const values = new Map(
        text
          .split("\n")
          .flatMap((each) => (each.startsWith("#") ? [] : [[each.slice(0, each.lastIndexOf(" ")), Number(each.split(" ").at(-1))]])),
      )
      return { text, value: (series) => values.get(series) }
    }
    await scrape()
    await fetch(`${server.url}/api/v1/functions/paused/pause`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    })
    await app.send([{ name: "shop/go" }, { name: "shop/go" }])
    let now = await scrape()
    for (; now.value('fanfare_runs_ended_total{function="shop-fails",state="failed"}') !== 2; now = await scrape()) await delay(50)
    expect(now.text.split("\n").filter((each) => each !== "" && !line.test(each))).toEqual([])
    expect(now.value('fanfare_runs_ended_total{function="shop-fine",state="completed"}')).toBe(2)
    expect(now.value('fanfare_retries_total{function="shop-fails"}')).toBe(2)
    expect(now.value("fanfare_runs_claimed_total")).toBe(6)
    expect(now.value("fanfare_events_accepted_total")).toBe(2)
    expect(now.value("fanfare_nodes")).toBe(1)
    expect(now.value("fanfare_orphan_runs")).toBe(0)
    expect(now.value('fanfare_ready_runs{function="shop-paused"}')).toBe(2)
    expect(now.value("fanfare_run_duration_seconds_count")).toBe(4)
    expect(now.value('fanfare_run_duration_seconds_bucket{le="+Inf"}')).toBe(4)
    expect(now.value("fanfare_commit_seconds_count")).toBeGreaterThan(3)
    expect(now.value('fanfare_event_loop_delay_seconds{quantile="1"}')).toBeLessThan(5)
    expect(now.value("process_resident_memory_bytes")).toBeGreaterThan(1e7)
    await server.stop()
    // A run that stands nowhere, as only a fault could make one.
    const store = new DatabaseSync(db)
    store.exec("delete from ready where run_id = (select min(run_id) from ready)")
    store.close()
    const again = await createServer({ db, http: { port: 0 }, logs: "none" })
    await again.start()
    const text = await (await fetch(`${again.url}/metrics`)).text()
    expect(text).toContain("\nfanfare_orphan_runs 1\n")
    await again.stop()
  })

  it("are shown to who has a key", async () => {
    const keys = {
      signingKeys: ["00112233445566778899aabbccddeeff"],
      eventKeys: ["event-key-0123456789"],
      readKeys: ["read-key-0123456789-0123456789abc"],
    }
    const server = await createServer({ db: join(folder, "keys.db"), http: { port: 0, ...keys }, logs: "none" })
    await server.start()
    expect((await fetch(`${server.url}/metrics`)).status).toBe(401)
    expect((await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${keys.readKeys[0]}` } })).status).toBe(200)
    await server.stop()
  })
})

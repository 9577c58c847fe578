import { mkdtempSync, rmSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { metrics as otel } from "@opentelemetry/api"
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  type MetricData,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics"
import { afterAll, describe, expect, it } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { toOpenTelemetry } from "../../src/otel/meter.ts"
import { histograms, metrics } from "../../src/server/metrics.ts"
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
    // What waits is not looked at anew each time.
    const isThere = (): boolean =>
      now.value('fanfare_runs_ended_total{function="shop-fails",state="failed"}') === 2 &&
      now.value('fanfare_ready_runs{function="shop-paused"}') === 2
    for (; !isThere(); now = await scrape()) await delay(50)
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

  it("are the same for an SDK of OpenTelemetry, also where no HTTP is served", async () => {
    const reader = new PeriodicExportingMetricReader({ exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE) })
    otel.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
    const app = new Fanfare({ id: "shop" })
    app.createFunction({ id: "once", triggers: [{ event: "shop/go" }] }, () => null)
    app.createFunction({ id: "paused", triggers: [{ event: "shop/go" }] }, () => null)
    const server = await createServer({ client: app, db: join(folder, "otel.db"), logs: "none" })
    await server.start()
    await app.functions.pause("paused")
    await app.send({ name: "shop/go" })
    const collect = async (): Promise<MetricData[]> =>
      (await reader.collect()).resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
    const named = (all: readonly MetricData[], name: string): MetricData | undefined =>
      all.find(({ descriptor }) => descriptor.name === name)
    let now = await collect()
    const isThere = (): boolean =>
      named(now, "fanfare.runs.ended")?.dataPoints.length === 3 && named(now, "fanfare.ready.runs") !== undefined
    for (; !isThere(); now = await collect()) await delay(20)
    const ended = { function: "shop-once", state: "completed" }
    expect(named(now, "fanfare.runs.ended")?.dataPoints).toContainEqual(expect.objectContaining({ attributes: ended, value: 1 }))
    expect(named(now, "fanfare.orphan.runs")?.dataPoints).toMatchObject([{ value: 0 }])
    expect(named(now, "fanfare.lateness")).toMatchObject({ descriptor: { unit: "s", description: expect.stringContaining("latest") } })
    expect(named(now, "fanfare.start.delay")).toMatchObject({ descriptor: { unit: "s" }, dataPoints: [{ value: { count: 1 } }] })
    // All that Prometheus gets, but for what has not happened yet.
    const silent = new Set(["fanfare_retries_total", "fanfare_ticks_total", "fanfare_agent_failures_total"])
    const all = [...metrics, ...histograms].map(({ name }) => name).filter((name) => name.startsWith("fanfare_") && !silent.has(name))
    const given = new Set(now.filter(({ dataPoints }) => dataPoints.length > 0).map(({ descriptor }) => descriptor.name))
    expect(all.filter((name) => !given.has(toOpenTelemetry(name).name))).toEqual([])
    await server.stop()
    // Nothing looks into the closed store any more.
    expect((await reader.collect()).errors).toEqual([])
    otel.disable()
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

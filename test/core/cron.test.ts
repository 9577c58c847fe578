import { describe, expect, it } from "vitest"
import { cronMoments, readCron } from "../../src/core/cron.ts"
import { seededRandom } from "../../src/testing/random.ts"
import { allZones, changes, differences, leftOutDays, sample } from "./dst.ts"

const iso = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString())

function moments(input: Parameters<typeof readCron>[0], after: string, n: number): (string | null)[] {
  const line = cronMoments(readCron(input, "t"), "t")
  const found: (string | null)[] = []
  let at: number | null = Date.parse(after)
  for (let i = 0; i < n && at !== null; i++) {
    at = line.next(at)
    found.push(iso(at))
  }
  return found
}

describe("a cron line at a change of the clocks", () => {
  it("gives what a look at every minute gives, in a sample of zones and changes (all of them: npm run dst)", { timeout: 60_000 }, () => {
    const random = seededRandom(20_401, "zones")
    const zones = Array.from({ length: 24 }, () => allZones[Math.floor(random.next() * allZones.length)] ?? "UTC")
    const found = [
      ...leftOutDays(),
      ...sample(changes(zones), 24, 7),
      ...sample(changes(["Australia/Lord_Howe", "Africa/Casablanca"]), 6, 7),
    ]
    expect(found.length).toBeGreaterThan(25)
    expect(found.flatMap(differences)).toEqual([])
  })

  it("by default fires once a day, whatever the clocks do, and every hour that passes", () => {
    const paris = { timezone: "Europe/Paris" }
    expect(moments({ cron: "30 2 * * *", ...paris }, "2026-03-28T12:00:00Z", 2)).toEqual([
      "2026-03-29T01:30:00.000Z",
      "2026-03-30T00:30:00.000Z",
    ])
    expect(moments({ cron: "30 2 * * *", ...paris }, "2026-10-24T12:00:00Z", 2)).toEqual([
      "2026-10-25T00:30:00.000Z",
      "2026-10-26T01:30:00.000Z",
    ])
    expect(moments({ cron: "0 * * * *", ...paris }, "2026-10-24T23:30:00Z", 3)).toEqual([
      "2026-10-25T00:00:00.000Z",
      "2026-10-25T01:00:00.000Z",
      "2026-10-25T02:00:00.000Z",
    ])
  })

  it("goes by the zone in the line as by the one beside it", () => {
    expect(readCron({ cron: "TZ=Europe/Paris 0 9 * * *" }, "t")).toEqual(readCron({ cron: "0 9 * * *", timezone: "Europe/Paris" }, "t"))
    expect(readCron({ cron: "CRON_TZ=UTC @daily" }, "t")).toMatchObject({ cron: "@daily", timezone: "UTC" })
    expect(() => readCron({ cron: "TZ=Europe/Paris 0 9 * * *", timezone: "UTC" }, "t")).toThrow(/two zones/)
  })

  it("finds rare moments far ahead, in zones whose clocks change, quickly", () => {
    const began = performance.now()
    expect(moments({ cron: "0 0 29 2 *", timezone: "America/New_York" }, "2096-03-01T00:00:00Z", 1)).toEqual(["2104-02-29T05:00:00.000Z"])
    expect(performance.now() - began).toBeLessThan(2_000)
  })

  it.each([
    [{ cron: "0 0 30 2 *" }, "t.cron"],
    [{ cron: "? * * * *" }, "t.cron"],
    [{ cron: "0 0 9 * * * 2030" }, "t.cron"],
    [{ cron: "0 9 * * *", timezone: "Mars/Base" }, "t.timezone"],
    [{ cron: "0 9 * * *", dst: { gap: "later" } }, "t.dst.gap"],
    [{ cron: "0 9 * * *", dst: { repeat: "twice" } }, "t.dst.repeat"],
    [{ cron: "0 9 * * *", dst: { fold: "first" } }, "t.dst.fold"],
  ])("refuses %j", (input, field) => {
    expect(() => readCron(input as never, "t")).toThrow(expect.objectContaining({ code: "invalid_trigger", field }))
  })
})

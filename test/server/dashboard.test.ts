import { gunzipSync } from "node:zlib"
import { get, type IncomingMessage } from "node:http"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { builtDashboard } from "../dashboard/built.ts"
import { type Demo, fill, startDemo } from "../dashboard/demo.ts"

let demo: Demo
let fanoutId: string

beforeAll(async () => {
  await builtDashboard()
  demo = await startDemo()
  fanoutId = (await fill(demo, 400)).fanoutId
}, 120_000)
afterAll(() => demo.close())

/** As it comes over the wire: not unpacked. */
async function raw(path: string, headers: Record<string, string>): Promise<{ response: IncomingMessage; body: Buffer }> {
  const response = await new Promise<IncomingMessage>((resolve) => void get(demo.url + path, { headers }, resolve))
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return { response, body: Buffer.concat(chunks) }
}

describe("the dashboard's files", () => {
  it("come with a policy that lets nothing in from elsewhere, and nothing inline", async () => {
    for (const path of ["/", "/runs/run_1", "/any/where"]) {
      const response = await fetch(demo.url + path)
      const html = await response.text()
      expect(response.status).toBe(200)
      expect(response.headers.get("cache-control")).toBe("no-cache")
      expect(response.headers.get("x-content-type-options")).toBe("nosniff")
      const policy = response.headers.get("content-security-policy") ?? ""
      expect(policy).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
      expect(policy).not.toMatch(/unsafe|https?:|\*/)
      expect(html).toContain('<base href="/"')
      expect(html).not.toMatch(/<script>|style=|https?:/)
    }
  })

  it("are kept for ever by their names, and zipped for who can unzip", async () => {
    const html = await (await fetch(demo.url)).text()
    const script = /src="\.(\/assets\/[^"]+)"/.exec(html)?.[1] ?? ""
    const zipped = await raw(script, { "accept-encoding": "gzip" })
    const plain = await raw(script, {})
    expect(zipped.response.headers).toMatchObject({ "content-encoding": "gzip", "cache-control": "public, max-age=31536000, immutable" })
    expect(gunzipSync(zipped.body).equals(plain.body)).toBe(true)
    expect(plain.response.headers["content-type"]).toBe("text/javascript; charset=utf-8")
  })

  it("are those that were built and no others", async () => {
    for (const path of ["/assets/nothing.js", "/assets/..%2f..%2fpackage.json", "/assets/%2e%2e/index.html", "/api/v1/nothing", "/api"]) {
      const { response, body } = await raw(path, {})
      expect([path, response.statusCode], body.toString().slice(0, 200)).toEqual([path, path.includes("index") ? 200 : 404])
    }
  })

  it("say which path they live below, unless that is no path", async () => {
    const base = async (prefix: string): Promise<string | undefined> =>
      /<base href="([^"]*)"/.exec(await (await fetch(demo.url, { headers: { "x-forwarded-prefix": prefix } })).text())?.[1]
    expect(await base("/tools/jobs")).toBe("/tools/jobs/")
    for (const bad of ["//evil.example", '/"><script>', "jobs", "https://evil.example", "/jobs/"]) expect(await base(bad)).toBe("/")
  })
})

describe("what people look at, over HTTP", () => {
  it("gives the map of a fan-out as letters, and the run of each", async () => {
    const cells = await (await fetch(`${demo.url}/api/v1/fanouts/${fanoutId}/cells`)).text()
    expect(cells).toHaveLength(400)
    expect([cells[6], cells[7], cells[11]]).toEqual(["c", "f", "f"])
    const { runId } = await demo.get<{ runId: string }>(`fanouts/${fanoutId}/cells/7`)
    expect(await demo.get(`runs/${runId}`)).toMatchObject({ state: "failed", data: '{"user":"u_7","plan":"pro"}' })
    for (const index of ["400", "-1", "100000", "x"]) {
      const answer = await fetch(`${demo.url}/api/v1/fanouts/${fanoutId}/cells/${index}`)
      expect([index, answer.ok]).toEqual([index, false])
    }
  })

  it("gives the beginnings of payloads when that is asked for, and how long they are", async () => {
    const { id } = (await demo.get<{ items: { id: string }[] }>("runs?function=send-digest&state=completed&limit=1")).items[0] ?? { id: "" }
    const whole = await demo.get<{ data: string; dataChars: number }>(`runs/${id}`)
    expect(whole.data).toHaveLength(whole.dataChars)
    expect(await demo.get(`runs/${id}?preview=5`)).toMatchObject({ data: whole.data.slice(0, 5), dataChars: whole.dataChars })
    expect((await fetch(`${demo.url}/api/v1/runs/${id}?preview=70000`)).status).toBe(400)
    const runs = await demo.get<{ items: object[] }>("runs?limit=1")
    expect(runs.items[0]).not.toHaveProperty("output")
  })

  it("groups failures across functions, and counts what has ended", { timeout: 20_000 }, async () => {
    const failures = await demo.get<{ items: { functionId: string; count: number; hours: number[] }[]; looked: number; more: boolean }>(
      "failures",
    )
    const digests = failures.items.filter(({ functionId }) => functionId === "shop-send-digest")
    expect(digests.map(({ count }) => count).toSorted((a, b) => a - b)).toEqual([4, 17])
    expect(failures.items.every(({ hours, count }) => hours.reduce((a, b) => a + b, 0) === count)).toBe(true)
    expect(failures.more).toBe(false)
    for (;;) {
      const activity = await demo.get<{ completed: number; failed: number; buckets: unknown[]; delay: { p95: number } }>(
        "activity?function=shop-send-digest",
      )
      if (activity.completed + activity.failed < 650) continue
      expect(activity).toMatchObject({ completed: 629, failed: 21 })
      expect(activity.buckets).toHaveLength(60)
      expect(activity.delay.p95).toBeGreaterThanOrEqual(0)
      break
    }
    expect((await fetch(`${demo.url}/api/v1/activity?range=2y`)).status).toBe(400)
    expect((await demo.get<{ items: { functionId: string }[] }>("functions/activity")).items.map(({ functionId }) => functionId)).toContain(
      "shop-send-digest",
    )
  })

  it("lists events without their data, and one with it", async () => {
    const page = await demo.get<{ items: { id: string; name: string }[]; next: string }>("events?limit=3")
    expect(page.items).toHaveLength(3)
    expect(page.items[0]).not.toHaveProperty("data")
    const next = await demo.get<{ items: { id: string }[] }>(`events?limit=3&after=${page.next}`)
    expect((next.items[0]?.id ?? "") < (page.items[2]?.id ?? "")).toBe(true)
    const [run] = (await demo.get<{ items: { eventId: string }[] }>(`runs?fanout=${fanoutId}&limit=1`)).items
    const id = run?.eventId ?? ""
    expect(await demo.get(`events/${id}?preview=4`)).toMatchObject({ id, data: '{"us', fanoutId })
    expect((await demo.get<{ items: unknown[] }>(`runs?event=${id}`)).items).toHaveLength(1)
    expect((await fetch(`${demo.url}/api/v1/events/evt_none`)).status).toBe(404)
  })
})

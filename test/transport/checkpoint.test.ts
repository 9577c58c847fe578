import { describe, expect, it } from "vitest"
import type { Recorder } from "../../src/core/attempt.ts"
import type { StepRecord } from "../../src/core/step.ts"
import { parseOps } from "../../src/protocol/ops.ts"
import { systemClock } from "../../src/engine/system.ts"
import { HttpTransport } from "../../src/transport/http.ts"
import { Workers } from "../../src/transport/workers.ts"
import { run } from "./run.ts"

const url = "http://127.0.0.1:1/api?fnId=app-f&stepId=step"
const app = { id: "app", url, sdk: "js:v4.24.0", framework: null, calls: { "app-f": url }, checksum: "" }

/** An attempt whose app tells of steps while it is called. `during`: what happens meanwhile; gives the app's answer. */
async function attempt(
  during: (tell: (item: string, ...ids: string[]) => Promise<boolean>, item: string) => Promise<object>,
  alone = true,
) {
  const kept: StepRecord[] = []
  const controller = new AbortController()
  const recorder: Partial<Recorder> = {
    closed: false,
    now: () => 1_000,
    async report(report) {
      if (report.kind !== "run" || !("output" in report)) throw new Error(`unexpected ${report.kind}`)
      const times = { dueAt: null, startedAt: 1, endedAt: 1 }
      const record: StepRecord = {
        key: report.key,
        kind: "run",
        state: "completed",
        attempts: 1,
        output: report.output,
        failure: null,
        ...times,
      }
      kept.push(record)
      return record
    },
  }
  const elsewhere: unknown[] = []
  const calls: Record<string, Record<string, unknown>>[] = []
  const tell = (item: string, ...ids: string[]): Promise<boolean> =>
    transport.checkpoint(run.id, item, parseOps(ids.map((id) => ({ id, op: "StepRun", name: id, data: id }))), 1)
  const transport: HttpTransport = new HttpTransport({
    workers: new Workers(systemClock, () => undefined),
    keys: null,
    kind: "dev",
    alone,
    keepElsewhere: async (runId, fence, steps) => elsewhere.push([runId, fence, steps.map(({ key }) => key)]) > 0,
    client: {
      async send({ body }) {
        calls.push(JSON.parse(body ?? "{}") as (typeof calls)[number])
        const answer = await during(tell, String(calls.at(-1)?.["ctx"]?.["qi_id"]))
        return { status: 206, headers: { "x-inngest-sdk": "x", "x-inngest-req-version": "2" }, body: JSON.stringify(answer) }
      },
    },
  })
  transport.learn({ functions: [], apps: [app] } as never)
  const outcome = await transport.execute({ run, steps: new Map(), signal: controller.signal, recorder: recorder as Recorder })
  return { outcome, kept, calls, tell, elsewhere }
}

const complete = [{ id: "complete", op: "RunComplete", name: "complete", data: "done" }]

describe("steps that are told of during a call", () => {
  it("are kept once, in one call", async () => {
    const seen = await attempt(async (tell, item) => {
      expect(await tell(item, "a", "b")).toBe(true)
      expect(await tell(item, "b")).toBe(true)
      return complete
    })
    expect(seen.outcome).toEqual({ kind: "completed", output: '"done"' })
    expect(seen.kept.map(({ key, output }) => [key, output])).toEqual([
      ["=a", '"a"'],
      ["=b", '"b"'],
    ])
    expect(seen.calls).toHaveLength(1)
    expect(seen.calls[0]?.["ctx"]?.["fn_id"]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  it("are refused when the attempt is over, is another one, or none", async () => {
    let told = ""
    const { tell } = await attempt(async (_, item) => {
      told = item
      return complete
    })
    expect(await tell(told, "late")).toBe(false)
    await attempt(async (during, item) => {
      expect(await during(`${item}7`, "a")).toBe(false)
      for (const odd of ["", "1", "-1.1", "9999.1", "x.y", "0.1e9"]) expect(await during(odd, "a")).toBe(false)
      return complete
    })
  })

  it("are not more than a run may have", async () => {
    const many = Array.from({ length: 600 }, (_, i) => `${i}`)
    const { outcome } = await attempt(async (tell, item) => {
      expect(await tell(item, ...many)).toBe(true)
      expect(await tell(item, ...many.map((id) => `x${id}`))).toBe(false)
      return complete
    })
    expect(outcome.kind).toBe("completed")
  })

  it("are kept under the fence of a run that another node may have", async () => {
    const { tell, elsewhere, kept } = await attempt(async (during, item) => {
      expect(await during(item, "here")).toBe(true)
      return complete
    }, false)
    expect(await tell("5.3", "there")).toBe(true)
    expect(kept).toHaveLength(1)
    expect(elsewhere).toEqual([[run.id, 3, ["=there"]]])
  })
})

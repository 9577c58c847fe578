import { describe, expect, it } from "vitest"
import { harness, start } from "./started.ts"

const go = [{ event: "t/go" }] as const

describe("a run that is done again", () => {
  const rules = { cancelOn: [{ event: "t/stop", match: "data.i" }], timeouts: { start: "1h", finish: "3h" }, retries: 0 } as const
  const all = async () => (await harness.runs()).map(({ state, error }) => (state === "waiting" ? state : error?.message))

  it("goes on where it stopped, with its rules anew: an event, too late a start and too late an end each cancel it", async () => {
    let broken = true
    let steps = 0
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, ...rules, concurrency: { limit: 1, mode: "run" } }, async ({ step }) => {
        await step.run("once", () => ++steps)
        if (broken) throw new Error("broken")
        await step.sleep("z", "1d")
      })
    })
    await app.send([1, 2, 3].map((i) => ({ name: "t/go", data: { i } })))
    await harness.advance("2h")
    expect(await all()).toEqual(["broken", "broken", "broken"])
    broken = false
    const [third, second, first] = await harness.runs()
    if (first === undefined || second === undefined || third === undefined) throw new Error("three runs expected")
    expect(await app.runs.retry(first.id)).toMatchObject({ id: first.id, endedAt: null })
    await harness.settle()
    await app.runs.retry(second.id)
    await harness.advance("1m")
    await app.runs.retry(third.id)
    await app.send({ name: "t/stop", data: { i: 3 } })
    await harness.advance("1m")
    expect((await all())[0]).toContain("the event t/stop")
    await harness.advance("1h")
    expect((await all())[1]).toContain("timeouts.start")
    expect((await all())[2]).toBe("waiting")
    await harness.advance("2h")
    expect((await all())[2]).toContain("timeouts.finish")
    expect(steps).toBe(3)
  })

  it("with many others has them as well, whether it goes on or is begun anew", async () => {
    let broken = true
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, ...rules }, async ({ step }) => {
        if (broken) throw new Error("broken")
        await step.sleep("z", "1d")
      })
    })
    await app.send([1, 2].map((i) => ({ name: "t/go", data: { i } })))
    await harness.advance("1m")
    broken = false
    await app.runs.bulk("retry", { functionId: "f", state: "failed" })
    await harness.advance("1m")
    await app.runs.bulk("replay", { functionId: "f" })
    await harness.advance("1m")
    expect(await all()).toEqual(["waiting", "waiting", "waiting", "waiting"])
    await app.send({ name: "t/stop", data: { i: 1 } })
    await harness.settle()
    expect(await app.runs.count({ state: "cancelled" })).toBe(2)
    const [sent] = (await app.fanouts.list()).items
    await app.fanouts.retry(sent?.id ?? "")
    await harness.advance("4h")
    expect(await app.runs.count({ state: "cancelled" })).toBe(4)
  })

  it("is refused a second time, and when it has not failed", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, retries: 0 }, async ({ step, event }) => {
        if (event.data["i"] === 1) throw new Error("broken")
        await step.sleep("z", "1d")
      })
    })
    await app.send([1, 2].map((i) => ({ name: "t/go", data: { i } })))
    await harness.settle()
    const [waiting, failed] = await harness.runs()
    await expect(app.runs.retry(waiting?.id ?? "")).rejects.toMatchObject({
      code: "invalid_option",
      message: expect.stringContaining("under way"),
    })
    await expect(app.runs.retry("run_none")).rejects.toMatchObject({ code: "not_found" })
    const asked = await Promise.allSettled([app.runs.retry(failed?.id ?? ""), app.runs.retry(failed?.id ?? "")])
    expect(asked.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"])
    await harness.settle()
    expect((await harness.run(failed?.id ?? "")).attempts).toHaveLength(2)
  })

  it("has all the events of a batch", async () => {
    const seen: unknown[][] = []
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go, batchEvents: { maxSize: 3, timeout: "10s" } }, ({ events }) => {
        seen.push(events.map(({ data }) => data["i"]))
      })
    })
    await app.send([1, 2, 3].map((i) => ({ name: "t/go", data: { i } })))
    await harness.settle()
    const id = (await harness.runs())[0]?.id ?? ""
    await app.runs.replay(id)
    await harness.settle()
    await app.runs.bulk("replay", { functionId: "f" })
    await harness.advance("1m")
    expect(seen).toEqual([1, 2, 3, 4].map(() => [1, 2, 3]))
    await expect(app.runs.replay(id, { data: { i: 4 } })).rejects.toMatchObject({ code: "invalid_option", field: "data" })
  })
})

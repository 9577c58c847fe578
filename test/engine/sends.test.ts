import { describe, expect, it } from "vitest"
import { z } from "zod"
import * as v from "valibot"
import { type } from "arktype"
import { Fanfare, FanfareError } from "../../src/index.ts"
import { harness, start, startApps } from "./started.ts"

const go = [{ event: "app/go" }] as const
const many = (n: number): { name: string; data: object }[] => Array.from({ length: n }, (_, i) => ({ name: "app/child", data: { i } }))

describe("a send", () => {
  it("starts one run per event and matching function, and is a fan-out when it has several", async () => {
    const seen: unknown[] = []
    const app = await start((app) => {
      app.createFunction(
        { id: "one", triggers: [{ event: "app/child" }] },
        ({ event, fanout }) => void seen.push([event.data["i"], fanout?.id]),
      )
      app.createFunction({ id: "two", triggers: [{ event: "app/*" }, { event: "app/child" }] }, () => null)
      app.createFunction({ id: "three", triggers: [{ event: "app/child", if: "event.data.i >= 2" }] }, () => null)
      app.createFunction({ id: "other", triggers: [{ event: "other/child" }] }, () => null)
    })
    const { ids, fanoutId } = await app.send(many(3))
    await harness.settle()
    expect(ids).toHaveLength(3)
    expect(seen).toEqual([0, 1, 2].map((i) => [i, fanoutId]))
    const count = async (functionId: string): Promise<number> => (await harness.runs({ functionId })).length
    expect([await count("t-one"), await count("t-two"), await count("t-three"), await count("t-other")]).toEqual([3, 3, 1, 0])
    expect(await harness.fanouts()).toMatchObject([{ id: fanoutId, events: 3, total: 7, completed: 7, queued: 0, sealed: true }])
  })

  it("of one event is no fan-out; of none writes nothing", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, () => null)
    })
    expect(await app.send({ name: "app/go" })).toMatchObject({ fanoutId: null })
    expect(await app.send([])).toEqual({ ids: [], fanoutId: null })
    expect(await harness.fanouts()).toEqual([])
  })

  it("with an id starts nothing twice within 24 h, and answers the same", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, ({ event }) => event.id)
    })
    const first = await app.send({ name: "app/go", id: "order-1", data: { n: 1 } })
    expect(await app.send({ name: "app/go", id: "order-1", data: { n: 1 } })).toEqual(first)
    await harness.settle()
    const runs = await harness.runs()
    expect(runs).toHaveLength(1)
    expect((await harness.run(runs[0]?.id ?? "")).output).toBe('"order-1"')
    await harness.advance("25h")
    await app.send({ name: "app/go", id: "order-1", data: { n: 1 } })
    await harness.settle()
    expect(await harness.runs()).toHaveLength(2)
  })

  it("of several events again gives the same ids and the same fan-out", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, () => null)
    })
    const events = ["a", "b"].map((id) => ({ name: "app/go", id }))
    const first = await app.send(events)
    expect(await app.send(events)).toEqual(first)
    const mixed = await app.send([...events, { name: "app/go", id: "c" }])
    expect(mixed.ids.slice(0, 2)).toEqual(first.ids)
    await harness.settle()
    expect(await harness.runs()).toHaveLength(3)
    expect((await harness.fanouts()).map(({ events, total }) => [events, total])).toEqual([
      [1, 1],
      [2, 2],
    ])
  })

  it("with the id of another event is refused, and nothing of it is written", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, () => null)
    })
    await app.send({ name: "app/go", id: "x", data: { n: 1 } })
    const clash = app.send([{ name: "app/go" }, { name: "app/go", id: "x", data: { n: 2 } }])
    await expect(clash).rejects.toMatchObject({ code: "event_conflict", message: expect.stringContaining('"x"') })
    await harness.settle()
    expect(await harness.runs()).toHaveLength(1)
  })

  it("with a time in the future starts its run then", async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: go }, () => null)
    })
    await app.send({ name: "app/go", ts: harness.now() + 3_600_000 })
    await harness.advance("59m")
    expect(await harness.runs()).toMatchObject([{ state: "scheduled", reason: "its event is due at 2026-01-01T01:00:00.000Z" }])
    await harness.advance("1m")
    expect(await harness.runs()).toMatchObject([{ state: "completed" }])
  })

  it("of more events than one transaction holds is one sealed fan-out", { timeout: 60_000 }, async () => {
    const app = await start((app) => {
      app.createFunction({ id: "f", triggers: [{ event: "app/child" }] }, () => null)
    })
    const { ids } = await app.send(many(20_001))
    await harness.settle()
    expect(new Set(ids).size).toBe(20_001)
    expect(await harness.fanouts()).toMatchObject([{ events: 20_001, total: 20_001, completed: 20_001, sealed: true }])
  })
})

describe("a send inside a run", () => {
  it("is done once, however often the run is retried, and is linked to it", async () => {
    let tries = 0
    const sent: unknown[] = []
    await start((app) => {
      app.createFunction({ id: "parent", triggers: go }, async () => {
        sent.push(await app.send(many(5)))
        if (++tries < 4) throw new Error("after the send")
      })
      app.createFunction({ id: "child", triggers: [{ event: "app/child" }] }, () => null)
    })
    const parent = await harness.trigger("parent")
    await harness.advance("1h")
    expect(tries).toBe(4)
    expect(new Set(sent.map((each) => JSON.stringify(each))).size).toBe(1)
    expect(await harness.runs({ functionId: "t-child" })).toHaveLength(5)
    expect((await harness.runs({ functionId: "t-child" }))[0]?.parentId).toBe(parent.id)
    expect(await harness.fanouts()).toMatchObject([{ runId: parent.id, total: 5 }])
  })

  it("is done once when the node dies right after it", async () => {
    let hold = true
    const app = await start((app) => {
      app.createFunction({ id: "parent", triggers: go }, async ({ step }) => {
        await app.send(many(5))
        if (hold) await step.sleep("nap", "1h")
        return "done"
      })
      app.createFunction({ id: "child", triggers: [{ event: "app/child" }] }, () => null)
    })
    await app.send({ name: "app/go" })
    await harness.settle()
    hold = false
    await harness.crash()
    await harness.advance("2h")
    expect(await harness.runs({ functionId: "t-child" })).toHaveLength(5)
    expect(await harness.runs({ functionId: "t-parent" })).toMatchObject([{ state: "completed" }])
  })

  it("of a large array goes on where it stopped", { timeout: 60_000 }, async () => {
    let tries = 0
    await start((app) => {
      app.createFunction({ id: "parent", triggers: go }, async () => {
        const { ids } = await app.send(many(25_000))
        if (++tries === 1) throw new Error("again")
        return new Set(ids).size
      })
    })
    await harness.trigger("parent")
    await harness.advance("1m")
    const [parent] = await harness.runs({ functionId: "t-parent" })
    expect((await harness.run(parent?.id ?? "")).output).toBe("25000")
    expect(await harness.fanouts()).toMatchObject([{ events: 25_000, sealed: true }])
  })

  it("in another order than before is reported", async () => {
    let tries = 0
    await start((app) => {
      app.createFunction({ id: "parent", triggers: go }, async () => {
        const names = ["app/a", "app/b"]
        if (++tries > 1) names.reverse()
        for (const name of names) await app.send({ name })
        throw new Error("again")
      })
    })
    await harness.trigger("parent")
    await harness.advance("1h")
    expect(await harness.runs({ functionId: "t-parent" })).toMatchObject([
      { state: "failed", error: { message: "an earlier attempt of this run sent app/a here; this one sends app/b" } },
    ])
  })

  it("within a step is done once although the step is retried", async () => {
    let tries = 0
    await start((app) => {
      app.createFunction({ id: "parent", triggers: go }, async ({ step }) => {
        await step.run("work", async () => {
          await app.send(many(2))
          if (++tries < 3) throw new Error("again")
        })
        await step.sendEvent("named", { name: "app/child", data: {} })
      })
      app.createFunction({ id: "child", triggers: [{ event: "app/child" }] }, () => null)
    })
    await harness.trigger("parent")
    await harness.advance("1h")
    expect(tries).toBe(3)
    expect(await harness.runs({ functionId: "t-child" })).toHaveLength(3)
  })
})

describe("schemas", () => {
  const schemas = {
    "shop/order": z.object({ id: z.string(), total: z.coerce.number() }),
    "shop/refund": v.object({ id: v.string() }),
    "shop/review": type({ stars: "1 <= number <= 5" }),
  }

  it("check at send, naming the field; and give handlers what they made of the data", async () => {
    const app = new Fanfare({ id: "shop", schemas })
    const totals: number[] = []
    app.createFunction({ id: "order", triggers: [{ event: "shop/order" }] }, ({ event }) => void totals.push(event.data.total + 1))
    await startApps(app)
    await app.send({ name: "shop/order", data: { id: "1", total: "41" } })
    await harness.settle()
    expect(totals).toEqual([42])
    const wrong: unknown[] = [
      { name: "shop/order", data: { id: 1, total: 2 } },
      { name: "shop/refund", data: { id: 1 } },
      { name: "shop/review", data: { stars: 6 } },
    ]
    for (const [i, event] of wrong.entries()) {
      const refused: unknown = await app.send([event as never]).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(FanfareError)
      expect(refused).toMatchObject({ code: "schema_mismatch", field: `events[0].data.${["id", "id", "stars"][i]}` })
    }
  })

  it("check on arrival: an event that does not fit fails its run at once", async () => {
    const sender = new Fanfare({ id: "sender" })
    const app = new Fanfare({ id: "shop", schemas })
    app.createFunction({ id: "order", triggers: [{ event: "shop/order" }] }, () => null)
    await startApps([app, sender])
    await sender.send({ name: "shop/order", data: { id: 1 } })
    await harness.settle()
    expect(await harness.runs()).toMatchObject([{ state: "failed", attempt: 1 }])
    expect((await harness.runs())[0]?.error?.message).toMatch(/^event.data.id: /)
  })
})

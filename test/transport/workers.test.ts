import { describe, expect, it } from "vitest"
import { limits } from "../../src/core/limits.ts"
import { readMessage } from "../../src/protocol/protobuf.ts"
import { VirtualClock } from "../../src/testing/clock.ts"
import { type Gone, type Worker, Workers } from "../../src/transport/workers.ts"
import type { RawReply } from "../../src/protocol/reply.ts"

const raw = (body: string): RawReply => ({ status: 200, headers: {}, body })
const lost = { kind: "gone", outcome: { kind: "lost", reason: "its worker went away before it answered" } }
const returned = { kind: "gone", outcome: { kind: "returned" } }

/** Workers of one app, and what each of them was asked. */
function setUp() {
  const clock = new VirtualClock(0)
  const changes: number[] = []
  const workers = new Workers(clock, () => void changes.push(clock.now()))
  /** Lets time pass. */
  const pass = (ms: number): void => {
    const until = clock.now() + ms
    while (clock.step(until));
    clock.moveTo(until)
  }
  const worker = (capacity = 10, functionIds = ["shop-f"], ready = true): Worker & { readonly asked: string[]; full: boolean } => {
    const asked: string[] = []
    const made = {
      apps: new Map([["shop", { functionIds: new Set(functionIds), checksum: functionIds.join() }]]),
      capacity,
      full: false,
      get writable() {
        return !made.full
      },
      send: (message: Uint8Array) => void asked.push(readMessage(readMessage(message).bytes(2)).text(1)),
      asked,
    }
    workers.join(made, ready)
    return made
  }
  const answers: (RawReply | Gone | null)[] = []
  const call = (functionId = "shop-f", signal = new AbortController().signal): number => {
    const at = answers.push(null) - 1
    void workers
      .send({ appId: "shop", functionId, runId: "run", stepId: null, trace: null, body: "{}" }, signal)
      .then((answer) => void (answers[at] = answer))
    return at
  }
  /** What has been answered until now. */
  const answered = async (): Promise<(RawReply | Gone | null)[]> => {
    await new Promise((resolve) => process.nextTick(resolve))
    return answers
  }
  return { clock, changes, workers, pass, worker, call, answered }
}

describe("calls of workers", () => {
  it("go to the one with most room, and wait when there is none", async () => {
    const { workers, worker, call, answered } = setUp()
    const [one, two] = [worker(1), worker(2)]
    for (let i = 0; i < 4; i++) call()
    expect([one.asked.length, two.asked.length]).toEqual([1, 2])
    expect(workers.reach("shop").capacity).toBe(3)
    workers.reply(two, { requestId: two.asked[0] ?? "", raw: raw("1") })
    expect(two.asked).toHaveLength(3)
    for (const id of two.asked.slice(1)) workers.reply(two, { requestId: id, raw: raw("2") })
    workers.reply(one, { requestId: one.asked[0] ?? "", raw: raw("3") })
    expect((await answered()).map((answer) => (answer as RawReply).body).toSorted()).toEqual(["1", "2", "2", "3"])
    expect(workers.busy(one) + workers.busy(two)).toBe(0)
  })

  it("come back when no worker has the function, at once or as the last one goes", async () => {
    const { workers, worker, call, answered } = setUp()
    call()
    const one = worker(1)
    call("shop-other")
    call()
    call()
    workers.pause(one, false)
    expect(await answered()).toEqual([returned, returned, null, returned])
    expect(workers.reach("shop").functionIds.has("shop-f")).toBe(false)
  })

  it("go to another worker when the first says that it goes and has not begun", async () => {
    const { workers, worker, call, answered } = setUp()
    const one = worker(2)
    call()
    call()
    workers.begun(one, one.asked[0] ?? "")
    const two = worker()
    workers.pause(one, true)
    expect(two.asked).toEqual([one.asked[1]])
    workers.leave(one, false)
    workers.reply(two, { requestId: two.asked[0] ?? "", raw: raw("two") })
    expect(await answered()).toEqual([lost, raw("two")])
  })

  it("go on over another connection, or are lost soon after the first one broke", async () => {
    const { workers, pass, worker, call, answered } = setUp()
    const one = worker()
    call()
    call()
    for (const id of one.asked) workers.begun(one, id)
    workers.leave(one, true)
    const back = worker()
    pass(limits.workerExtendMs)
    expect(workers.extend(back, one.asked[0] ?? "")).toBe(true)
    expect(await answered()).toEqual([null, null])
    pass(limits.workerReturnMs)
    expect(await answered()).toEqual([null, lost])
    expect(workers.extend(back, one.asked[1] ?? "")).toBe(false)
    workers.reply(back, { requestId: one.asked[0] ?? "", raw: raw("back") })
    expect((await answered())[0]).toEqual(raw("back"))
  })

  it("are lost when their worker says nothing of them, or go to another when it never began", async () => {
    const { workers, pass, worker, call, answered } = setUp()
    const one = worker(2)
    call()
    call()
    workers.begun(one, one.asked[0] ?? "")
    const two = worker(1)
    for (let i = 0; i < 20; i++) {
      pass(limits.workerExtendMs)
      workers.extend(one, one.asked[0] ?? "")
    }
    expect(await answered()).toEqual([null, null])
    expect(two.asked).toEqual([one.asked[1]])
    pass(limits.workerLeaseMs + 2_000)
    expect((await answered())[0]).toEqual(lost)
  })

  it("are answered by a worker of their app, once, and not after they were given up", async () => {
    const { workers, worker, call, answered } = setUp()
    const one = worker()
    const stranger = worker(10, ["shop-other"])
    const controller = new AbortController()
    call()
    call("shop-f", controller.signal)
    const [first = "", second = ""] = one.asked
    workers.reply(stranger, { requestId: first, raw: raw("stranger") })
    expect(workers.extend(stranger, first)).toBe(false)
    controller.abort()
    workers.reply(one, { requestId: second, raw: raw("late") })
    workers.reply(null, { requestId: first, raw: raw("over HTTP") })
    workers.reply(one, { requestId: first, raw: raw("again") })
    expect(await answered()).toEqual([raw("over HTTP"), returned])
  })

  it("wait while the worker has not taken what was sent to it", async () => {
    const { pass, worker, call } = setUp()
    const one = worker()
    one.full = true
    call()
    expect(one.asked).toEqual([])
    one.full = false
    pass(2_000)
    expect(one.asked).toHaveLength(1)
  })

  it("are counted by version, and tell when there may be more to claim", () => {
    const { changes, workers, worker } = setUp()
    const one = worker(1, ["shop-f"], false)
    worker(1, ["shop-f", "shop-g"])
    expect([workers.count("shop"), workers.count("shop", "shop-f"), workers.count("other")]).toEqual([2, 1, 0])
    expect(changes).toHaveLength(1)
    workers.ready(one)
    workers.leave(one, true)
    expect(changes).toHaveLength(3)
    workers.close()
  })
})

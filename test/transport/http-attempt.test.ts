import { describe, expect, it } from "vitest"
import type { Recorder } from "../../src/core/attempt.ts"
import type { Outcome } from "../../src/core/outcome.ts"
import { limits } from "../../src/core/limits.ts"
import type { ClaimedRun } from "../../src/core/run.ts"
import type { StepRecord } from "../../src/core/step.ts"
import type { Call } from "../../src/protocol/call.ts"
import { parseReply } from "../../src/protocol/reply.ts"
import { sha1 } from "../../src/protocol/sha1.ts"
import { HttpAttempt } from "../../src/transport/http-attempt.ts"
import { now, run } from "./run.ts"

const retries = 2

interface Answer {
  readonly status: number
  readonly body: unknown
  readonly headers?: Record<string, string>
}

/** An app that follows a script: gets each call, gives an answer. */
type Script = (call: Call) => Answer | Promise<Answer>

const op = (id: string, kind: string, rest: object = {}): object => ({
  id: sha1(id),
  op: kind,
  name: id,
  displayName: id,
  userland: { id, index: 0 },
  ...rest,
})
const ops = (...list: object[]): Answer => ({ status: 206, body: list })
const done = (body: unknown = "done"): Answer => ({ status: 200, body })
const failed = (message: string, headers: Record<string, string> = {}): Answer => ({
  status: 500,
  body: { name: "Error", message },
  headers,
})

/** Runs one attempt against a script; `clock` moves by a millisecond with each call. */
async function attempt(script: Script, version: number, steps: readonly StepRecord[] = [], rest: Partial<ClaimedRun> = {}) {
  const calls: Call[] = []
  const kept = new Map(steps.map((step) => [step.key, step]))
  let clock = now
  const recorder: Pick<Recorder, "now" | "report"> & Partial<Recorder> = {
    now: () => clock,
    async report(report) {
      const attempts = (kept.get(report.key)?.attempts ?? 0) + 1
      const base = { key: report.key, attempts, output: null, failure: null, dueAt: null, startedAt: clock, endedAt: clock }
      let record: StepRecord
      if (report.kind === "sleep") record = { ...base, kind: "sleep", state: "waiting", dueAt: report.until }
      else if (report.kind !== "run") throw new Error(`unexpected ${report.kind}`)
      else if ("output" in report) record = { ...base, kind: "run", state: "completed", output: report.output }
      else if (report.retry === "never" || attempts > retries) record = { ...base, kind: "run", state: "failed", failure: report.failure }
      else
        record = {
          ...base,
          kind: "run",
          state: "retrying",
          failure: report.failure,
          dueAt: report.retry === "policy" ? clock + 1_000 : report.retry.at,
        }
      kept.set(report.key, record)
      return record
    },
  }
  const sends: unknown[] = []
  recorder.send = async (_key, [event], way) => {
    sends.push([event, way?.functionId])
    return { ids: ["evt"], fanoutId: null }
  }
  const live = { run: { ...run, ...rest }, steps: kept, signal: new AbortController().signal, recorder: recorder as Recorder }
  const http = new HttpAttempt(live, {
    retries,
    ticket: null,
    shared: false,
    linked: false,
    ask: async () => "asked",
    send: async (call) => {
      calls.push(call)
      clock++
      const { status, body, headers = {} } = await script(call)
      return parseReply(
        { status, headers: { "x-inngest-sdk": "x", "x-inngest-req-version": String(version), ...headers }, body: JSON.stringify(body) },
        clock,
      )
    },
  })
  const outcome: Outcome = await http.outcome()
  return {
    outcome,
    calls,
    sends,
    kept,
    told: calls.map(({ stepId, memos }) => [stepId === null ? "next" : name(stepId), memos.map(([id]) => name(id)).join()]),
  }
}

const names = new Map(["a", "b", "c", "nap", "x", "y"].map((id) => [sha1(id), id]))
const name = (opId: string): string => names.get(opId) ?? opId

/** A function that does steps `a`, then those of `width` side by side, then returns; as the SDK does it. */
function parallel(work: (id: string, call: Call) => object): Script {
  return ({ stepId, memos, planOnly, ...call }) => {
    const has = new Set(memos.map(([id]) => name(id)))
    if (stepId !== null) return ops(work(name(stepId), { stepId, memos, planOnly, ...call }))
    const missing = ["a", "b", "c"].filter((id) => !has.has(id))
    if (missing.length === 0) return done()
    const [only = ""] = missing
    if (missing.length === 1 && !planOnly) return ops(work(only, { stepId, memos, planOnly, ...call }))
    return ops(...missing.map((id) => op(id, "StepPlanned")))
  }
}

describe("an attempt over HTTP", () => {
  it("calls again after each step with what is kept, and ends with the function", async () => {
    const script: Script = ({ memos }) =>
      memos.length === 2 ? done({ ok: true }) : ops(op(memos.length === 0 ? "a" : "b", "StepRun", { data: memos.length }))
    const { outcome, told, kept } = await attempt(script, 2)
    expect(outcome).toEqual({ kind: "completed", output: '{"ok":true}' })
    expect(told).toEqual([
      ["next", ""],
      ["next", "a"],
      ["next", "a,b"],
    ])
    expect([...kept.values()]).toMatchObject([
      { key: "a", output: "0" },
      { key: "b", output: "1" },
    ])
  })

  it("calls for planned steps one by one: in version 2 it goes on when all have ended", async () => {
    const { outcome, told } = await attempt(
      parallel((id) => op(id, "StepRun", { data: id })),
      2,
    )
    expect(outcome.kind).toBe("completed")
    expect(told).toEqual([
      ["next", ""],
      ["a", ""],
      ["b", ""],
      ["c", ""],
      ["next", "a,b,c"],
    ])
  })

  it("goes on after each of them in version 1, and never asks for one twice", async () => {
    const { outcome, calls } = await attempt(
      parallel((id) => op(id, "StepRun", { data: id })),
      1,
    )
    expect(outcome.kind).toBe("completed")
    for (const id of ["a", "b", "c"]) expect(calls.filter(({ stepId }) => stepId === sha1(id))).toHaveLength(1)
  })

  it("does not have a step done at once while others are under way or will be tried again", async () => {
    const work = (id: string): object =>
      id === "b" ? op(id, "StepError", { error: { name: "E", message: "m" } }) : op(id, "StepRun", { data: id })
    for (const version of [1, 2]) {
      const { outcome, calls } = await attempt(parallel(work), version)
      expect(outcome).toMatchObject({ kind: "parked", for: "retry" })
      expect(calls.filter(({ stepId }) => stepId === sha1("b"))).toHaveLength(1)
      expect(calls.filter(({ stepId, memos, planOnly }) => stepId === null && memos.length === 2 && !planOnly)).toEqual([])
    }
  })

  it("tells a step how often it was tried, and keeps that it failed for good", async () => {
    const failing: Script = ({ memos }) =>
      memos.length === 1 ? done(memos[0]?.[1]) : ops(op("a", "StepError", { error: { name: "E", message: "m" } }))
    const retrying: StepRecord = {
      key: "a",
      kind: "run",
      state: "retrying",
      attempts: 1,
      output: null,
      failure: null,
      dueAt: now,
      startedAt: now,
      endedAt: now,
    }
    const second = await attempt(failing, 2, [retrying])
    expect(second.calls.map(({ attempt: number, maxAttempts }) => [number, maxAttempts])).toEqual([[1, 3]])
    expect(second.outcome).toMatchObject({ kind: "parked", for: "retry" })
    const third = await attempt(failing, 2, [{ ...retrying, attempts: 2 }])
    expect(third.outcome).toMatchObject({ kind: "completed" })
    expect(third.kept.get("a")).toMatchObject({ state: "failed", attempts: 3 })
  })

  it("waits for a sleep, and tells of it when it is over", async () => {
    const script: Script = ({ memos }) => (memos.length === 1 ? done() : ops(op("nap", "Sleep", { name: "2h", userland: { id: "nap" } })))
    const first = await attempt(script, 2)
    expect(first.outcome).toEqual({ kind: "parked", dueAt: now + 1 + 2 * 3_600_000, for: "wait", joins: [], awaits: [] })
    const slept = { ...(first.kept.get("nap") as StepRecord), dueAt: now }
    expect((await attempt(script, 2, [slept])).told).toEqual([["next", "nap"]])
    // An empty one is over at once.
    expect((await attempt(({ memos }) => (memos.length === 1 ? done() : ops(op("nap", "Sleep", { name: "" }))), 2)).outcome.kind).toBe(
      "completed",
    )
  })

  it("does not wait for what the function wants no more", async () => {
    const old: StepRecord = {
      key: "x",
      kind: "sleep",
      state: "waiting",
      attempts: 1,
      output: null,
      failure: null,
      dueAt: now + 5,
      startedAt: now,
      endedAt: now,
    }
    const { outcome } = await attempt(() => ops(op("y", "Sleep", { name: "1h" })), 2, [old])
    expect(outcome).toMatchObject({ kind: "parked", dueAt: now + 1 + 3_600_000 })
  })

  it("passes on how a function failed, after what runs beside it has ended", async () => {
    let finish: (answer: Answer) => void = () => undefined
    const { outcome, kept } = await attempt(({ stepId, memos }) => {
      if (stepId === sha1("b")) return new Promise((resolve) => (finish = resolve))
      if (stepId === sha1("a")) return ops(op("a", "StepRun"))
      if (memos.length === 0) return ops(op("a", "StepPlanned"), op("b", "StepPlanned"))
      setTimeout(() => finish(ops(op("b", "StepRun", { data: 1 }))), 10)
      return failed("thrown", { "retry-after": "7" })
    }, 1)
    expect(outcome).toMatchObject({ kind: "failed", failure: { message: "thrown" }, retry: { at: expect.any(Number) as number } })
    expect(kept.get("b")).toMatchObject({ state: "completed", output: "1" })
  })

  it("counts a call for a step that met no app against the step", async () => {
    const { kept, outcome } = await attempt(
      parallel((id) => op(id, "StepRun")),
      2,
    )
    expect([outcome.kind, kept.size]).toEqual(["completed", 3])
    const broken = await attempt(
      ({ stepId, ...call }) =>
        stepId === sha1("b") ? { status: 502, body: "bad gateway" } : parallel((id) => op(id, "StepRun"))({ stepId, ...call }),
      2,
    )
    expect(broken.outcome).toMatchObject({ kind: "parked", for: "retry" })
    expect(broken.kept.get("b")).toMatchObject({ state: "retrying", attempts: 1 })
  })

  it("finishes with RunComplete, and refuses what it does not know", async () => {
    expect((await attempt(() => ops(op("a", "StepRun", { data: 1 }), op("complete", "RunComplete", { data: 5 })), 2)).outcome).toEqual({
      kind: "completed",
      output: "5",
    })
    expect((await attempt(() => ops(op("a", "Teleport")), 2)).outcome).toMatchObject({
      kind: "failed",
      retry: "never",
      failure: { message: expect.stringContaining("Teleport") as string },
    })
    expect((await attempt(() => ops(op("a", "StepNotFound")), 2)).outcome).toMatchObject({ kind: "failed", retry: "policy" })
  })

  it("does not go round for ever with an app that repeats itself", async () => {
    for (const answer of [ops(), ops(op("a", "StepRun")), ops(op("a", "DiscoveryRequest")), ops(op("nap", "Sleep", { name: "" }))]) {
      const { outcome, calls } = await attempt(() => answer, 2)
      expect(outcome).toMatchObject({ kind: "failed", failure: { name: "ProtocolError" } })
      expect(calls.length).toBeLessThan(20)
    }
    let n = 0
    const endless = await attempt(() => ops(op(`s${n++}`, "StepRun")), 2)
    expect(endless.outcome).toMatchObject({ kind: "failed", retry: "never", failure: { code: "too_many" } })
  })

  it("ends a run whose steps hold too much together, also when an earlier attempt kept them", async () => {
    const times = { dueAt: null, startedAt: now, endedAt: now }
    const output = JSON.stringify("x".repeat(limits.stateBytes))
    const large: StepRecord = { key: "large", kind: "run", state: "completed", attempts: 1, output, failure: null, ...times }
    const { outcome } = await attempt(() => ops(op("a", "StepRun", { data: 1 })), 2, [large])
    expect(outcome).toMatchObject({ kind: "failed", retry: "never", failure: { code: "too_large" } })
  })
})

describe("what an app leaves to us", () => {
  it("is asked for, alone and beside a step", async () => {
    const gateway = op("get", "Gateway", { opts: { url: "http://127.0.0.1/x" } })
    const { outcome, kept, calls } = await attempt(({ memos, stepId }) => {
      if (stepId !== null) return ops(op("b", "StepRun", { data: "b" }))
      return memos.length < 2 ? ops(gateway, op("b", "StepPlanned")) : done(memos.map(([, memo]) => JSON.parse(memo) as unknown))
    }, 2)
    expect(outcome).toMatchObject({ kind: "completed" })
    expect(kept.get("get")).toMatchObject({ state: "completed", output: '"asked"' })
    expect(calls.filter(({ stepId }) => stepId === null)).toHaveLength(2)
  })

  it("is started once when the run has ended, unless it was given up", async () => {
    const defer = (id: string): object => op(id, "DeferAdd", { opts: { fn_slug: "app-later", input: { id } } })
    const abort = op("undo", "DeferAbort", { opts: { target_hashed_id: sha1("one"), fn_slug: "app-later", id: "one" } })
    const { outcome, sends, calls } = await attempt(({ memos, defers }) => {
      if (memos.length === 0) return ops(defer("one"), defer("two"), op("a", "StepRun", { data: 1 }))
      expect(defers.map(([id]) => id).toSorted()).toEqual([sha1("one"), sha1("two")].toSorted())
      return ops(abort, op("complete", "RunComplete", { data: "end" }))
    }, 2)
    expect(outcome).toEqual({ kind: "completed", output: '"end"' })
    expect(sends).toMatchObject([[{ name: "deferred", data: { id: "two", _inngest: { parent_run_id: "run_1" } } }, "app-later"]])
    expect(calls).toHaveLength(2)
  })
})
